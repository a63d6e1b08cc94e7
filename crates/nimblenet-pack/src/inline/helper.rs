//! Functions that the module has besides those of its tasklets, each only if something calls it.

use wasm_encoder::{BlockType, Function, InstructionSink, ValType};

/// Such a function.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Helper {
    /// An address and the highest that may be: the address, or one that nothing has.
    Clamp,
    /// An address, the bytes that an access reaches from there, and the size of a growing memory:
    /// the address, or one that nothing has.
    Reach,
    /// Address, number and size of elements, and base and limit of a region: where the first element
    /// is in the module's memory, or nowhere.
    Span,
    /// The base of a region: fills the memory with zeros from there.
    Clear,
    /// Copies a list of elements whose size has this logarithm: where from and how many, where to, and
    /// how many may be; how many again.
    Bring(u32),
    /// Address in the module's memory and number: makes truth values of bytes.
    Truth,
    /// Address in the module's memory and number of bytes: traps unless they are UTF-8.
    Text,
    /// Pages: lets the memory of a part grow. The global that has its pages, and the most that it
    /// may have.
    Grow { pages: u32, most: u32 },
    /// `memory.copy` in a region.
    Copy(Bounds),
    /// `memory.fill` in a region.
    Fill(Bounds),
    /// `memory.init` of a segment in a region.
    Init(Bounds, u32),
}

/// A region for code: where it begins, and where it ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Bounds {
    pub(super) base: u32,
    pub(super) limit: Limit,
}

/// The size of a region.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Limit {
    /// Bytes.
    Fixed(u32),
    /// The global with its pages, and the logarithm of their size.
    Pages { global: u32, log2: u32 },
}

impl Limit {
    /// Puts it on the operand stack.
    pub(super) fn push(self, code: &mut InstructionSink<'_>) {
        match self {
            Self::Fixed(bytes) => code.i32_const(bytes as i32),
            Self::Pages { global, log2 } => match log2 {
                0 => code.global_get(global),
                log2 => code.global_get(global).i32_const(log2 as i32).i32_shl(),
            },
        };
    }
}

impl Bounds {
    /// Puts base and limit on the operand stack.
    pub(super) fn push(self, code: &mut InstructionSink<'_>) {
        code.i32_const(self.base as i32);
        self.limit.push(code);
    }
}

const I32: ValType = ValType::I32;

impl Helper {
    /// Its type: so many `i32` in, and whether one comes out.
    pub(super) fn ty(self) -> (usize, bool) {
        match self {
            Self::Clamp => (2, true),
            Self::Reach => (3, true),
            Self::Span => (5, true),
            Self::Clear => (1, false),
            Self::Bring(_) => (4, true),
            Self::Truth | Self::Text => (2, false),
            Self::Grow { .. } => (1, true),
            Self::Copy(_) | Self::Fill(_) | Self::Init(..) => (3, false),
        }
    }

    /// Its code; `call` is the index of another helper, `memory_bytes` the size of the memory.
    pub(super) fn body(self, memory_bytes: u32, mut call: impl FnMut(Self) -> u32) -> Function {
        match self {
            Self::Clamp => function(0, |code| {
                code.local_get(0).i32_const(-1);
                code.local_get(0).local_get(1).i32_le_u().select();
            }),
            Self::Reach => function(0, |code| {
                code.local_get(0).i32_const(-1);
                extend(code, &[0, 1]).i64_add();
                extend(code, &[2]).i64_le_u().select();
            }),
            Self::Span => function(0, |code| {
                code.local_get(0).local_get(3).i32_add().i32_const(-1);
                extend(code, &[0, 1, 2]).i64_mul().i64_add();
                extend(code, &[4]).i64_le_u().select();
            }),
            Self::Clear => function(0, |code| {
                code.local_get(0).i32_const(0);
                code.i32_const(memory_bytes as i32).local_get(0).i32_sub();
                code.memory_fill(0);
            }),
            Self::Bring(log2) => function(0, |code| {
                code.local_get(2).local_get(0);
                scaled(code, 1, log2).i32_const(-1);
                code.local_get(1).local_get(3).i32_le_u().select();
                code.memory_copy(0, 0).local_get(1);
            }),
            Self::Truth => function(0, truth),
            Self::Text => function(3, text),
            Self::Grow { pages, most } => function(0, |code| {
                code.local_get(0).i32_const(most as i32);
                code.global_get(pages).i32_sub().i32_le_u();
                code.if_(BlockType::Result(I32));
                code.global_get(pages);
                code.global_get(pages).local_get(0).i32_add();
                code.global_set(pages);
                code.else_().i32_const(-1).end();
            }),
            Self::Copy(bounds) => function(0, |code| {
                span(code, 0, bounds, call(Self::Span));
                span(code, 1, bounds, call(Self::Span));
                code.local_get(2).memory_copy(0, 0);
            }),
            Self::Fill(bounds) => function(0, |code| {
                span(code, 0, bounds, call(Self::Span));
                code.local_get(1).local_get(2).memory_fill(0);
            }),
            Self::Init(bounds, segment) => function(0, |code| {
                span(code, 0, bounds, call(Self::Span));
                code.local_get(1).local_get(2).memory_init(0, segment);
            }),
        }
    }
}

