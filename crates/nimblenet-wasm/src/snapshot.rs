//! Freezing a suspended instance into an image, and thawing an image elsewhere.
//!
//! The format is described in `spec/snapshot.md`; section numbers below are of that document. An
//! image holds only the live part of the state, as differences from the state after loading, and no
//! code: the thawing side translates the module again and gets the same code. It checks every field
//! of an image against that code before a run may go on.

mod points;
mod runs;

use crate::block::{
    FLAG_METERED, Field, Parts, SEGMENT_BYTES, SEGMENT_DROPPED, STATE_CALL, STATE_READY, Words,
    cells, val_type,
};
use crate::checksum::checksum;
use crate::fault::{FreezeError, ThawError};
use crate::instance::Instance;
use crate::isa::IR_VERSION;
use crate::limits::LoadOptions;
use crate::module::Module;
use crate::reader::Reader;
use crate::value::ValType;
use points::{Points, What};
use runs::{Baseline, Segments, Sink};

/// First byte of every image.
const MAGIC: u8 = 0x4e;
/// The version of the format, the second byte.
const FORMAT: u8 = 1;
/// Bytes of the module's digest that an image holds.
const DIGEST_BYTES: usize = 16;
/// Magic, format, version of the code, flags, digest.
const HEAD_BYTES: usize = 5 + DIGEST_BYTES;
/// The checksum at the end.
const CHECK_BYTES: usize = 4;
/// Flag: the code charges fuel.
const IMAGE_METERED: u8 = 1;
/// Flag: a host call waits for its answer.
const IMAGE_CALL: u8 = 2;

impl<'b> Instance<'b> {
    /// How many bytes [`freeze`](Self::freeze) would write.
    ///
    /// # Errors
    /// As for `freeze`, apart from [`FreezeError::TooSmall`].
    pub fn image_len(&self) -> Result<usize, FreezeError> {
        self.write_image(&mut []).map(|sink| sink + CHECK_BYTES)
    }

    /// Writes an image of the suspended run to the start of `image`; returns the image's length.
    ///
    /// A run can be frozen wherever it is suspended: at a host call, before or after the answer was
    /// given, out of fuel, and before it was begun. The instance stays as it is.
    ///
    /// # Errors
    /// If no run is suspended, or the image does not fit.
    pub fn freeze(&self, image: &mut [u8]) -> Result<usize, FreezeError> {
        let len = self.write_image(image)?;
        let end = len + CHECK_BYTES;
        if end > image.len() {
            return Err(FreezeError::TooSmall);
        }
        let check = checksum(&image[..len]);
        image[len..end].copy_from_slice(&check.to_le_bytes());
        Ok(end)
    }

    /// Writes all but the checksum, as far as it fits; returns the length (spec 2 to 6).
    fn write_image(&self, image: &mut [u8]) -> Result<usize, FreezeError> {
        let (block, code) = (&*self.block, self.code);
        let state = block.field(Field::STATE);
        if state != STATE_READY && state != STATE_CALL {
            return Err(FreezeError::NotSuspended);
        }
        let pending = (state == STATE_CALL).then(|| block.field(Field::PENDING));
        let live = live_bytes(block, pending, &mut Points::new(block, u32::MAX))
            .ok_or(FreezeError::NotSuspended)?;
        let mut out = Sink::new(image);
        let metered = block.field(Field::FLAGS) & FLAG_METERED != 0;
        let flags = if metered { IMAGE_METERED } else { 0 };
        let call = if pending.is_some() { IMAGE_CALL } else { 0 };
        out.bytes(&[MAGIC, FORMAT]);
        out.bytes(&IR_VERSION.to_le_bytes());
        out.bytes(&[flags | call]);
        out.bytes(&digest(block));
        out.number(block.wide_field(Field::FUEL));
        out.number(block.wide_field(Field::DEBT));
        out.number(u64::from(block.field(Field::ENTRY)));
        out.number(u64::from(block.field(Field::IP)));
        out.number(u64::from(block.field(Field::FP)));
        if let Some(import) = pending {
            out.number(u64::from(import));
            out.number(u64::from(block.field(Field::WINDOW)));
        }
        out.number(live as u64);
        let stack = block.offset(Field::STACK);
        out.differences(&block[stack..stack + live], &mut Baseline::zeros());
        write_globals(block, code, &mut out);
        write_tables(block, code, &mut out);
        write_segments(block, &mut out);
        let memory = self.memory();
        out.number(memory.len() as u64);
        let segments = Segments::read(block, code);
        out.differences(memory, &mut Baseline::memory(&segments));
        Ok(out.len())
    }

    /// Loads a module into `block` and continues the run of an image there: nothing that ran before
    /// is run again. The fuel that is left and the fuel that is owed come from the image.
    ///
    /// The image may be hostile: if any of its fields does not agree with the module, it is
    /// refused.
    ///
    /// # Errors
    /// If the module does not load, or the image is damaged, of another version, of another module,
    /// or contradicts the module. The block holds no instance then.
    pub fn thaw(
        block: &'b mut [u8],
        code: &'b [u8],
        image: &[u8],
        options: &LoadOptions,
    ) -> Result<Self, ThawError> {
        let body = verify(image, options)?;
        let mut instance = Instance::load(block, code, options)?;
        match instance.read_image(image, body, options.limits.validation_work) {
            Some(()) => Ok(instance),
            None => {
                // The unfinished state is no instance.
                instance.block[..4].fill(0);
                Err(ThawError::Inconsistent)
            }
        }
    }

