//! What one function takes of the stack, and which fixed addresses it uses.
//!
//! Compilers keep arrays, and whatever needs an address, on a stack in linear memory, whose pointer
//! is a global. A function takes its frame when it begins and gives it back when it ends:
//!
//! ```text
//!   global.get $sp   i32.const 80   i32.sub   local.tee $frame   global.set $sp
//!   ...
//!   local.get $frame   i32.const 80   i32.add   global.set $sp
//! ```
//!
//! The function is executed with what is known of values instead of values. Control flow in
//! WebAssembly is nested, so one pass is enough: where paths meet, what differs is unknown; where a
//! loop begins, the locals that it assigns are. That a loop leaves the stack pointer as it was is
//! taken for granted at its head and checked at its branches back.

use std::collections::{BTreeMap, BTreeSet};

use nimblenet_tasklet::Scalar;
use wasmparser::{
    Error, FrameKind, FuncType, FuncValidator, FunctionBody, ModuleArity as _, Operator,
    OperatorsReader, ValidatorResources,
};

use super::Global;
use super::access::Access;
use super::value::Value;

/// What may be called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) enum Callee {
    /// The function of this index.
    Function(u32),
    /// Any function of this type that a table may hold.
    Type(u32),
}

/// A call within a function.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Call {
    pub(in super::super) callee: Callee,
    /// The bytes of stack that the caller holds during the call.
    pub(in super::super) held: u32,
}

/// What a function does.
#[derive(Default, Debug)]
pub(in super::super) struct Flow {
    /// The most bytes of stack that it takes itself.
    pub(in super::super) frame_bytes: u32,
    /// Whether it takes a number of bytes that is only known at run time.
    pub(in super::super) varies: bool,
    pub(in super::super) calls: Vec<Call>,
    /// Where the last load or store at an address in the code ends.
    pub(in super::super) static_end: u64,
    /// Where the last stretch that it fills, at an address and of a length in the code, ends.
    pub(in super::super) filled_end: u64,
    /// Numbers that may be addresses of data: constants, and offsets of loads and stores.
    pub(in super::super) numbers: BTreeSet<u32>,
    /// Parameters that are addresses, with the elements there and whether it only writes them.
    pub(in super::super) pointers: BTreeMap<u32, (Scalar, bool)>,
    /// What is known of the address of each load and store, of the arguments of each call of a
    /// function by its index, and of the operands of each bulk instruction, by the position of the
    /// operator in the body. Code that cannot be reached has none.
    pub(in super::super) operands: BTreeMap<usize, Vec<Value>>,
    /// Whether an address in the stack was aligned, so that it may be lower than known.
    pub(in super::super) aligns: bool,
    /// Whether the stack pointer is ever higher than at the function's beginning.
    pub(in super::super) raises: bool,
}

/// What is known at one place.
#[derive(Clone)]
struct State {
    locals: Vec<Value>,
    operands: Vec<Value>,
    pointer: Value,
}

impl State {
    fn join(&mut self, other: &Self) {
        for (own, other) in self.locals.iter_mut().zip(&other.locals) {
            *own = own.or(*other);
        }
        for (own, other) in self.operands.iter_mut().zip(&other.operands) {
            *own = own.or(*other);
        }
        self.pointer = self.pointer.or(other.pointer);
    }

    fn pop(&mut self) -> Value {
        self.operands.pop().unwrap_or(Value::Unknown)
    }

    /// Takes operands off and puts others there, of which nothing is known.
    fn replace(&mut self, takes: u32, leaves: u32) {
        let rest = self.operands.len().saturating_sub(takes as usize);
        self.operands.truncate(rest);
        self.operands.resize(rest + leaves as usize, Value::Unknown);
    }
}

/// A block that is open.
struct Label {
    /// What is known where it ends, from the branches to it.
    end: Option<State>,
    /// What is known where its `else` begins.
    other: Option<State>,
    /// The stack pointer at the head of a loop.
    head: Option<Value>,
    /// Operands below it.
    height: usize,
    /// Operands that a branch to it carries.
    carried: usize,
}

/// The module around a function.
pub(super) struct Around<'a> {
    /// The global that is the stack pointer.
    pub(super) pointer: Option<u32>,
    pub(super) globals: &'a [Global],
    /// Bytes of memory at the start.
    pub(super) memory_bytes: u64,
    /// The function's type.
    pub(super) ty: &'a FuncType,
}

