//! Writes parts of the state as differences from a baseline that both sides know (spec 3).

use crate::block::{Field, Parts, SEGMENT_BYTES, Words};
use crate::constant::{self, Scope};
use crate::reader::Reader;
use crate::segment::{Data, Element, data_segment};
use crate::value::ValType;

/// A shorter run of unchanged bytes does not end a run of changed bytes.
const GAP_MIN: usize = 4;
/// With more data segments than this, memory is compared with zeros: finding the segment that
/// covers an address takes time in proportion to their number, and they are kept on the stack.
const SEGMENTS_MAX: usize = 32;

/// The bytes that an image is written to. It also counts the bytes that do not fit.
pub(super) struct Sink<'s> {
    out: &'s mut [u8],
    len: usize,
}

impl<'s> Sink<'s> {
    pub(super) fn new(out: &'s mut [u8]) -> Self {
        Self { out, len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        if let Some(room) = self.out.get_mut(self.len..self.len + bytes.len()) {
            room.copy_from_slice(bytes);
        }
        self.len += bytes.len();
    }

    /// A number, LEB128.
    pub(super) fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes(&[value as u8 | 0x80]);
            value >>= 7;
        }
        self.bytes(&[value as u8]);
    }

    /// Writes `live` as runs of bytes that differ from the baseline: length, bytes skipped before
    /// the run, the bytes; a length of 0 ends it.
    pub(super) fn differences(&mut self, live: &[u8], baseline: &mut Baseline<'_>) {
        let mut at = 0;
        // The end of the last run that was written, and the run that is being collected.
        let mut written = 0;
        let mut run = 0..0;
        while at < live.len() {
            let (part, known) = baseline.part(at, live.len());
            let (start, end) = (at, at + part);
            while at < end {
                let known = known.map(|known| &known[at - start..]);
                let same = at + common(&live[at..end], known);
                if same - at >= GAP_MIN || run.is_empty() {
                    self.run(live, &mut written, &run);
                    run = same..same;
                }
                if same == end {
                    at = end;
                    break;
                }
                // A short gap becomes part of the run.
                let known = known.map(|known| &known[same - at..]);
                at = same + different(&live[same..end], known);
                run.end = at;
            }
            if run.end < at && at - run.end >= GAP_MIN {
                self.run(live, &mut written, &run);
                run = at..at;
            }
        }
        self.run(live, &mut written, &run);
        self.number(0);
    }

    fn run(&mut self, live: &[u8], written: &mut usize, run: &core::ops::Range<usize>) {
        if run.is_empty() {
            return;
        }
        self.number(run.len() as u64);
        self.number((run.start - *written) as u64);
        self.bytes(&live[run.clone()]);
        *written = run.end;
    }
}

/// How many bytes at the start of `live` equal those of `known`, or zero where nothing is known.
fn common(live: &[u8], known: Option<&[u8]>) -> usize {
    let Some(known) = known else {
        // Most of memory is often unchanged, so compare 64 bytes at a time.
        let zero = |part: &&[u8]| part.iter().fold(0, |all, &byte| all | byte) == 0;
        let zeros = live.chunks_exact(64).take_while(zero).count() * 64;
        return zeros + live[zeros..].iter().take_while(|&&byte| byte == 0).count();
    };
    let pairs = live.chunks_exact(8).zip(known.chunks_exact(8));
    let words = pairs.take_while(|(a, b)| a == b).count() * 8;
    let rest = live[words..].iter().zip(&known[words..]);
    words + rest.take_while(|(a, b)| a == b).count()
}

/// How many bytes at the start of `live` all differ from what is known.
fn different(live: &[u8], known: Option<&[u8]>) -> usize {
    match known {
        None => live.iter().take_while(|&&byte| byte != 0).count(),
        Some(known) => live.iter().zip(known).take_while(|(a, b)| a != b).count(),
    }
}

/// Overwrites `state` with the runs that follow. `None` if they do not fit.
pub(super) fn apply(from: &mut Reader<'_>, state: &mut [u8]) -> Option<()> {
    let mut at = 0usize;
    loop {
        let len = from.u32().ok()? as usize;
        if len == 0 {
            return Some(());
        }
        let start = at.checked_add(from.u32().ok()? as usize)?;
        let end = start.checked_add(len)?;
        state
            .get_mut(start..end)?
            .copy_from_slice(from.bytes(len).ok()?);
        at = end;
    }
}

/// The content of a part of the state right after loading.
pub(super) struct Baseline<'c> {
    source: Source<'c>,
    /// A value that was computed for the part that is compared.
    scratch: [u8; 8],
}

enum Source<'c> {
    Zeros,
    /// A reader of initial values, and the offset where the next one starts.
    Globals {
        reader: Reader<'c>,
        next: usize,
        scope: Scope,
    },
    /// The items of the one active segment, and the byte offset where they start and end.
    Table {
        items: Element<'c>,
        start: usize,
        end: usize,
        next: usize,
        scope: Scope,
    },
    Memory(&'c Segments<'c>),
}

/// The active data segments in their order, read once: their offsets are expressions of any length.
/// None if memory is compared with zeros.
pub(super) struct Segments<'c> {
    code: &'c [u8],
    placed: [Placed; SEGMENTS_MAX],
    count: usize,
}

/// The place in memory where an active data segment puts its contents, and their place in the
/// module.
#[derive(Clone, Copy)]
struct Placed {
    start: u32,
    from: u32,
    len: u32,
}