    /// Reads the fields after the head and applies them to the freshly loaded instance; checks
    /// all of them.
    fn read_image(&mut self, image: &[u8], body: Reader<'_>, work: u32) -> Option<()> {
        let mut from = body;
        let (block, code) = (&mut *self.block, self.code);
        let call = image[4] & IMAGE_CALL != 0;
        let fuel = wide(&mut from)?;
        let debt = wide(&mut from)?;
        block.set_wide_field(Field::FUEL, fuel);
        block.set_wide_field(Field::DEBT, debt);
        let entry = from.u32().ok()?;
        block.set_field(Field::ENTRY, entry);
        block.set_field(Field::IP, from.u32().ok()?);
        block.set_field(Field::FP, from.u32().ok()?);
        let mut pending = None;
        if call {
            pending = Some(from.u32().ok()?);
            block.set_field(Field::PENDING, pending?);
            block.set_field(Field::WINDOW, from.u32().ok()?);
        }
        let live = from.u32().ok()? as usize;
        if live > block.offset(Field::STACK_BYTES) {
            return None;
        }
        let stack = block.offset(Field::STACK);
        runs::apply(&mut from, &mut block[stack..stack + live])?;
        let globals = block.offset(Field::GLOBALS);
        let end = globals + block.offset(Field::GLOBALS_BYTES);
        runs::apply(&mut from, &mut block[globals..end])?;
        let types = Module::globals_in(code, block.offset(Field::GLOBAL_SECTION));
        points::refs_exist(block, types, globals).then_some(())?;
        read_tables(block, code, &mut from)?;
        read_segments(block, &mut from)?;
        read_memory(block, code, &mut from)?;
        from.end().ok()?;
        let mut points = Points::new(block, work);
        if live_bytes(block, pending, &mut points)? != live {
            return None;
        }
        points::check_frames(block, entry, &mut points)?;
        let point = points.at(block, block.field(Field::IP))?;
        if let Some((types, window)) = at_import(block, pending, point.what) {
            let at = stack + block.offset(Field::FP) + window;
            let types = types.iter().map(|&ty| val_type(ty));
            points::refs_exist(block, types, at).then_some(())?;
        }
        if let Some(import) = pending {
            let ty = block.func(import).ty;
            block.set_field(Field::PENDING_TYPE, u32::from(ty));
        }
        let state = if call { STATE_CALL } else { STATE_READY };
        self.block.set_field(Field::STATE, state);
        Some(())
    }
}

/// Checks what can be checked before the module is loaded; returns a reader after the head.
fn verify<'i>(image: &'i [u8], options: &LoadOptions) -> Result<Reader<'i>, ThawError> {
    let body = image
        .len()
        .checked_sub(CHECK_BYTES)
        .filter(|&len| len >= HEAD_BYTES);
    let body = body.ok_or(ThawError::Damaged)?;
    if checksum(&image[..body]).to_le_bytes() != image[body..] {
        return Err(ThawError::Damaged);
    }
    let version = u16::from_le_bytes([image[2], image[3]]);
    if image[0] != MAGIC || image[1] != FORMAT || version != IR_VERSION {
        return Err(ThawError::Version);
    }
    let metered = image[4] & IMAGE_METERED != 0;
    let other = image[5..HEAD_BYTES] != options.digest[..DIGEST_BYTES];
    if other || metered != options.metered {
        return Err(ThawError::OtherModule);
    }
    if image[4] & !(IMAGE_METERED | IMAGE_CALL) != 0 {
        return Err(ThawError::Inconsistent);
    }
    Ok(Reader::new(&image[..body], HEAD_BYTES))
}

/// How many bytes of the stack are in use at the run's suspension point; `None` if the run is not
/// at one. `pending` is the import whose call waits for an answer.
fn live_bytes(block: &[u8], pending: Option<u32>, points: &mut Points) -> Option<usize> {
    let ip = block.field(Field::IP);
    let fp = block.offset(Field::FP);
    let point = points.at(block, ip)?;
    let within = match point.what {
        What::Start { height } | What::Charge { height } if pending.is_none() => height,
        What::Start { .. } | What::Charge { .. } | What::Call { .. } => return None,
        What::Import { .. } | What::HostCall { .. } | What::Indirect { .. } => {
            let (types, window) = at_import(block, pending, point.what)?;
            window + cells(types) * 4
        }
    };
    fp.checked_add(within)
}

