//! The code of a tasklet in a memory that it shares.
//!
//! Loads and stores get the region's base added to their offset: the sum has 33 bits, so an address
//! far out is still beyond the memory. Where the region is not the last, an address that is not
//! known to be within it is replaced by one that nothing has if it is beyond, and the instruction
//! itself traps.

use wasm_encoder::reencode::Reencode as _;
use wasm_encoder::{Function, Instruction, ValType};
use wasmparser::{FunctionBody, Operator};

use super::crossing;
use super::helper::{Bounds, Helper, Limit};
use super::merge::{Merge, Unencodable, initial_pages};
use crate::survey::{Access, Value};

/// An address at which no memory has a byte.
const NOWHERE: i32 = -1;

/// Body number `index` of part `at`.
pub(super) fn rewritten(
    merge: &mut Merge<'_, '_>,
    at: usize,
    index: usize,
    body: &FunctionBody<'_>,
) -> Result<Function, Unencodable> {
    let part = &merge.plan.parts[at];
    let ty = part.functions[part.imports.len() + index];
    let mut locals = Vec::new();
    let mut count = part.types[ty as usize].params().len() as u32;
    for group in body.get_locals_reader()? {
        let (number, ty) = group?;
        count += number;
        locals.push((number, merge.renumber(at).val_type(ty)?));
    }
    let mut writer = Writer {
        merge,
        at,
        index,
        out: Vec::new(),
        first_spare: count,
        spares: Vec::new(),
    };
    for (position, operator) in body.get_operators_reader()?.into_iter().enumerate() {
        writer.operator(position, operator?)?;
    }
    let Writer { out, spares, .. } = writer;
    for ty in spares {
        match locals.last_mut() {
            Some((number, last)) if *last == ty => *number += 1,
            _ => locals.push((1, ty)),
        }
    }
    let mut function = Function::new(locals);
    for instruction in &out {
        function.instruction(instruction);
    }
    Ok(function)
}

struct Writer<'w, 'p, 'm, 'b> {
    merge: &'w mut Merge<'p, 'm>,
    at: usize,
    /// The number of the body.
    index: usize,
    out: Vec<Instruction<'b>>,
    /// The index of the first local that the body does not have.
    first_spare: u32,
    /// Further locals, by type.
    spares: Vec<ValType>,
}

