//! An executor: runs tasklets that call each other, in one fixed arena.
//!
//! The [`Executor`] takes pieces of [`Work`] and answers with an [`Outcome`]. It never calls
//! back: a tasklet that calls another is an outcome, and the caller waits in the arena until the
//! answer comes as new work.
//!
//! ```text
//!   Start ------> Called ---> Resume ---> Called | Yielded | Done | Failed
//!   Continue ---> Yielded --> Continue
//!   Freeze -----> Frozen | NotFrozen     Thaw ---> Called | Yielded        Stop ---> (nothing)
//! ```
//!
//! Blocks of activations are stacked from the bottom of the arena. Each reserves its tasklet's
//! whole memory ceiling, so whether `memory.grow` succeeds does not depend on what else runs.
//! When room is short, the executor in this order moves blocks together, lends the unused part of
//! reservations of suspended activations, and freezes suspended activations into images at the
//! arena's top, where they take less; the one that frees most goes first. They come back when
//! they must go on. If that is not enough, the work fails with [`Fault::NoMemory`].
//!
//! The executor does not keep modules' bytes. Who calls it pins them where they are (in flash, in
//! a cache, in a map of a thread) and hands them out through [`CodeSource`].

mod activation;
mod arena;
mod image;
mod link;
mod room;
mod run;
mod start;

use nimblenet_tasklet::{
    ActivationId, Digest, Executor as Kind, Fault, Host, Outcome, Start, Work, abi,
};

use activation::{Activation, Event, Form, Waits};
use arena::{Arena, rounded};
use nimblenet_wasm::FreezeError;
use nimblenet_wasm::Instance;
use nimblenet_wasm::Limits;
use room::Spare;
use run::Around;
pub use run::HOST_CALL_FUEL;
use start::Refusal;

/// The most activations that an executor holds.
pub const ACTIVATIONS: usize = 16;

/// Where the executor gets modules' bytes from.
pub trait CodeSource {
    /// The module that `activation` was started with, the same bytes from its start to its end.
    /// An empty slice makes the activation fail.
    fn code(&self, activation: ActivationId) -> &[u8];
}

/// When activations are frozen.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Freezing {
    /// When another one needs the room.
    #[default]
    UnderPressure,
    /// At each call of another tasklet, as the NimbleNet paper describes it. If there is no room
    /// for the image, the activation stays as it is.
    Always,
}

/// How an executor works.
#[derive(Clone, Copy, Debug)]
pub struct ExecutorOptions {
    /// What modules may ask for.
    pub limits: Limits,
    /// When activations are frozen.
    pub freezing: Freezing,
    /// Fuel after which an activation yields.
    pub slice: u64,
    /// Whether fuel is charged. Without it nothing yields and nothing runs out.
    pub metered: bool,
}

impl Default for ExecutorOptions {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            freezing: Freezing::default(),
            slice: u64::MAX,
            metered: true,
        }
    }
}

/// What an executor has done so far.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Activations frozen to make room, or at a call.
    pub frozen: u64,
    /// Of those, how many came back.
    pub thawed: u64,
    /// Pieces of work for an activation that is not there or waits for something else.
    pub stray: u64,
    /// The most bytes of the arena that were in use at once: blocks with linear memory as far as
    /// it has grown, and images.
    pub peak_bytes: usize,
}

/// Runs tasklets in an arena of the caller's.
pub struct Executor<'m> {
    pub(super) arena: Arena<'m>,
    activations: [Option<Activation>; ACTIVATIONS],
    options: ExecutorOptions,
    counts: Counts,
}

impl<'m> Executor<'m> {
    /// An executor that works in `arena`.
    pub fn new(arena: &'m mut [u8], options: ExecutorOptions) -> Self {
        Self {
            arena: Arena::new(arena),
            activations: [None; ACTIVATIONS],
            options,
            counts: Counts::default(),
        }
    }

    /// Bytes of the arena that belong to activations, reservations included.
    pub fn used_bytes(&self) -> usize {
        self.arena.used()
    }

    /// Bytes of the arena.
    pub fn arena_bytes(&self) -> usize {
        self.arena.len()
    }

    /// How many activations there are.
    pub fn activations(&self) -> usize {
        self.activations.iter().flatten().count()
    }

    /// What has been done so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Changes the fuel after which an activation yields.
    pub fn set_slice(&mut self, fuel: u64) {
        self.options.slice = fuel;
    }

