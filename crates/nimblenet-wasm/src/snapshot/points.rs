//! Suspension points: where in the translated code a run may be suspended, or wait for a call to
//! return.
//!
//! Positions are those after an instruction. Instructions of translated code have different
//! lengths, so the search for a position walks over its function from the start.

use crate::block::{Field, Parts, Words};
use crate::exec;
use crate::isa::Op;
use crate::translate::PROLOGUE_WORDS;
use crate::value::ValType;

/// What comes before a position.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum What {
    /// Nothing: the run is the call of an import, and the code ends the run.
    Import { import: u32 },
    /// Nothing: the function begins here. The height includes its locals.
    Start { height: usize },
    /// A charge of fuel.
    Charge { height: usize },
    /// A call of a function of the module.
    Call { func: u32, window: u16 },
    /// A call of an import.
    HostCall { import: u32, window: u16 },
    /// A call through a table of functions of this type.
    Indirect { ty: u16, window: u16 },
}

/// A suspension point that was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Point {
    /// Its function.
    pub(super) func: u32,
    pub(super) what: What,
    /// The word with the number of slots that hold references to functions, if there are any.
    refs: Option<u32>,
}

/// How many points the search remembers.
const KNOWN: usize = 8;

/// Finds points, within a budget of steps, and remembers some of them: a deep stack often has the
/// same few callers many times.
pub(super) struct Points {
    work: u32,
    known: [Option<(u32, Point)>; KNOWN],
    code: usize,
    imports: u32,
}

impl Points {
    pub(super) fn new(block: &[u8], work: u32) -> Self {
        Self {
            work,
            known: [None; KNOWN],
            code: block.offset(Field::IR),
            imports: block.field(Field::IMPORT_COUNT),
        }
    }

    /// The point at word `ip`, if there is one.
    pub(super) fn at(&mut self, block: &[u8], ip: u32) -> Option<Point> {
        let place = ip as usize % KNOWN;
        if let Some((known, point)) = self.known[place]
            && known == ip
        {
            return Some(point);
        }
        let point = if ip == 0 {
            let import = block.field(Field::ENTRY);
            (import < self.imports).then_some(Point {
                func: import,
                what: What::Import { import },
                refs: None,
            })?
        } else {
            let func = block.function_at(ip)?;
            let (what, refs) = self.walk(block, func, ip)?;
            Point { func, what, refs }
        };
        self.known[place] = Some((ip, point));
        Some(point)
    }

    fn word(&self, block: &[u8], at: u32) -> u16 {
        block.half(self.code + at as usize * 2)
    }

    /// Walks over a function's instructions to the one that ends at `ip`. Returns it, and the word
    /// with the number of references that its frame keeps.
    fn walk(&mut self, block: &[u8], func: u32, ip: u32) -> Option<(What, Option<u32>)> {
        let entry = block.func(func).entry;
        let mut at = entry + PROLOGUE_WORDS;
        let mut refs = (self.word(block, at) == Op::Refs as u16).then_some(at + 1);
        if at == ip {
            let (link, clear) = (self.word(block, entry + 1), self.word(block, entry + 2));
            let height = usize::from(link) + 8 + usize::from(clear) * 4;
            return Some((What::Start { height }, refs));
        }
        while at < ip {
            self.work = self.work.checked_sub(1)?;
            let op = self.word(block, at);
            let mut len = exec::length(op)? as u32;
            let is_refs = op == Op::Refs as u16;
            if is_refs || op == Op::BrTableA as u16 || op == Op::BrTableS as u16 {
                // A branch table has one distance more than its count says.
                len += u32::from(self.word(block, at + len - 1)) + u32::from(!is_refs);
            }
            if at + len == ip {
                return Some((self.instruction(block, op, at)?, refs));
            }
            refs = is_refs.then_some(at + 1);
            at += len;
        }
        None
    }

    /// Checks the references to functions that the frame at offset `frame` of the block keeps.
    fn check_refs(&mut self, block: &[u8], point: &Point, frame: usize) -> Option<()> {
        let Some(at) = point.refs else {
            return Some(());
        };
        let count = u32::from(self.word(block, at));
        self.work = self.work.checked_sub(count)?;
        let exists = |index| {
            let slot = usize::from(self.word(block, at + index));
            refs_exist(block, [ValType::FuncRef], frame + slot)
        };
        (1..=count).all(exists).then_some(())
    }

    fn instruction(&self, block: &[u8], op: u16, at: u32) -> Option<What> {
        let word = |index| self.word(block, at + index);
        Some(if op == Op::Fuel as u16 {
            What::Charge {
                height: usize::from(word(3)),
            }
        } else if op == Op::Settle as u16 {
            What::Charge {
                height: usize::from(word(1)),
            }
        } else if op == Op::Call as u16 {
            What::Call {
                func: u32::from(word(1)),
                window: word(2),
            }
        } else if op == Op::CallHost as u16 {
            What::HostCall {
                import: u32::from(word(1)),
                window: word(2),
            }
        } else if op == Op::CallIndirect as u16 {
            What::Indirect {
                ty: word(2),
                window: word(4),
            }
        } else {
            return None;
        })
    }
}

/// Checks the chain of frames down to the function `entry` at the stack's start: the instruction
/// before each link calls the function with its frame at that place, and all references in the
/// frame are to functions that exist.
pub(super) fn check_frames(block: &[u8], entry: u32, points: &mut Points) -> Option<()> {
    let stack = block.offset(Field::STACK);
    let end = block.offset(Field::STACK_BYTES);
    let mut fp = block.offset(Field::FP);
    let mut point = points.at(block, block.field(Field::IP))?;
    if let What::Import { import } = point.what {
        let frame = block.func_type(block.func(import).ty).frame_bytes();
        return (fp == 0 && frame <= end).then_some(());
    }
    loop {
        let code = block.offset(Field::IR) + block.func(point.func).entry as usize * 2;
        let (frame, link) = (block.half(code), block.half(code + 2));
        if !fp.is_multiple_of(4) || fp.checked_add(usize::from(frame))? > end {
            return None;
        }
        points.check_refs(block, &point, stack + fp)?;
        let link = stack + fp + usize::from(link);
        let (back, window) = (block.word(link), block.word(link + 4));
        if back == 0 {
            return (window == 0 && fp == 0 && point.func == entry).then_some(());
        }
        let caller = points.at(block, back)?;
        let fits = match caller.what {
            What::Call {
                func: callee,
                window: at,
            } => callee == point.func && u32::from(at) == window,
            What::Indirect { ty, window: at } => {
                block.func(point.func).ty == ty && u32::from(at) == window
            }
            What::Import { .. }
            | What::Start { .. }
            | What::Charge { .. }
            | What::HostCall { .. } => false,
        };
        // A frame lies above its caller's link, so the distance is never 0, and the walk ends.
        if !fits || window == 0 {
            return None;
        }
        fp = fp.checked_sub(window as usize)?;
        point = caller;
    }
}

/// Whether references to functions among values of these types, one after the other from offset
/// `at` of the block, are null or refer to functions that exist.
pub(super) fn refs_exist(
    block: &[u8],
    types: impl IntoIterator<Item = ValType>,
    mut at: usize,
) -> bool {
    types.into_iter().all(|ty| {
        let here = at;
        at += ty.cells() * 4;
        ty != ValType::FuncRef || block.word(here) <= block.field(Field::FUNC_COUNT)
    })
}