impl<'b> Writer<'_, '_, '_, 'b> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the rest only has other indices"
    )]
    fn operator(&mut self, position: usize, operator: Operator<'b>) -> Result<(), Unencodable> {
        if let Some(access) = Access::of(&operator) {
            self.guard(position, &access, stored(&operator));
        }
        let shares = !self.is_whole() && !self.fills_within(position, &operator);
        match operator {
            Operator::MemorySize { .. } => self.size(),
            Operator::MemoryGrow { .. } => self.grow(),
            Operator::MemoryFill { .. } if shares => {
                self.helper(Helper::Fill);
            }
            Operator::MemoryCopy { .. } if shares => {
                self.helper(Helper::Copy);
            }
            Operator::MemoryInit { data_index, .. } if shares => {
                let segment = self.merge.renumber(self.at).data_index(data_index)?;
                self.helper(|bounds| Helper::Init(bounds, segment));
            }
            Operator::Call { function_index } => {
                let function = self.callee(position, function_index);
                self.out.push(Instruction::Call(function));
            }
            other => {
                let instruction = self.merge.renumber(self.at).instruction(other)?;
                self.out.push(instruction);
            }
        }
        Ok(())
    }

    /// Whether the part has the module's memory for itself.
    fn is_whole(&self) -> bool {
        let region = self.merge.plan.regions[self.at];
        region.base == 0 && region.traps
    }

    /// Whether a bulk instruction is known to stay within a region that begins at 0.
    fn fills_within(&self, position: usize, operator: &Operator<'_>) -> bool {
        let plan = self.merge.plan;
        let (part, region) = (&plan.parts[self.at], plan.regions[self.at]);
        let Some([to, from, Value::Number(len)]) = self.known(position).map(Vec::as_slice) else {
            return false;
        };
        let within = |address: &Value| part.is_within(self.index, *address, (*len).into());
        let copies = matches!(operator, Operator::MemoryCopy { .. });
        region.base == 0 && within(to) && (!copies || within(from))
    }

    fn helper(&mut self, helper: impl FnOnce(Bounds) -> Helper) {
        let helper = helper(self.merge.bounds(self.at));
        let function = self.merge.helper(helper);
        self.out.push(Instruction::Call(function));
    }

    /// What is known of the operands of the operator at `position`.
    fn known(&self, position: usize) -> Option<&Vec<Value>> {
        let flow = &self.merge.plan.parts[self.at].survey.flows[self.index];
        flow.operands.get(&position)
    }

    /// Calls an import itself where the addresses are known to be the caller's own.
    fn callee(&self, position: usize, function: u32) -> u32 {
        let part = &self.merge.plan.parts[self.at];
        let import = function as usize;
        if let (Some(args), true) = (self.known(position), import < part.imports.len())
            && crossing::is_plain(self.merge.plan, self.at, import, self.index, args)
        {
            return self.merge.target(self.at, import);
        }
        self.merge.function(self.at, function)
    }

    fn size(&mut self) {
        let instruction = match self.merge.pages(self.at) {
            Some(pages) => Instruction::GlobalGet(pages),
            None => Instruction::I32Const(initial_pages(&self.merge.plan.parts[self.at])),
        };
        self.out.push(instruction);
    }

    fn grow(&mut self) {
        if let Some(pages) = self.merge.pages(self.at) {
            let most = self.merge.plan.parts[self.at].pages_max() as u32;
            let function = self.merge.helper(Helper::Grow { pages, most });
            self.out.push(Instruction::Call(function));
        }
    }

    /// Replaces the address of an access that may be beyond the region, and would not trap.
    fn guard(&mut self, position: usize, access: &Access, stored: ValType) {
        let part = &self.merge.plan.parts[self.at];
        let region = self.merge.plan.regions[self.at];
        let reach = access.argument.offset + access.bytes();
        let address = self.known(position).and_then(|known| known.first());
        let within = address.is_some_and(|address| part.is_within(self.index, *address, reach));
        if region.traps || within {
            return;
        }
        if !access.store {
            return self.check(reach);
        }
        // The value is above the address.
        if self.out.last().is_some_and(pushes_one) {
            let value = self.out.pop();
            self.check(reach);
            self.out.extend(value);
            return;
        }
        let spare = self.spare(stored);
        self.out.push(Instruction::LocalSet(spare));
        self.check(reach);
        self.out.push(Instruction::LocalGet(spare));
    }

    /// Leaves the address on the operand stack as it is if `reach` bytes from there are within the
    /// region.
    fn check(&mut self, reach: u64) {
        match self.merge.bounds(self.at).limit {
            Limit::Fixed(bytes) if reach <= bytes.into() => {
                let highest = Instruction::I32Const((u64::from(bytes) - reach) as u32 as i32);
                match self.out.last() {
                    Some(Instruction::LocalGet(address)) if !self.merge.is_worth(Helper::Clamp) => {
                        let address = Instruction::LocalGet(*address);
                        self.out.extend([
                            Instruction::I32Const(NOWHERE),
                            address,
                            highest,
                            Instruction::I32LeU,
                            Instruction::Select,
                        ]);
                    }
                    _ => {
                        let clamp = self.merge.helper(Helper::Clamp);
                        self.out.extend([highest, Instruction::Call(clamp)]);
                    }
                }
            }
            // No memory that nodes give is that large.
            Limit::Pages { global, log2 } if reach <= u32::MAX.into() => {
                let reaches = self.merge.helper(Helper::Reach);
                self.out.extend([
                    Instruction::I32Const(reach as u32 as i32),
                    Instruction::GlobalGet(global),
                    Instruction::I32Const(log2 as i32),
                    Instruction::I32Shl,
                    Instruction::Call(reaches),
                ]);
            }
            Limit::Fixed(_) | Limit::Pages { .. } => {
                self.out
                    .extend([Instruction::Drop, Instruction::I32Const(NOWHERE)]);
            }
        }
    }

    /// A local of type `ty` that the body does not have.
    fn spare(&mut self, ty: ValType) -> u32 {
        let at = self.spares.iter().position(|it| *it == ty);
        let at = at.unwrap_or_else(|| {
            self.spares.push(ty);
            self.spares.len() - 1
        });
        self.first_spare + at as u32
    }
}

/// Whether an instruction does nothing but put a value on the operand stack.
fn pushes_one(instruction: &Instruction<'_>) -> bool {
    matches!(
        instruction,
        Instruction::LocalGet(_)
            | Instruction::GlobalGet(_)
            | Instruction::I32Const(_)
            | Instruction::I64Const(_)
            | Instruction::F32Const(_)
            | Instruction::F64Const(_)
    )
}

/// The type of the value that `operator` stores, if it stores one.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the rest stores an `i32`, or nothing"
)]
fn stored(operator: &Operator<'_>) -> ValType {
    match operator {
        Operator::I64Store { .. }
        | Operator::I64Store8 { .. }
        | Operator::I64Store16 { .. }
        | Operator::I64Store32 { .. } => ValType::I64,
        Operator::F32Store { .. } => ValType::F32,
        Operator::F64Store { .. } => ValType::F64,
        _ => ValType::I32,
    }
}