/// Executes `body`, which `validator` finds valid.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "only three operators open a block"
)]
pub(super) fn trace(
    body: &FunctionBody<'_>,
    validator: &mut FuncValidator<ValidatorResources>,
    around: &Around<'_>,
) -> Result<Flow, Error> {
    let mut assigned = assigned_in_loops(body)?.into_iter().peekable();
    let mut reader = body.get_binary_reader();
    validator.read_locals(&mut reader)?;
    let mut operators = OperatorsReader::new(reader);
    let params = around.ty.params().len() as u32;
    let mut tracer = Tracer {
        around,
        params,
        flow: Flow::default(),
        at: 0,
        state: Some(State::of_start(params, validator.len_locals())),
        labels: vec![Label {
            end: None,
            other: None,
            head: None,
            height: 0,
            carried: around.ty.results().len(),
        }],
    };
    while !operators.eof() {
        let offset = operators.original_position();
        let operator = operators.read()?;
        let arity = operator.operator_arity(&*validator);
        validator.op(offset, &operator)?;
        let is_loop = matches!(operator, Operator::Loop { .. });
        let assigned = assigned.next_if(|_| is_loop).unwrap_or_default();
        let block = match operator {
            Operator::Block { blockty } | Operator::Loop { blockty } | Operator::If { blockty } => {
                validator.block_type_arity(blockty)
            }
            _ => None,
        };
        tracer.step(
            &operator,
            arity.unwrap_or((0, 0)),
            block.unwrap_or((0, 0)),
            &assigned,
        );
        tracer.at += 1;
    }
    Ok(tracer.flow)
}

/// The locals that each loop assigns, in the order in which the loops begin.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the rest neither opens a block nor assigns a local"
)]
fn assigned_in_loops(body: &FunctionBody<'_>) -> Result<Vec<Vec<u32>>, Error> {
    let mut loops: Vec<Vec<u32>> = Vec::new();
    // For each open block, the loop that it is.
    let mut open: Vec<Option<usize>> = vec![None];
    for operator in body.get_operators_reader()? {
        match operator? {
            Operator::Block { .. } | Operator::If { .. } => open.push(None),
            Operator::Loop { .. } => {
                open.push(Some(loops.len()));
                loops.push(Vec::new());
            }
            Operator::End => {
                let Some(Some(ended)) = open.pop() else {
                    continue;
                };
                let mut inner = std::mem::take(&mut loops[ended]);
                inner.sort_unstable();
                inner.dedup();
                if let Some(outer) = open.iter().rev().flatten().next() {
                    loops[*outer].extend_from_slice(&inner);
                }
                loops[ended] = inner;
            }
            Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                if let Some(innermost) = open.iter().rev().flatten().next() {
                    loops[*innermost].push(local_index);
                }
            }
            _ => {}
        }
    }
    Ok(loops)
}

impl State {
    fn of_start(params: u32, locals: u32) -> Self {
        let params = (0..params).map(Value::Parameter);
        let mut locals_of: Vec<_> = params.collect();
        // Locals begin as zero, but no compiler takes that for an address.
        locals_of.resize(locals as usize, Value::Unknown);
        Self {
            locals: locals_of,
            operands: Vec::new(),
            pointer: Value::Stack {
                below: 0,
                fresh: true,
            },
        }
    }
}

struct Tracer<'a> {
    around: &'a Around<'a>,
    params: u32,
    flow: Flow,
    /// The position of the operator.
    at: usize,
    /// Nothing where the code cannot be reached.
    state: Option<State>,
    labels: Vec<Label>,
}

