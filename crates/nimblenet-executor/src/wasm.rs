//! The kind of executor that runs WebAssembly: activations in an arena, on the interpreter.
//!
//! Blocks of activations are stacked from the bottom of the arena. Each reserves its tasklet's
//! whole memory ceiling, so whether `memory.grow` succeeds does not depend on what else runs.
//! When room is short, the executor takes these steps, in this order:
//!
//! 1. It moves blocks together.
//! 2. It gives up loaded modules that it keeps for another start.
//! 3. It lends the unused part of what suspended activations reserve.
//! 4. It freezes suspended activations into images at the arena's top, where they take less room;
//!    the one that frees most goes first. It thaws each when it must go on.
//!
//! If that is not enough, there is no room for the work ([`Outcome::NoRoom`]); a run that would not
//! fit even if it were alone fails with [`Fault::NoMemory`].

mod activation;
pub(crate) mod arena;
mod image;
mod link;
pub(crate) mod need;
mod room;
pub(crate) mod run;
mod start;
mod values;
mod warm;

use nimblenet_tasklet::{ActivationId, Digest, Fault, Host, Outcome, Start};
use nimblenet_wasm::{FreezeError, Part};

use crate::options::{ACTIVATIONS, CodeSource, ExecutorOptions, Freezing};
use crate::{Counts, refused};
use activation::{Activation, Event, Form, Waits};
use arena::{Arena, rounded};
use room::Spare;
use run::Around;
use start::Refusal;
use warm::Warm;

/// A place for an activation.
#[derive(Clone, Copy, Debug)]
enum Slot {
    Free,
    Run(Activation),
    Warm(Warm),
}

/// Runs WebAssembly tasklets in an arena.
pub(crate) struct Wasm<'m> {
    pub(crate) arena: Arena<'m>,
    slots: [Slot; ACTIVATIONS],
    options: ExecutorOptions,
    counts: Counts,
}

impl<'m> Wasm<'m> {
    pub(crate) fn new(arena: &'m mut [u8], options: ExecutorOptions) -> Self {
        Self {
            arena: Arena::new(arena),
            slots: [Slot::Free; ACTIVATIONS],
            options,
            counts: Counts::default(),
        }
    }

    pub(crate) fn used_bytes(&self) -> usize {
        let runs = self.runs();
        runs.map(|(slot, _)| self.arena.region_len(slot)).sum()
    }

    pub(crate) fn arena_bytes(&self) -> usize {
        self.arena.len()
    }