/// A function with so many `i32` besides its parameters.
fn function(locals: u32, write: impl FnOnce(&mut InstructionSink<'_>)) -> Function {
    let mut function = Function::new((locals > 0).then_some((locals, I32)));
    let mut code = function.instructions();
    write(&mut code);
    code.end();
    function
}

/// The bytes that as many elements take as local `count` says.
pub(super) fn scaled<'c, 'a>(
    code: &'c mut InstructionSink<'a>,
    count: u32,
    log2: u32,
) -> &'c mut InstructionSink<'a> {
    code.local_get(count);
    match log2 {
        0 => code,
        log2 => code.i32_const(log2 as i32).i32_shl(),
    }
}

/// Puts unsigned `i32` locals on the operand stack as `i64`.
fn extend<'c, 'a>(
    code: &'c mut InstructionSink<'a>,
    locals: &[u32],
) -> &'c mut InstructionSink<'a> {
    for local in locals {
        code.local_get(*local).i64_extend_i32_u();
    }
    code
}

/// The place of the bytes from address `local` on, as many as local 2 says.
fn span(code: &mut InstructionSink<'_>, local: u32, bounds: Bounds, helper: u32) {
    code.local_get(local).local_get(2).i32_const(1);
    bounds.push(code);
    code.call(helper);
}

const BYTE: wasm_encoder::MemArg = wasm_encoder::MemArg {
    offset: 0,
    align: 0,
    target: wasm_encoder::MemArgTarget::Memory(0),
    ordering: None,
};

fn truth(code: &mut InstructionSink<'_>) {
    let (address, count) = (0, 1);
    code.block(BlockType::Empty).loop_(BlockType::Empty);
    code.local_get(count).i32_eqz().br_if(1);
    code.local_get(address);
    code.local_get(address)
        .i32_load8_u(BYTE)
        .i32_const(0)
        .i32_ne();
    code.i32_store8(BYTE);
    code.local_get(address)
        .i32_const(1)
        .i32_add()
        .local_set(address);
    code.local_get(count)
        .i32_const(1)
        .i32_sub()
        .local_set(count);
    code.br(0).end().end();
}

/// The table of well-formed byte sequences of the Unicode standard (table 3-7): the first byte says
/// how many follow and what the second may be; all others are from 0x80 to 0xbf.
fn text(code: &mut InstructionSink<'_>) {
    let (address, end, byte, follow, low) = (0, 1, 2, 3, 4);
    let next = |code: &mut InstructionSink<'_>| {
        code.local_get(address).i32_load8_u(BYTE).local_set(byte);
        code.local_get(address)
            .i32_const(1)
            .i32_add()
            .local_set(address);
    };
    // Traps if the condition on the operand stack holds.
    let refuse = |code: &mut InstructionSink<'_>| {
        code.if_(BlockType::Empty).unreachable().end();
    };
    code.local_get(address)
        .local_get(end)
        .i32_add()
        .local_set(end);
    code.block(BlockType::Empty).loop_(BlockType::Empty);
    code.local_get(address).local_get(end).i32_ge_u().br_if(1);
    next(code);
    code.local_get(byte).i32_const(0x80).i32_lt_u().br_if(0);
    // Neither a byte that only follows, nor one that no sequence begins with: 0xc2 to 0xf4.
    code.local_get(byte)
        .i32_const(0xc2)
        .i32_sub()
        .i32_const(0x33)
        .i32_ge_u();
    refuse(code);
    code.local_get(byte).i32_const(0xdf).i32_gt_u();
    code.local_get(byte).i32_const(0xef).i32_gt_u().i32_add();
    code.i32_const(1).i32_add().local_set(follow);
    code.local_get(address).local_get(follow).i32_add();
    code.local_get(end).i32_gt_u();
    refuse(code);
    // The second byte, less its least value, is below 0x40 - unless the first is special.
    code.local_get(byte).i32_const(8).i32_shl();
    code.local_get(address)
        .i32_load8_u(BYTE)
        .i32_or()
        .local_set(low);
    for (from, to) in [
        (0xe080, 0xe0a0),
        (0xeda0, 0xedc0),
        (0xf080, 0xf090),
        (0xf490, 0xf4c0),
    ] {
        code.local_get(low).i32_const(from).i32_sub();
        code.i32_const(to - from).i32_lt_u();
        refuse(code);
    }
    code.loop_(BlockType::Empty);
    next(code);
    code.local_get(byte)
        .i32_const(0xc0)
        .i32_and()
        .i32_const(0x80)
        .i32_ne();
    refuse(code);
    code.local_get(follow)
        .i32_const(1)
        .i32_sub()
        .local_tee(follow)
        .br_if(0);
    code.end();
    code.br(0).end().end();
}