impl Tracer<'_> {
    /// Goes over `operator`, which takes and leaves `arity` operands; `block` is the arity of the
    /// block that it opens, and `assigned` the locals of a loop.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the rest computes, and control goes on"
    )]
    fn step(
        &mut self,
        operator: &Operator<'_>,
        arity: (u32, u32),
        block: (u32, u32),
        assigned: &[u32],
    ) {
        match operator {
            Operator::Block { .. } => self.open(block, FrameKind::Block),
            Operator::Loop { .. } => {
                self.open(block, FrameKind::Loop);
                self.forget(assigned, block.0 as usize);
            }
            Operator::If { .. } => self.open(block, FrameKind::If),
            Operator::Else => self.otherwise(),
            Operator::End => self.end(),
            Operator::Br { relative_depth } => {
                self.branch(*relative_depth);
                self.state = None;
            }
            Operator::BrIf { relative_depth } => {
                self.state.as_mut().map(State::pop);
                self.branch(*relative_depth);
            }
            Operator::BrTable { targets } => {
                self.state.as_mut().map(State::pop);
                let mut depths: Vec<_> = targets.targets().flatten().collect();
                depths.push(targets.default());
                depths.sort_unstable();
                depths.dedup();
                for depth in depths {
                    self.branch(depth);
                }
                self.state = None;
            }
            Operator::Return => {
                self.branch(self.labels.len() as u32 - 1);
                self.state = None;
            }
            Operator::Unreachable => self.state = None,
            _ => self.compute(operator, arity),
        }
    }

    fn open(&mut self, (params, results): (u32, u32), kind: FrameKind) {
        let mut label = Label {
            end: None,
            other: None,
            head: None,
            height: 0,
            carried: results as usize,
        };
        if let Some(state) = &mut self.state {
            if kind == FrameKind::If {
                state.pop();
                label.other = Some(state.clone());
            }
            if kind == FrameKind::Loop {
                label.head = Some(state.pointer);
                label.carried = params as usize;
            }
            label.height = state.operands.len().saturating_sub(params as usize);
        }
        self.labels.push(label);
    }

    /// Forgets what a loop assigns: `locals`, and `operands` that it takes.
    fn forget(&mut self, locals: &[u32], operands: usize) {
        let Some(state) = &mut self.state else {
            return;
        };
        for local in locals {
            state.locals[*local as usize] = match local {
                // Still good for advice.
                param if *param < self.params => Value::Parameter(*param),
                _ => Value::Unknown,
            };
        }
        for operand in state.operands.iter_mut().rev().take(operands) {
            *operand = Value::Unknown;
        }
    }

    fn branch(&mut self, depth: u32) {
        let Some(at) = self.labels.len().checked_sub(1 + depth as usize) else {
            return;
        };
        let (Some(state), label) = (&self.state, &mut self.labels[at]) else {
            return;
        };
        if let Some(head) = label.head {
            self.flow.varies |= state.pointer.or(head) == Value::Unknown;
            return;
        }
        let mut state = state.clone();
        let carried = state.operands.len().saturating_sub(label.carried);
        let carried = state.operands.split_off(carried);
        state.operands.truncate(label.height);
        state.operands.extend(carried);
        match &mut label.end {
            Some(end) => end.join(&state),
            None => label.end = Some(state),
        }
    }

    fn otherwise(&mut self) {
        self.branch(0);
        if let Some(label) = self.labels.last_mut() {
            self.state = label.other.take();
        }
    }

    fn end(&mut self) {
        let is_loop = self.labels.last().is_some_and(|label| label.head.is_some());
        if !is_loop {
            self.branch(0);
            // An `if` without `else`.
            if let Some(other) = self.labels.last_mut().and_then(|label| label.other.take()) {
                self.state = Some(other);
                self.branch(0);
            }
        }
        let Some(label) = self.labels.pop() else {
            return;
        };
        if !is_loop {
            self.state = label.end;
        }
        if self.labels.is_empty()
            && let Some(state) = &self.state
        {
            // Who called counts on the stack pointer that it had.
            self.flow.varies |= state.pointer.below() != Some(0);
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "of the rest it is known how many operands they take and leave"
    )]
    fn compute(&mut self, operator: &Operator<'_>, (takes, leaves): (u32, u32)) {
        let Some(state) = &mut self.state else {
            return;
        };
        let is_pointer = |index: u32| self.around.pointer == Some(index);
        match *operator {
            Operator::I32Const { value } => state.operands.push(Value::Number(value as u32)),
            Operator::LocalGet { local_index } => {
                let value = state.locals[local_index as usize];
                state.operands.push(value);
            }
            Operator::LocalSet { local_index } => {
                let value = state.pop();
                self.flow.number(value);
                state.locals[local_index as usize] = value.kept();
            }
            Operator::LocalTee { local_index } => {
                let value = state.pop();
                self.flow.number(value);
                state.locals[local_index as usize] = value.kept();
                state.operands.push(value);
            }
            Operator::GlobalGet { global_index } if is_pointer(global_index) => {
                state.operands.push(state.pointer.read());
            }
            Operator::GlobalGet { global_index } => {
                let global = self.around.globals.get(global_index as usize);
                let value = global.filter(|global| !global.ty.mutable);
                let value = value.and_then(|global| global.value);
                state
                    .operands
                    .push(value.map_or(Value::Unknown, Value::Number));
            }
            Operator::GlobalSet { global_index } if is_pointer(global_index) => {
                state.pointer = state.pop().kept();
                match state.pointer.below() {
                    Some(below) => {
                        self.flow.takes(below);
                        self.flow.raises |= below < 0;
                    }
                    None => self.flow.varies = true,
                }
            }
            Operator::I32Add | Operator::I32Sub | Operator::I32And => {
                let (right, left) = (state.pop(), state.pop());
                let value = match operator {
                    Operator::I32Add => left.plus(right),
                    Operator::I32Sub => left.minus(right),
                    _ => {
                        self.flow.aligns |= left.below().or(right.below()).is_some();
                        left.and(right)
                    }
                };
                if let Some(below) = value.below() {
                    if left.is_fresh() || right.is_fresh() {
                        self.flow.takes(below);
                    }
                } else {
                    self.flow.number(left);
                    self.flow.number(right);
                }
                state.operands.push(value);
            }
            Operator::Call { function_index } => {
                self.call(Callee::Function(function_index), takes, leaves);
            }
            Operator::CallIndirect { type_index, .. } => {
                self.call(Callee::Type(type_index), takes, leaves);
            }
            Operator::MemoryFill { .. }
            | Operator::MemoryCopy { .. }
            | Operator::MemoryInit { .. } => {
                let (len, from, to) = (state.pop(), state.pop(), state.pop());
                self.flow.operands.insert(self.at, vec![to, from, len]);
                if let (Value::Number(to), Value::Number(len)) = (to, len) {
                    let end = u64::from(to) + u64::from(len);
                    // What reaches beyond the memory fills nothing: it traps.
                    if end <= self.around.memory_bytes {
                        self.flow.filled_end = self.flow.filled_end.max(end);
                    }
                }
                self.flow.number(to);
            }
            _ => {
                if let Some(access) = Access::of(operator) {
                    // A store has its value above the address.
                    let address = state.operands.iter().rev().nth(usize::from(access.store));
                    let address = address.copied().unwrap_or(Value::Unknown);
                    self.flow.operands.insert(self.at, vec![address]);
                    self.flow.access(&access, address);
                }
                if Access::of(operator).is_some() || matches!(operator, Operator::Select) {
                    let taken = state.operands.iter().rev().take(takes as usize);
                    taken.for_each(|value| self.flow.number(*value));
                }
                state.replace(takes, leaves);
            }
        }
    }

    fn call(&mut self, callee: Callee, takes: u32, leaves: u32) {
        let Some(state) = &mut self.state else {
            return;
        };
        let taken = state.operands.iter().rev().take(takes as usize);
        taken.for_each(|value| self.flow.number(*value));
        if let Callee::Function(_) = callee {
            let first = state.operands.len().saturating_sub(takes as usize);
            let args = state.operands[first..].to_vec();
            self.flow.operands.insert(self.at, args);
        }
        state.replace(takes, leaves);
        let held = state.pointer.below().unwrap_or(0);
        let held = u32::try_from(held).unwrap_or(0);
        self.flow.calls.push(Call { callee, held });
    }
}

impl Flow {
    /// Notes a number that is kept, or handed on: it may be an address.
    fn number(&mut self, value: Value) {
        if let Value::Number(number) = value {
            self.numbers.insert(number);
        }
    }

    fn takes(&mut self, bytes: i64) {
        let bytes = u32::try_from(bytes.max(0)).unwrap_or(u32::MAX);
        self.frame_bytes = self.frame_bytes.max(bytes);
    }

    fn access(&mut self, access: &Access, address: Value) {
        if address.below().is_none() {
            self.numbers.extend(u32::try_from(access.argument.offset));
        }
        match address {
            Value::Number(address) => {
                let end = u64::from(address) + access.argument.offset + access.bytes();
                self.static_end = self.static_end.max(end);
            }
            Value::Stack { below, .. } => {
                let offset = i64::try_from(access.argument.offset).unwrap_or(i64::MAX);
                self.takes(below.saturating_sub(offset));
            }
            Value::Parameter(param) => {
                let pointer = self.pointers.entry(param);
                let (_, only_written) = pointer.or_insert((access.element, true));
                *only_written &= access.store;
            }
            Value::Unknown => {}
        }
    }
}