/// The types of the arguments of a pending call of an import, or of the results of one that was
/// answered, and their offset in the frame. `None` if no import is called here, or not this one.
fn at_import(block: &[u8], pending: Option<u32>, what: What) -> Option<(&[u8], usize)> {
    let (import, ty, window) = match what {
        What::Import { import } => (Some(import), block.func(import).ty, 0),
        What::HostCall { import, window } => (Some(import), block.func(import).ty, window),
        What::Indirect { ty, window } => (None, ty, window),
        What::Start { .. } | What::Charge { .. } | What::Call { .. } => return None,
    };
    let types = block.func_type(ty);
    let Some(pending) = pending else {
        return Some((types.results, window.into()));
    };
    let is_called = match import {
        Some(import) => pending == import,
        None => pending < block.field(Field::IMPORT_COUNT) && block.func(pending).ty == ty,
    };
    (is_called && block.field(Field::WINDOW) == u32::from(window))
        .then_some((types.params, window.into()))
}

fn digest(block: &[u8]) -> [u8; DIGEST_BYTES] {
    let mut out = [0; DIGEST_BYTES];
    for (index, word) in out.chunks_exact_mut(4).enumerate() {
        word.copy_from_slice(&block.field(Field::digest(index)).to_le_bytes());
    }
    out
}

/// Globals, as differences from their initial values.
fn write_globals(block: &[u8], code: &[u8], out: &mut Sink<'_>) {
    let start = block.offset(Field::GLOBALS);
    let end = start + block.offset(Field::GLOBALS_BYTES);
    out.differences(&block[start..end], &mut Baseline::globals(block, code));
}

/// Tables: the length of each, and its differences from null references, or from its initial
/// contents where the module has a single active segment for it (spec 5).
fn write_tables(block: &[u8], code: &[u8], out: &mut Sink<'_>) {
    for index in 0..block.field(Field::TABLE_COUNT) {
        let table = block.table(index);
        out.number(u64::from(table.len));
        let end = table.elements + table.len as usize * 4;
        let mut baseline = Baseline::table(block, code, index);
        out.differences(&block[table.elements..end], &mut baseline);
    }
}

fn read_tables(block: &mut [u8], code: &[u8], from: &mut Reader<'_>) -> Option<()> {
    let functions = block.field(Field::FUNC_COUNT);
    for index in 0..block.field(Field::TABLE_COUNT) {
        let table = block.table(index);
        let len = from.u32().ok()?;
        if len < table.min || len > table.room {
            return None;
        }
        block.set_word(table.record + 4, len);
        let end = table.elements + len as usize * 4;
        if Baseline::table(block, code, index).is_zeros() {
            block[table.elements..end].fill(0);
        }
        runs::apply(from, &mut block[table.elements..end])?;
        let funcs = table.ty == ValType::FuncRef;
        let mut elements = block[table.elements..end].chunks_exact(4);
        if funcs && elements.any(|element| element.word(0) > functions) {
            return None;
        }
    }
    Some(())
}

/// Which segments are dropped: a bit each, data segments with records first.
fn write_segments(block: &[u8], out: &mut Sink<'_>) {
    for (records, count) in segment_records(block) {
        for first in (0..count).step_by(8) {
            let mut bits = 0;
            for index in first..count.min(first + 8) {
                let word = block.word(records + index * SEGMENT_BYTES + 4);
                bits |= u8::from(word & SEGMENT_DROPPED != 0) << (index - first);
            }
            out.bytes(&[bits]);
        }
    }
}

fn read_segments(block: &mut [u8], from: &mut Reader<'_>) -> Option<()> {
    for (records, count) in segment_records(block) {
        for first in (0..count).step_by(8) {
            let bits = from.u8().ok()?;
            for index in first..first + 8 {
                let dropped = bits >> (index - first) & 1 != 0;
                if index >= count {
                    if dropped {
                        return None;
                    }
                    continue;
                }
                let at = records + index * SEGMENT_BYTES + 4;
                let word = block.word(at);
                // A segment that is dropped at the start stays dropped.
                if word & SEGMENT_DROPPED != 0 && !dropped {
                    return None;
                }
                let flag = if dropped { SEGMENT_DROPPED } else { 0 };
                block.set_word(at, word | flag);
            }
        }
    }
    Some(())
}

fn segment_records(block: &[u8]) -> [(usize, usize); 2] {
    [
        (block.offset(Field::DATA), block.offset(Field::DATA_COUNT)),
        (block.offset(Field::ELEMS), block.offset(Field::ELEM_COUNT)),
    ]
}

fn read_memory(block: &mut [u8], code: &[u8], from: &mut Reader<'_>) -> Option<()> {
    let len = from.u32().ok()?;
    let (min, page) = (block.field(Field::MEMORY_MIN), block.field(Field::PAGE_LOG));
    let start = block.offset(Field::MEMORY);
    let fits = len >= min
        && (len == min || len <= block.field(Field::MEMORY_LIMIT))
        && len & ((1 << page) - 1) == 0
        && len as usize <= block.len() - start;
    if !fits {
        return None;
    }
    let zeros = runs::memory_is_zeros(block, code);
    let known = if zeros { 0 } else { min as usize };
    block[start + known..start + len as usize].fill(0);
    block.set_field(Field::MEMORY_BYTES, len);
    runs::apply(from, &mut block[start..start + len as usize])
}

/// A number of up to 64 bits, LEB128.
fn wide(from: &mut Reader<'_>) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = from.u8().ok()?;
        if shift == 63 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}