    pub(crate) fn activations(&self) -> usize {
        self.runs().count()
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    pub(crate) fn set_slice(&mut self, fuel: u64) {
        self.options.slice = fuel;
    }

    /// Does [`Work::Start`](nimblenet_tasklet::Work::Start).
    pub(crate) fn start<'o>(
        &mut self,
        start: &Start<'_>,
        source: &dyn CodeSource,
        host: &mut dyn Host,
        out: &'o mut [u8],
    ) -> Outcome<'o> {
        match self.take_up(
            start,
            &mut Spare {
                source,
                scratch: out,
            },
        ) {
            Ok(slot) => self.run(slot, None, source, host, out),
            Err(end) => failed(start, end),
        }
    }

    /// Does [`Work::Continue`](nimblenet_tasklet::Work::Continue).
    pub(crate) fn go_on<'o>(
        &mut self,
        activation: ActivationId,
        source: &dyn CodeSource,
        host: &mut dyn Host,
        out: &'o mut [u8],
    ) -> Option<Outcome<'o>> {
        let slot = self.waiting(activation, Waits::ToContinue)?;
        Some(self.run(slot, None, source, host, out))
    }

    /// Does [`Work::Resume`](nimblenet_tasklet::Work::Resume).
    pub(crate) fn resume<'o>(
        &mut self,
        activation: ActivationId,
        result: Result<&[u8], Fault>,
        fuel: u64,
        source: &dyn CodeSource,
        host: &mut dyn Host,
        out: &'o mut [u8],
    ) -> Option<Outcome<'o>> {
        let slot = self.waiting(activation, Waits::ForCallee)?;
        self.activation_mut(slot).fuel = fuel;
        Some(match result {
            Ok(result) => self.run(slot, Some(result), source, host, out),
            Err(fault) => self.conclude(slot, fault.into(), out),
        })
    }

    /// Does [`Work::Freeze`](nimblenet_tasklet::Work::Freeze); the image goes to `out`.
    pub(crate) fn freeze<'o>(
        &mut self,
        activation: ActivationId,
        source: &dyn CodeSource,
        room: &'o mut [u8],
    ) -> Option<Outcome<'o>> {
        let slot = self.slot(activation)?;
        Some(match self.save(slot, source, room) {
            Ok(len) => {
                self.release(slot);
                Outcome::Frozen {
                    activation,
                    image: &room[..len],
                }
            }
            Err(fault) => Outcome::NotFrozen { activation, fault },
        })
    }

    /// Does [`Work::Thaw`](nimblenet_tasklet::Work::Thaw).
    pub(crate) fn thaw<'o>(
        &mut self,
        start: &Start<'_>,
        image: &[u8],
        source: &dyn CodeSource,
        out: &'o mut [u8],
    ) -> Outcome<'o> {
        match self.restore(start, image, source, out) {
            Ok((slot, event)) => self.conclude(slot, event, out),
            Err(end) => failed(start, end),
        }
    }

    /// Does [`Work::Stop`](nimblenet_tasklet::Work::Stop).
    pub(crate) fn stop(&mut self, activation: ActivationId) {
        if let Some(slot) = self.slot(activation) {
            self.release(slot);
        }
    }

    /// The first half of a start: see [`Executor::admit`](crate::Executor::admit).
    pub(crate) fn admit(
        &mut self,
        start: &Start<'_>,
        source: &dyn CodeSource,
        scratch: &mut [u8],
    ) -> Result<(), Outcome<'static>> {
        let mut spare = Spare { source, scratch };
        let taken_up = self.take_up(start, &mut spare);
        taken_up.map(drop).map_err(|end| failed(start, end))
    }

    pub(crate) fn image_len(
        &mut self,
        activation: ActivationId,
        source: &dyn CodeSource,
    ) -> Option<usize> {
        let slot = self.slot(activation)?;
        let run = *self.activation(slot);
        let instance = match run.form {
            Form::Image(len) => len,
            Form::Block => {
                let scratch = &mut [];
                self.instance_image_len(slot, &Spare { source, scratch })?
            }
        };
        Some(image::HEADER_BYTES + run.layout.args + instance)
    }

    /// Loads a tasklet, or resets a kept block in which it is loaded; returns its slot.
    fn take_up(&mut self, start: &Start<'_>, spare: &mut Spare<'_>) -> Result<usize, Event> {
        self.check_new(start)?;
        let options = self.options;
        for slot in 0..ACTIVATIONS {
            let Slot::Warm(warm) = &self.slots[slot] else {
                continue;
            };
            let mut region = self.arena.region(slot);
            if let Some(activation) = start::load_warm(&mut region, warm, start, &options) {
                self.slots[slot] = Slot::Run(activation?);
                self.counts.warm += 1;
                self.note_peak();
                return Ok(slot);
            }
        }
        let slot = self.vacancy(start)?;
        let load = |gap: &mut Part<'_>| start::load(gap, start, &options);
        let activation = self.place(spare, load)?;
        self.settle(slot, activation);
        self.counts.loaded += 1;
        Ok(slot)
    }

    /// Runs an activation until it stands still.
    fn run<'o>(
        &mut self,
        slot: usize,
        answer: Option<&[u8]>,
        source: &dyn CodeSource,
        host: &mut dyn Host,
        out: &'o mut [u8],
    ) -> Outcome<'o> {
        let mut spare = Spare {
            source,
            scratch: out,
        };
        let event = match self.bring_in(slot, &mut spare) {
            Err(end) => end,
            Ok(()) => {
                let mut around = Around {
                    code: source.code(self.activation(slot).id),
                    host,
                    slice: self.options.slice,
                    slept_us: self.options.slept_us,
                    out,
                };
                let region = self.arena.region(slot);
                match &mut self.slots[slot] {
                    Slot::Run(run) => run::run(run, region, answer, &mut around),
                    Slot::Free | Slot::Warm(_) => Fault::BadImage.into(),
                }
            }
        };
        self.note_peak();
        if self.options.freezing == Freezing::Always && matches!(event, Event::Called { .. }) {
            // The output holds the arguments of the call.
            let scratch = &mut [];
            self.freeze_out(slot, &mut Spare { source, scratch });
        }
        self.conclude(slot, event, out)
    }

    /// Turns the event of `slot` into an outcome, and releases an activation that has ended.
    fn conclude<'o>(&mut self, slot: usize, event: Event, out: &'o mut [u8]) -> Outcome<'o> {
        let run = self.activation_mut(slot);
        let (activation, fuel) = (run.id, run.fuel);
        match event {
            Event::Called { import, len } => {
                run.waits = Waits::ForCallee;
                Outcome::Called {
                    activation,
                    import,
                    args: &out[..len],
                    fuel,
                }
            }
            Event::Yielded => {
                run.waits = Waits::ToContinue;
                Outcome::Yielded { activation, fuel }
            }
            Event::Done { len } => {
                self.release(slot);
                Outcome::Done {
                    activation,
                    result: &out[..len],
                    fuel,
                }
            }
            Event::NoRoom => Outcome::NoRoom { activation },
            Event::Failed { fault, trap, place } => {
                self.release(slot);
                Outcome::Failed {
                    activation,
                    fault,
                    trap,
                    place,
                    fuel,
                }
            }
        }
    }

    /// Writes the image of an activation.
    pub(crate) fn save(
        &mut self,
        slot: usize,
        source: &dyn CodeSource,
        out: &mut [u8],
    ) -> Result<usize, Fault> {
        let run = *self.activation(slot);
        let args = run.layout.links..run.layout.links + run.layout.args;
        let mut region = self.arena.region(slot);
        let bytes = region.bytes();
        let head = start::header(&run).to_bytes(&bytes[args.clone()]);
        let before = head.len() + args.len();
        let (front, rest) = out
            .split_at_mut_checked(before)
            .ok_or(Fault::ValuesTooLarge)?;
        front[..head.len()].copy_from_slice(&head);
        front[head.len()..].copy_from_slice(&bytes[args]);
        let len = match run.form {
            Form::Image(len) => {
                let rest = rest.get_mut(..len).ok_or(Fault::ValuesTooLarge)?;
                rest.copy_from_slice(&bytes[run.layout.instance..][..len]);
                len
            }
            Form::Block => {
                let attached = region.attach(run.layout.instance, source.code(run.id));
                let (_, instance) = attached.map_err(|_| Fault::BadImage)?;
                instance.freeze(rest).map_err(|error| match error {
                    FreezeError::TooSmall => Fault::ValuesTooLarge,
                    FreezeError::NotSuspended => Fault::BadImage,
                })?
            }
        };
        Ok(before + len)
    }

    /// Thaws an activation from an image; returns its slot and the event at which it was frozen.
    fn restore(
        &mut self,
        start: &Start<'_>,
        image: &[u8],
        source: &dyn CodeSource,
        out: &mut [u8],
    ) -> Result<(usize, Event), Event> {
        self.check_new(start)?;
        let slot = self.vacancy(start)?;
        let options = self.options;
        let thaw = |gap: &mut Part<'_>| start::thaw(gap, start, image, &options);
        let scratch = &mut *out;
        let activation = self.place(&mut Spare { source, scratch }, thaw)?;
        self.settle(slot, activation);
        let region = self.arena.region(slot);
        let event = match run::pending_call(&activation, region, start.code, out) {
            Ok(Some(event)) => event,
            Ok(None) => Event::Yielded,
            Err(end) => end,
        };
        Ok((slot, event))
    }

    /// Refuses to start an activation that is here already.
    fn check_new(&self, start: &Start<'_>) -> Result<(), Fault> {
        match self.slot(start.activation) {
            Some(_) => Err(Fault::Busy),
            None => Ok(()),
        }
    }

    /// Checks that the module of `start` is the one that its entry names, and returns a free slot.
    fn vacancy(&mut self, start: &Start<'_>) -> Result<usize, Event> {
        if self.activations() == ACTIVATIONS {
            return Err(Event::NoRoom);
        }
        if !start.entry.has_module() {
            return Err(Fault::BadImage.into());
        }
        // The digest of a compressed module is not that of its expanded bytes, which whoever expanded
        // them has made of bytes with that digest.
        let compressed = start.entry.compression.is_some();
        if !compressed && Digest::of(start.code) != start.entry.digest {
            return Err(Fault::DigestMismatch.into());
        }
        let is_free = |slot: &Slot| matches!(slot, Slot::Free);
        let free = self.slots.iter().position(is_free);
        free.or_else(|| self.give_up_warm()).ok_or(Event::NoRoom)
    }

    /// Calls `fill` with the gap, and lengthens the gap in between, until it is long enough.
    fn place(
        &mut self,
        spare: &mut Spare<'_>,
        mut fill: impl FnMut(&mut Part<'_>) -> Result<Activation, Refusal>,
    ) -> Result<Activation, Event> {
        loop {
            match fill(&mut self.arena.gap()) {
                Ok(activation) => {
                    let full = rounded(activation.layout.full);
                    if full <= self.arena.gap_len() {
                        return Ok(activation);
                    }
                    self.make_room(full, spare)?;
                }
                Err(Refusal::End(end)) => return Err(end),
                Err(Refusal::NeedsBytes(bytes)) => self.make_room(bytes, spare)?,
            }
        }
    }

    fn settle(&mut self, slot: usize, activation: Activation) {
        self.arena.take_gap(slot, rounded(activation.layout.full));
        self.slots[slot] = Slot::Run(activation);
        self.note_peak();
    }

    /// Releases an activation. Its block is kept for another start; its image is not.
    fn release(&mut self, slot: usize) {
        let run = *self.activation(slot);
        self.slots[slot] = match run.form {
            Form::Block => {
                let starts = self.starts();
                Slot::Warm(Warm::keep(&run, self.arena.region(slot), starts))
            }
            Form::Image(_) => {
                self.arena.release(slot);
                Slot::Free
            }
        };
    }

    /// How many starts there have been.
    fn starts(&self) -> u64 {
        self.counts.loaded + self.counts.warm
    }

    /// The digests of the modules that are loaded.
    pub(crate) fn loaded(&self) -> impl Iterator<Item = &[u8; 32]> + Clone {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Run(run) => (run.form == Form::Block).then_some(&run.digest),
            Slot::Warm(warm) => Some(&warm.digest),
            Slot::Free => None,
        })
    }

    /// The activations and their places.
    fn runs(&self) -> impl Iterator<Item = (usize, &Activation)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(at, slot)| match slot {
            Slot::Run(run) => Some((at, run)),
            Slot::Free | Slot::Warm(_) => None,
        })
    }

    pub(crate) fn slot(&self, id: ActivationId) -> Option<usize> {
        let found = self.runs().find(|(_, run)| run.id == id);
        found.map(|(slot, _)| slot)
    }

    /// The slot of `id` if it waits for `waits`. Any other work is counted as stray and has no
    /// effect, so that an answer that comes twice is taken once.
    fn waiting(&mut self, id: ActivationId, waits: Waits) -> Option<usize> {
        let slot = self
            .slot(id)
            .filter(|slot| self.activation(*slot).waits == waits);
        self.counts.stray += u64::from(slot.is_none());
        slot
    }

    fn activation(&self, slot: usize) -> &Activation {
        match &self.slots[slot] {
            Slot::Run(run) => run,
            Slot::Free | Slot::Warm(_) => unreachable!("the place is taken"),
        }
    }

    fn activation_mut(&mut self, slot: usize) -> &mut Activation {
        match &mut self.slots[slot] {
            Slot::Run(run) => run,
            Slot::Free | Slot::Warm(_) => unreachable!("the place is taken"),
        }
    }

    fn note_peak(&mut self) {
        let used = self.runs().map(|(slot, run)| match run.form {
            Form::Block => run.layout.used,
            Form::Image(_) => self.arena.region_len(slot),
        });
        self.counts.peak_bytes = self.counts.peak_bytes.max(used.sum());
    }
}

/// The answer to a start that has left nothing.
fn failed<'o>(start: &Start<'_>, end: Event) -> Outcome<'o> {
    let activation = start.activation;
    let (fault, trap) = match end {
        Event::NoRoom => return Outcome::NoRoom { activation },
        Event::Failed { fault, trap, .. } => (fault, trap),
        Event::Called { .. } | Event::Done { .. } | Event::Yielded => (Fault::BadImage, None),
    };
    refused(start, fault, trap)
}