    /// Does a piece of work. Arguments, results and images are written to `out`; a call with more
    /// fails with [`Fault::ValuesTooLarge`]. A run whose image is longer than `out` is not frozen
    /// and stays.
    ///
    /// Nothing is answered to a stop, to a signature check (not this executor's work), and to
    /// work for an activation that is not there or waits for something else.
    pub fn execute<'o>(
        &mut self,
        work: &Work<'_>,
        source: &dyn CodeSource,
        host: &mut dyn Host,
        out: &'o mut [u8],
    ) -> Option<Outcome<'o>> {
        match work {
            Work::Start(start) if start.entry.terms.executor == Kind::Native => {
                Some(serve_native(start, host, out))
            }
            Work::Start(start) => match self.admit(start, source, out) {
                Ok(()) => self.go_on(start.activation, Waits::ToContinue, None, source, host, out),
                Err(outcome) => Some(outcome),
            },
            Work::Continue { activation } => {
                self.go_on(*activation, Waits::ToContinue, None, source, host, out)
            }
            Work::Resume {
                activation,
                result,
                fuel,
            } => {
                let slot = self.waiting(*activation, Waits::ForCallee)?;
                self.activation_mut(slot).fuel = *fuel;
                match result {
                    Ok(result) => self.go_on(
                        *activation,
                        Waits::ForCallee,
                        Some(result),
                        source,
                        host,
                        out,
                    ),
                    Err(fault) => Some(self.conclude(slot, (*fault).into(), out)),
                }
            }
            Work::Freeze { activation, room } => {
                let slot = self.slot(*activation)?;
                let room = out.len().min(*room);
                Some(match self.save(slot, source, &mut out[..room]) {
                    Ok(len) => {
                        self.release(slot);
                        Outcome::Frozen {
                            activation: *activation,
                            image: &out[..len],
                        }
                    }
                    Err(fault) => Outcome::NotFrozen {
                        activation: *activation,
                        fault,
                    },
                })
            }
            Work::Thaw { start, image } => Some(match self.restore(start, image, source, out) {
                Ok((slot, event)) => self.conclude(slot, event, out),
                Err(end) => refused(start, end),
            }),
            Work::Stop { activation } => {
                let slot = self.slot(*activation)?;
                self.release(slot);
                None
            }
            Work::Verify { .. } => None,
        }
    }

    /// Loads a WebAssembly tasklet without running any of its code: the first half of
    /// [`Work::Start`]. The second half is [`Work::Continue`]. What is in `scratch` is overwritten.
    ///
    /// # Errors
    /// The outcome that answers the start, if it fails; nothing is left of it then.
    pub fn admit(
        &mut self,
        start: &Start<'_>,
        source: &dyn CodeSource,
        scratch: &mut [u8],
    ) -> Result<(), Outcome<'static>> {
        let options = self.options;
        let load = |gap: &mut [u8]| start::load(gap, start, &options);
        let mut spare = Spare { source, scratch };
        let admitted = self.vacancy(start).map_err(Event::from).and_then(|slot| {
            let activation = self.place(&mut spare, load)?;
            self.settle(slot, activation);
            Ok(())
        });
        admitted.map_err(|end| refused(start, end))
    }

    /// The length of the image that [`Work::Freeze`] would make.
    pub fn image_len(
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
}