impl<'c> Baseline<'c> {
    pub(super) fn zeros() -> Self {
        Self {
            source: Source::Zeros,
            scratch: [0; 8],
        }
    }

    pub(super) fn globals(block: &[u8], code: &'c [u8]) -> Self {
        let section = block.offset(Field::GLOBAL_SECTION);
        if section == 0 {
            return Self::zeros();
        }
        let mut reader = Reader::new(code, section);
        let scope = Scope {
            functions: block.field(Field::FUNC_COUNT),
        };
        match reader.u32() {
            Ok(_) => Self {
                source: Source::Globals {
                    reader,
                    next: 0,
                    scope,
                },
                scratch: [0; 8],
            },
            Err(_) => Self::zeros(),
        }
    }

    /// The initial contents of a table that one active segment fills; others count as null. Reads
    /// no more of the module than that segment.
    pub(super) fn table(block: &[u8], code: &'c [u8], index: u32) -> Self {
        let scope = Scope {
            functions: block.field(Field::FUNC_COUNT),
        };
        let segment = block.table(index).segment.and_then(|segment| {
            let record = block.offset(Field::ELEMS) + segment as usize * SEGMENT_BYTES;
            let mut reader = Reader::new(code, block.word(record) as usize);
            Element::read(&mut reader, scope).ok()
        });
        let Some((items, offset)) = segment.and_then(|items| Some((items, items.offset()?))) else {
            return Self::zeros();
        };
        let start = offset as usize * 4;
        let end = start + items.count as usize * 4;
        let source = Source::Table {
            items,
            start,
            end,
            next: start,
            scope,
        };
        Self {
            source,
            scratch: [0; 8],
        }
    }

    pub(super) fn memory(segments: &'c Segments<'c>) -> Self {
        Self {
            source: Source::Memory(segments),
            scratch: [0; 8],
        }
    }

    /// Whether the state is compared with zeros, whatever its content after loading.
    pub(super) fn is_zeros(&self) -> bool {
        matches!(self.source, Source::Zeros)
    }

    /// The known content from offset `at` on: its length (at least one byte, not past `end`), and
    /// its bytes, where `None` stands for zeros. The caller asks for offsets in ascending order.
    fn part(&mut self, at: usize, end: usize) -> (usize, Option<&[u8]>) {
        match &mut self.source {
            Source::Zeros => (end - at, None),
            Source::Globals {
                reader,
                next,
                scope,
            } => {
                debug_assert_eq!(at, *next);
                let (bits, len) = global(reader, *scope).unwrap_or((0, 4));
                self.scratch = bits.to_le_bytes();
                *next += len;
                let len = len.min(end - at);
                (len, Some(&self.scratch[..len]))
            }
            Source::Table {
                items,
                start,
                end: last,
                next,
                scope,
            } => {
                if at < *start {
                    return ((*start).min(end) - at, None);
                }
                if at >= *last {
                    return (end - at, None);
                }
                debug_assert_eq!(at, *next);
                let bits = items.next(*scope).map_or(0, |item| item.bits);
                self.scratch = bits.to_le_bytes();
                *next += 4;
                (4, Some(&self.scratch[..4]))
            }
            Source::Memory(segments) => segments.covering(at, end),
        }
    }
}

/// The next global's initial bits, and its size in bytes.
fn global(reader: &mut Reader<'_>, scope: Scope) -> Option<(u64, usize)> {
    let ty: ValType = reader.value_type().ok()?;
    reader.u8().ok()?;
    let bits = constant::read(reader, ty, scope).ok()?.bits;
    Some((bits, ty.cells() * 4))
}

/// Whether memory is compared with zeros, whatever data segments put there.
pub(super) fn memory_is_zeros(block: &[u8], code: &[u8]) -> bool {
    let section = block.offset(Field::DATA_SECTION);
    let count = Reader::new(code, section).u32();
    section == 0 || !count.is_ok_and(|count| count as usize <= SEGMENTS_MAX)
}

impl<'c> Segments<'c> {
    pub(super) fn read(block: &[u8], code: &'c [u8]) -> Self {
        let mut this = Self {
            code,
            placed: [Placed {
                start: 0,
                from: 0,
                len: 0,
            }; SEGMENTS_MAX],
            count: 0,
        };
        if memory_is_zeros(block, code) {
            return this;
        }
        let mut reader = Reader::new(code, block.offset(Field::DATA_SECTION));
        for _ in 0..reader.u32().unwrap_or(0) {
            let Ok(Data { offset, bytes }) = data_segment(&mut reader) else {
                break;
            };
            let offset = offset.filter(|_| !bytes.is_empty());
            let Some((start, place)) = offset.zip(this.placed.get_mut(this.count)) else {
                continue;
            };
            *place = Placed {
                start,
                from: (reader.pos() - bytes.len()) as u32,
                len: bytes.len() as u32,
            };
            this.count += 1;
        }
        this
    }

    /// The content at `at`: that of the last segment which covers it, up to its end or to where
    /// another segment begins.
    fn covering(&self, at: usize, mut end: usize) -> (usize, Option<&'c [u8]>) {
        let mut known = None;
        for segment in &self.placed[..self.count] {
            let start = segment.start as usize;
            let stop = start + segment.len as usize;
            if at < start {
                end = end.min(start);
            } else if at < stop {
                end = end.min(stop);
                known = self.code.get(segment.from as usize + (at - start)..);
            }
        }
        (end - at, known.and_then(|known| known.get(..end - at)))
    }
}
