//! Making room in the arena.

use nimblenet_tasklet::Fault;
use nimblenet_wasm::{LoadError, Part, ThawError};

use super::activation::{Event, Form};
use super::arena::rounded;
use super::{Slot, Wasm};
use crate::options::{ACTIVATIONS, CodeSource};

/// What the executor needs from outside the arena to make room.
pub(super) struct Spare<'s> {
    pub(super) source: &'s dyn CodeSource,
    /// Bytes that nobody uses: an image may pass through them.
    pub(super) scratch: &'s mut [u8],
}

impl Wasm<'_> {
    /// Lengthens the gap to at least `bytes`.
    ///
    /// # Errors
    /// [`Fault::NoMemory`] if the arena is too small for that, [`Event::NoRoom`] if the other
    /// activations cannot give way far enough.
    pub(super) fn make_room(&mut self, bytes: usize, spare: &mut Spare<'_>) -> Result<(), Event> {
        while self.arena.gap_len() < bytes {
            if bytes > self.arena.len() {
                return Err(Fault::NoMemory.into());
            }
            if !self.relieve(None, spare) {
                return Err(self.no_room(0));
            }
        }
        Ok(())
    }

    /// Why nothing more can give way for a run: there are other activations, or the arena is too
    /// small. `own` is how many activations belong to the run itself.
    fn no_room(&self, own: usize) -> Event {
        if self.activations() > own {
            Event::NoRoom
        } else {
            Fault::NoMemory.into()
        }
    }

    /// Brings an activation that is to go on into a block of full length: thaws it, or gives it
    /// back what it has lent.
    ///
    /// # Errors
    /// [`Event::NoRoom`] if the other activations cannot give way far enough,
    /// [`Fault::NoMemory`] if there are none.
    pub(super) fn bring_in(&mut self, slot: usize, spare: &mut Spare<'_>) -> Result<(), Event> {
        loop {
            let run = self.activation(slot);
            let full = rounded(run.layout.full);
            let is_in = match run.form {
                Form::Block => {
                    self.arena.extend(slot, full) || {
                        self.arena.raise(slot);
                        self.arena.extend(slot, full)
                    }
                }
                Form::Image(len) => {
                    self.arena.gap_len() >= full && self.thaw_in(slot, len, spare)?
                }
            };
            if is_in {
                return Ok(());
            }
            if !self.relieve(Some(slot), spare) {
                return Err(self.no_room(1));
            }
        }
    }

    /// Freezes a suspended activation; false if its image has no room, or if the arena would be
    /// too small to let it come back.
    pub(super) fn freeze_out(&mut self, slot: usize, spare: &mut Spare<'_>) -> bool {
        let Some(len) = self.instance_image_len(slot, spare) else {
            return false;
        };
        let run = *self.activation(slot);
        let at = run.layout.instance;
        let taken = rounded(at + len);
        let images = self.arena.image_bytes() + taken;
        if images + rounded(run.layout.full) > self.arena.len() {
            return false;
        }
        let code = spare.source.code(run.id);
        let write = |mut block: Part<'_>, image: &mut [u8]| {
            let (preamble, instance) = block.attach(at, code).ok()?;
            image[..at].copy_from_slice(preamble);
            instance.freeze(&mut image[at..at + len]).ok()
        };
        while self.arena.gap_len() < taken && self.give_up_warm().is_some() {
            self.arena.compact();
        }
        if let Some((block, image)) = self.arena.block_and_image(slot, taken) {
            if write(block, image).is_none() {
                return false;
            }
            self.arena.swap_out(slot, taken);
        } else {
            // The image is smaller than the block, but the gap is smaller still.
            let Some(image) = spare.scratch.get_mut(..taken) else {
                return false;
            };
            let block = self.arena.region(slot);
            if taken > block.bytes().len() || write(block, image).is_none() {
                return false;
            }
            self.arena.replace(slot, image);
        }
        self.activation_mut(slot).form = Form::Image(len);
        self.counts.frozen += 1;
        self.note_peak();
        true
    }

    /// The length of the image of an activation's instance.
    pub(super) fn instance_image_len(&mut self, slot: usize, spare: &Spare<'_>) -> Option<usize> {
        let run = *self.activation(slot);
        let code = spare.source.code(run.id);
        let mut region = self.arena.region(slot);
        let (_, instance) = region.attach(run.layout.instance, code).ok()?;
        instance.image_len().ok()
    }

    /// Thaws an activation into the gap; false if the gap is too short.
    fn thaw_in(&mut self, slot: usize, len: usize, spare: &mut Spare<'_>) -> Result<bool, Fault> {
        let run = *self.activation(slot);
        let at = run.layout.instance;
        let options = run.options(&self.options.limits, self.options.metered);
        let (mut gap, image) = self.arena.gap_and_image(slot);
        gap.write(0, &image[..at]).ok_or(Fault::NoMemory)?;
        let code = spare.source.code(run.id);
        match gap.thaw(at, code, &image[at..at + len], &options) {
            Ok(_) => {}
            Err(ThawError::Load(LoadError::OutOfMemory { .. })) => return Ok(false),
            Err(_) => return Err(Fault::BadImage),
        }
        self.arena.swap_in(slot, rounded(run.layout.full));
        self.activation_mut(slot).form = Form::Block;
        self.counts.thawed += 1;
        Ok(true)
    }

    /// Takes the cheapest step that lengthens the gap; false if there is none. The activation in
    /// `keep` stays as it is.
    fn relieve(&mut self, keep: Option<usize>, spare: &mut Spare<'_>) -> bool {
        if self.arena.compact() {
            return true;
        }
        if self.give_up_warm().is_some() {
            self.arena.compact();
            return true;
        }
        let mut lent = false;
        for slot in self.blocks(keep) {
            let used = rounded(self.activation(slot).layout.used);
            if used < self.arena.region_len(slot) {
                self.arena.shrink(slot, used);
                lent = true;
            }
        }
        if lent {
            self.arena.compact();
            return true;
        }
        self.freeze_biggest(keep, spare)
    }

    /// Freezes the activation that frees most bytes; false if none can be frozen.
    fn freeze_biggest(&mut self, keep: Option<usize>, spare: &mut Spare<'_>) -> bool {
        let mut tried = [false; ACTIVATIONS];
        loop {
            let mut best = None;
            for slot in self.blocks(keep).filter(|slot| !tried[*slot]) {
                let at = self.activation(slot).layout.instance;
                let Some(len) = self.instance_image_len(slot, spare) else {
                    continue;
                };
                let relief = self
                    .arena
                    .region_len(slot)
                    .saturating_sub(rounded(at + len));
                if relief > best.map_or(0, |(_, relief)| relief) {
                    best = Some((slot, relief));
                }
            }
            let Some((slot, _)) = best else {
                return false;
            };
            if self.freeze_out(slot, spare) {
                self.arena.compact();
                return true;
            }
            tried[slot] = true;
        }
    }

    /// The slots of activations that are not frozen, without `keep`.
    fn blocks(&self, keep: Option<usize>) -> impl Iterator<Item = usize> + use<> {
        let mut blocks = [false; ACTIVATIONS];
        for (is_block, slot) in blocks.iter_mut().zip(&self.slots) {
            *is_block = matches!(slot, Slot::Run(run) if run.form == Form::Block);
        }
        (0..ACTIVATIONS).filter(move |slot| blocks[*slot] && Some(*slot) != keep)
    }
}