/// Work on activations.
impl Executor<'_> {
    /// Runs an activation that waits for `waits` until it stands still.
    fn go_on<'o>(
        &mut self,
        activation: ActivationId,
        waits: Waits,
        answer: Option<&[u8]>,
        source: &dyn CodeSource,
        host: &mut dyn Host,
        out: &'o mut [u8],
    ) -> Option<Outcome<'o>> {
        let slot = self.waiting(activation, waits)?;
        let mut spare = Spare {
            source,
            scratch: out,
        };
        let event = match self.bring_in(slot, &mut spare) {
            Err(fault) => fault.into(),
            Ok(()) => {
                let mut around = Around {
                    code: source.code(activation),
                    host,
                    slice: self.options.slice,
                    out,
                };
                let region = self.arena.region(slot);
                let run = self.activations[slot].as_mut().expect("it waits");
                run::run(run, region, answer, &mut around)
            }
        };
        self.note_peak();
        if self.options.freezing == Freezing::Always && matches!(event, Event::Called { .. }) {
            // The output holds the arguments of the call.
            let scratch = &mut [];
            self.freeze_out(slot, &mut Spare { source, scratch });
        }
        Some(self.conclude(slot, event, out))
    }

    /// Turns the event of `slot` into an outcome, and lets go of an activation that has ended.
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
            Event::Failed { fault, trap } => {
                self.release(slot);
                Outcome::Failed {
                    activation,
                    fault,
                    trap,
                    fuel,
                }
            }
        }
    }

    /// Writes the image of an activation.
    fn save(
        &mut self,
        slot: usize,
        source: &dyn CodeSource,
        out: &mut [u8],
    ) -> Result<usize, Fault> {
        let run = *self.activation(slot);
        let args = run.layout.links..run.layout.links + run.layout.args;
        let region = self.arena.region(slot);
        let head = start::header(&run).to_bytes(&region[args.clone()]);
        let before = head.len() + args.len();
        let (front, rest) = out
            .split_at_mut_checked(before)
            .ok_or(Fault::ValuesTooLarge)?;
        front[..head.len()].copy_from_slice(&head);
        front[head.len()..].copy_from_slice(&region[args]);
        let instance = &mut region[run.layout.instance..];
        let len = match run.form {
            Form::Image(len) => {
                let rest = rest.get_mut(..len).ok_or(Fault::ValuesTooLarge)?;
                rest.copy_from_slice(&instance[..len]);
                len
            }
            Form::Block => {
                let instance = Instance::attach(instance).map_err(|_| Fault::BadImage)?;
                instance
                    .freeze(source.code(run.id), rest)
                    .map_err(|error| match error {
                        FreezeError::TooSmall => Fault::ValuesTooLarge,
                        FreezeError::NotSuspended | FreezeError::WrongModule => Fault::BadImage,
                    })?
            }
        };
        Ok(before + len)
    }

    /// Takes an activation in from an image.
    fn restore(
        &mut self,
        start: &Start<'_>,
        image: &[u8],
        source: &dyn CodeSource,
        out: &mut [u8],
    ) -> Result<(usize, Event), Event> {
        let slot = self.vacancy(start)?;
        let options = self.options;
        let thaw = |gap: &mut [u8]| start::thaw(gap, start, image, &options);
        let scratch = &mut *out;
        let activation = self.place(&mut Spare { source, scratch }, thaw)?;
        self.settle(slot, activation);
        let region = self.arena.region(slot);
        let run = self.activations[slot].as_ref().expect("just settled");
        let event = match run::pending_call(run, region, out) {
            Ok(Some(event)) => event,
            Ok(None) => Event::Yielded,
            Err(end) => end,
        };
        Ok((slot, event))
    }

    /// A free slot for `start`, whose module is what its entry says.
    fn vacancy(&self, start: &Start<'_>) -> Result<usize, Fault> {
        if self.slot(start.activation).is_some() {
            return Err(Fault::Busy);
        }
        let slot = self.activations.iter().position(Option::is_none);
        let slot = slot.ok_or(Fault::Busy)?;
        if start.entry.terms.executor == Kind::Native {
            return Err(Fault::BadImage);
        }
        if Digest::of(start.code) != start.entry.digest {
            return Err(Fault::DigestMismatch);
        }
        Ok(slot)
    }

    /// Calls `fill` with the gap until it is long enough.
    fn place(
        &mut self,
        spare: &mut Spare<'_>,
        mut fill: impl FnMut(&mut [u8]) -> Result<Activation, Refusal>,
    ) -> Result<Activation, Event> {
        loop {
            match fill(self.arena.gap()) {
                Ok(activation) => {
                    let full = rounded(activation.layout.full);
                    if full <= self.arena.gap().len() {
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
        self.activations[slot] = Some(activation);
        self.note_peak();
    }

    fn release(&mut self, slot: usize) {
        self.arena.release(slot);
        self.activations[slot] = None;
    }

    fn slot(&self, id: ActivationId) -> Option<usize> {
        let mut activations = self.activations.iter();
        activations.position(|it| it.as_ref().is_some_and(|it| it.id == id))
    }

    /// The slot of `id` if it waits for `waits`. Anything else is a stray and has no effect, so
    /// that an answer that comes twice is taken once.
    fn waiting(&mut self, id: ActivationId, waits: Waits) -> Option<usize> {
        let slot = self
            .slot(id)
            .filter(|slot| self.activation(*slot).waits == waits);
        self.counts.stray += u64::from(slot.is_none());
        slot
    }

    fn activation(&self, slot: usize) -> &Activation {
        self.activations[slot].as_ref().expect("the slot is taken")
    }

    fn activation_mut(&mut self, slot: usize) -> &mut Activation {
        self.activations[slot].as_mut().expect("the slot is taken")
    }

    fn note_peak(&mut self) {
        let slots = 0..ACTIVATIONS;
        let used = slots.map(|slot| match &self.activations[slot] {
            None => 0,
            Some(run) if run.form == Form::Block => run.layout.used,
            Some(_) => self.arena.region_len(slot),
        });
        self.counts.peak_bytes = self.counts.peak_bytes.max(used.sum());
    }
}

/// The failure of a start.
fn refused<'o>(start: &Start<'_>, end: Event) -> Outcome<'o> {
    let (fault, trap) = match end {
        Event::Failed { fault, trap } => (fault, trap),
        Event::Called { .. } | Event::Done { .. } | Event::Yielded => (Fault::BadImage, None),
    };
    Outcome::Failed {
        activation: start.activation,
        fault,
        trap,
        fuel: start.fuel,
    }
}

/// Runs a native tasklet, from its start to its result.
fn serve_native<'o>(start: &Start<'_>, host: &mut dyn Host, out: &'o mut [u8]) -> Outcome<'o> {
    let terms = &start.entry.terms;
    let served = match terms.export(start.export) {
        None => Err(Fault::UnknownExport),
        Some(_) if terms.cost > start.fuel => Err(Fault::OutOfFuel),
        Some(export) => match abi::check_args(&export.signature, start.args) {
            Ok(()) => host.native(&start.name, export.name, start.args, out),
            Err(_) => Err(Fault::WrongArguments),
        },
    };
    match served.and_then(|len| out.get(..len).ok_or(Fault::ValuesTooLarge)) {
        Ok(result) => Outcome::Done {
            activation: start.activation,
            result,
            fuel: start.fuel - terms.cost,
        },
        Err(fault) => refused(start, fault.into()),
    }
}
