//! What a call does at the border between two tasklets, as code.
//!
//! A call from one part to another finds the callee as it is at the start, carries values as
//! spec/values.md, section 3 says, and traps where a node would fail the call. A call that leaves the
//! module gives addresses of the module's memory instead of those of the caller's region.

use nimblenet_tasklet::{FlatType, Scalar, Signature, Type};
use wasm_encoder::reencode::Reencode as _;
use wasm_encoder::{Function, HeapType, Instruction, InstructionSink, ValType};
use wasmparser::{DataKind, ElementKind, Operator};

use super::helper::{Bounds, Helper, Limit, scaled};
use super::merge::{Crossing, Merge, Unencodable, initial_pages, is_repeated, takes_address};
use super::part::{Part, Target};
use super::plan::Plan;
use crate::survey::{Value, constant::value as number};

/// Whether anything stands between the caller and the import.
pub(super) fn is_needed(plan: &Plan<'_>, crossing: Crossing) -> bool {
    let caller = &plan.parts[crossing.caller];
    match caller.imports[crossing.import].target {
        Target::Part {
            part, signature, ..
        } => is_carried(&signature) || needs_reset(plan, part),
        Target::Tasklet(_) | Target::Capability(_) => {
            let calls = caller.calls_of(crossing.import as u32);
            let mut calls = calls.iter();
            calls.any(|(body, args)| !is_plain(plan, crossing.caller, crossing.import, *body, args))
        }
    }
}

/// Whether a call of an import with these arguments can go to what is imported itself, since all
/// addresses in it are those of the module's memory and within the caller's region.
pub(super) fn is_plain(
    plan: &Plan<'_>,
    caller: usize,
    import: usize,
    body: usize,
    args: &[Value],
) -> bool {
    let (part, region) = (&plan.parts[caller], plan.regions[caller]);
    let lists = match part.imports[import].target {
        Target::Part { .. } => return false,
        Target::Tasklet(signature) => lists(&signature),
        Target::Capability(capability) if takes_address(capability) => vec![(0, 1)],
        Target::Capability(_) => Vec::new(),
    };
    let is_whole = region.base == 0 && region.traps;
    lists.is_empty()
        || is_whole
        || region.base == 0
            && lists.into_iter().all(|(at, size)| {
                let (address, count) = (args.get(at), args.get(at + 1));
                let (Some(address), Some(Value::Number(count))) = (address, count) else {
                    return false;
                };
                part.is_within(body, *address, u64::from(*count) * u64::from(size))
            })
}

/// Whether several crossings call part `at`, so that they share what makes it as at the start.
pub(super) fn shares_reset(plan: &Plan<'_>, crossings: &[Crossing], at: usize) -> bool {
    let calls = crossings.iter().filter(|crossing| {
        let import = &plan.parts[crossing.caller].imports[crossing.import];
        matches!(import.target, Target::Part { part, .. } if part == at)
    });
    calls.count() > 1 && needs_more_than_zeros(&plan.parts[at])
}

/// The function of a crossing.
pub(super) fn function(
    merge: &mut Merge<'_, '_>,
    crossing: Crossing,
) -> Result<Function, Unencodable> {
    let import = &merge.plan.parts[crossing.caller].imports[crossing.import];
    match import.target {
        Target::Part {
            part,
            function,
            signature,
        } => Inward::new(merge, crossing, part, signature).function(function),
        Target::Tasklet(signature) => {
            let params = signature.flat_params().count();
            Ok(outward(merge, crossing, params, &lists(&signature)))
        }
        Target::Capability(_) => Ok(outward(merge, crossing, 2, &[(0, 1)])),
    }
}

/// The function that makes part `at` as it is at the start.
pub(super) fn reset_function(
    merge: &mut Merge<'_, '_>,
    at: usize,
) -> Result<Function, Unencodable> {
    let mut function = Function::new([]);
    let mut code = function.instructions();
    reset(merge, &mut code, at)?;
    code.end();
    Ok(function)
}

/// Which parameters are addresses with a number behind them, by their first, and the sizes of the
/// elements.
fn lists(signature: &Signature) -> Vec<(usize, u32)> {
    let mut at = 0;
    let mut lists = Vec::new();
    for ty in signature.params() {
        if let Some(element) = ty.element() {
            lists.push((at, element.size() as u32));
            at += 1;
        }
        at += 1;
    }
    lists.extend(
        signature
            .list_result()
            .map(|element| (at, element.size() as u32)),
    );
    lists
}

/// A call that leaves the module.
fn outward(
    merge: &mut Merge<'_, '_>,
    crossing: Crossing,
    params: usize,
    lists: &[(usize, u32)],
) -> Function {
    let bounds = merge.bounds(crossing.caller);
    let span = merge.helper(Helper::Span);
    let mut function = Function::new([]);
    let mut code = function.instructions();
    for param in 0..params {
        code.local_get(param as u32);
        if let Some((_, size)) = lists.iter().find(|(at, _)| *at == param) {
            code.local_get(param as u32 + 1).i32_const(*size as i32);
            bounds.push(&mut code);
            code.call(span);
        }
    }
    code.call(merge.target(crossing.caller, crossing.import))
        .end();
    function
}

/// Whether a value changes on its way, or bytes are copied.
fn is_carried(signature: &Signature) -> bool {
    let mut types = signature.params().chain(signature.results());
    types.any(|ty| match ty {
        Type::Scalar(scalar) => is_narrow(scalar),
        Type::List(_) | Type::String => true,
    })
}

fn is_narrow(scalar: Scalar) -> bool {
    match scalar {
        Scalar::Bool | Scalar::U8 | Scalar::S8 | Scalar::U16 | Scalar::S16 => true,
        Scalar::U32 | Scalar::S32 | Scalar::U64 | Scalar::S64 | Scalar::F32 | Scalar::F64 => false,
    }
}

/// Makes the value on the operand stack what it is on the other side.
fn narrow(code: &mut InstructionSink<'_>, scalar: Scalar) {
    match scalar {
        Scalar::Bool => code.i32_const(0).i32_ne(),
        Scalar::U8 => code.i32_const(0xff).i32_and(),
        Scalar::S8 => code.i32_extend8_s(),
        Scalar::U16 => code.i32_const(0xffff).i32_and(),
        Scalar::S16 => code.i32_extend16_s(),
        Scalar::U32 | Scalar::S32 | Scalar::U64 | Scalar::S64 | Scalar::F32 | Scalar::F64 => code,
    };
}

fn has_bytes(plan: &Plan<'_>, at: usize) -> bool {
    plan.regions[at].bytes > 0
}

fn needs_reset(plan: &Plan<'_>, at: usize) -> bool {
    has_bytes(plan, at) || needs_more_than_zeros(&plan.parts[at])
}

fn needs_more_than_zeros(part: &Part<'_>) -> bool {
    let mut data = part.data.iter();
    part.grows()
        || part.survey.start.is_some()
        || !part.changed_tables.is_empty()
        || changed_globals(part).next().is_some()
        || data.any(|data| matches!(data.kind, DataKind::Active { .. }))
}

/// The globals that may be different after a call.
fn changed_globals<'p>(part: &'p Part<'_>) -> impl Iterator<Item = u32> + 'p {
    let kept = part
        .survey
        .stack_pointer
        .filter(|_| part.survey.keeps_stack());
    let set = part.set_globals.iter().copied();
    set.filter(move |global| Some(*global) != kept)
}

/// Makes part `at` as it is at the start, and runs its start function.
fn reset(
    merge: &mut Merge<'_, '_>,
    code: &mut InstructionSink<'_>,
    at: usize,
) -> Result<(), Unencodable> {
    let plan = merge.plan;
    let (part, region) = (&plan.parts[at], plan.regions[at]);
    if has_bytes(plan, at) {
        code.i32_const(region.base as i32);
        match merge.is_worth(Helper::Clear) {
            true => code.call(merge.helper(Helper::Clear)),
            false => code
                .i32_const(0)
                .i32_const(region.bytes as i32)
                .memory_fill(0),
        };
    }
    for (index, data) in part.data.iter().enumerate() {
        let DataKind::Active { offset_expr, .. } = &data.kind else {
            continue;
        };
        if data.data.is_empty() {
            continue;
        }
        let offset = number(offset_expr)?.unwrap_or(0);
        let segment = merge.renumber(at).data_index(index as u32)?;
        code.i32_const((region.base + offset) as i32).i32_const(0);
        code.i32_const(data.data.len() as i32)
            .memory_init(0, segment);
    }
    for global in changed_globals(part) {
        let operators = part.globals[global as usize]
            .init_expr
            .get_operators_reader();
        for operator in operators {
            let operator = operator?;
            if operator != Operator::End {
                constant(code, &merge.renumber(at).instruction(operator)?);
            }
        }
        code.global_set(merge.renumber(at).global_index(global)?);
    }
    if let Some(pages) = merge.pages(at) {
        code.i32_const(initial_pages(part)).global_set(pages);
    }
    reset_tables(merge, code, at)?;
    if let Some(start) = part.survey.start {
        code.call(merge.function(at, start));
    }
    Ok(())
}

/// Writes an instruction of an initial value.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "initial values have no others"
)]
fn constant(code: &mut InstructionSink<'_>, instruction: &Instruction<'_>) {
    match *instruction {
        Instruction::I32Const(value) => code.i32_const(value),
        Instruction::I64Const(value) => code.i64_const(value),
        Instruction::F32Const(value) => code.f32_const(value),
        Instruction::F64Const(value) => code.f64_const(value),
        Instruction::GlobalGet(global) => code.global_get(global),
        Instruction::RefNull(heap) => code.ref_null(heap),
        Instruction::RefFunc(function) => code.ref_func(function),
        Instruction::I32Add => code.i32_add(),
        Instruction::I32Sub => code.i32_sub(),
        Instruction::I32Mul => code.i32_mul(),
        Instruction::I64Add => code.i64_add(),
        Instruction::I64Sub => code.i64_sub(),
        Instruction::I64Mul => code.i64_mul(),
        // No initial value has another.
        _ => code.unreachable(),
    };
}

fn reset_tables(
    merge: &Merge<'_, '_>,
    code: &mut InstructionSink<'_>,
    at: usize,
) -> Result<(), Unencodable> {
    let part = &merge.plan.parts[at];
    let mut renumber = merge.renumber(at);
    for table in &part.changed_tables {
        let ty = part.tables[*table as usize].ty;
        let heap = match ty.element_type.is_extern_ref() {
            true => HeapType::EXTERN,
            false => HeapType::FUNC,
        };
        code.i32_const(0).ref_null(heap);
        code.i32_const(ty.initial as u32 as i32);
        code.table_fill(renumber.table_index(*table)?);
    }
    for (index, element) in part.elements.iter().enumerate() {
        let ElementKind::Active {
            table_index,
            offset_expr,
        } = &element.kind
        else {
            continue;
        };
        if !is_repeated(part, &element.kind) {
            continue;
        }
        let count = match &element.items {
            wasmparser::ElementItems::Functions(items) => items.count(),
            wasmparser::ElementItems::Expressions(_, items) => items.count(),
        };
        let offset = number(offset_expr)?.unwrap_or(0);
        code.i32_const(offset as i32)
            .i32_const(0)
            .i32_const(count as i32);
        code.table_init(
            renumber.table_index(table_index.unwrap_or(0))?,
            renumber.element_index(index as u32)?,
        );
    }
    Ok(())
}

/// A number, such as an address in the callee's memory.
#[derive(Clone, Copy)]
enum Place {
    Fixed(u32),
    /// In this local.
    Local(u32),
}

/// The space for a list result.
struct Space {
    place: Place,
    /// How many elements fit.
    room: Place,
    element: Scalar,
}

/// What is known of where a list comes from.
#[derive(Clone, Copy)]
enum Source {
    /// As many elements as fit the area are within the caller's memory.
    Within,
    /// So many are, and no more.
    Before(u32),
    /// Nothing.
    Unknown,
}

impl Source {
    /// What is known of the address in argument `at` of `calls`, from where at most `most` elements
    /// are copied.
    fn of(
        caller: &Part<'_>,
        calls: &[(usize, Vec<Value>)],
        at: usize,
        size: u32,
        most: u32,
    ) -> Self {
        let bytes = u64::from(most) * u64::from(size);
        let addresses = || {
            let calls = calls.iter();
            calls.map(|(body, args)| (*body, args.get(at).copied().unwrap_or(Value::Unknown)))
        };
        if addresses().all(|(body, address)| caller.is_within(body, address, bytes)) {
            return Self::Within;
        }
        let mut exact = addresses().map(|(body, address)| caller.exact(body, address));
        let address = exact.next().flatten();
        let left = address.and_then(|it| caller.initial_bytes().checked_sub(it.into()));
        match left {
            Some(left) if !caller.grows() && exact.all(|other| other == address) => {
                Self::Before((left / u64::from(size)) as u32)
            }
            _ => Self::Unknown,
        }
    }
}

/// The logarithms of the sizes of elements whose lists a helper could copy.
pub(super) fn brings(plan: &Plan<'_>, crossing: Crossing) -> Vec<u32> {
    let caller = &plan.parts[crossing.caller];
    let Target::Part {
        part, signature, ..
    } = caller.imports[crossing.import].target
    else {
        return Vec::new();
    };
    let calls = caller.calls_of(crossing.import as u32);
    let area = plan.parts[part].package.terms.area;
    let end = area.offset + area.len;
    let spaces = lists(&signature);
    let params = signature.params().filter(|ty| ty.element().is_some());
    let params = spaces.iter().take(params.count()).enumerate();
    let brings = params.filter(|(number, (at, size))| {
        let first = area.offset.next_multiple_of(*size);
        let most = match number {
            0 => end.saturating_sub(first) / size,
            _ => end / size,
        };
        matches!(Source::of(caller, &calls, *at, *size, most), Source::Within)
    });
    brings.map(|(_, (_, size))| size.ilog2()).collect()
}

/// A call of another part.
struct Inward<'w, 'p, 'm> {
    merge: &'w mut Merge<'p, 'm>,
    /// The regions of both.
    from: Bounds,
    to: Bounds,
    caller: usize,
    callee: usize,
    /// The bodies that call, and what is known of the arguments there.
    calls: Vec<(usize, Vec<Value>)>,
    signature: Signature,
    /// Where the callee's area ends.
    area_end: u32,
    /// Locals besides the parameters.
    locals: Vec<ValType>,
    params: u32,
}

impl<'w, 'p, 'm> Inward<'w, 'p, 'm> {
    fn new(
        merge: &'w mut Merge<'p, 'm>,
        crossing: Crossing,
        callee: usize,
        signature: Signature,
    ) -> Self {
        let caller = crossing.caller;
        let calls = merge.plan.parts[caller].calls_of(crossing.import as u32);
        let area = merge.plan.parts[callee].package.terms.area;
        Self {
            from: merge.bounds(caller),
            caller,
            calls,
            to: merge.bounds(callee),
            callee,
            signature,
            area_end: area.offset + area.len,
            locals: Vec::new(),
            params: signature.flat_params().count() as u32,
            merge,
        }
    }

    fn local(&mut self, ty: ValType) -> u32 {
        self.locals.push(ty);
        self.params + self.locals.len() as u32 - 1
    }

    fn function(mut self, function: u32) -> Result<Function, Unencodable> {
        let mut bytes = Vec::new();
        let mut code = InstructionSink::new(&mut bytes);
        if self.merge.plan.parts[self.callee].survey.start.is_some() {
            self.check_lists(&mut code);
        }
        match self.merge.reset(self.callee) {
            Some(shared) => drop(code.call(shared)),
            None => reset(self.merge, &mut code, self.callee)?,
        }
        let space = self.arguments(&mut code);
        code.call(self.merge.function(self.callee, function));
        match space {
            Some(space) => self.list_result(&mut code, space),
            None => self.results(&mut code),
        }
        code.end();
        let mut function = Function::new_with_locals_types(self.locals.iter().copied());
        function.raw(bytes);
        Ok(function)
    }

    /// Traps for lists beyond the caller's memory before the callee's start function does anything.
    fn check_lists(&mut self, code: &mut InstructionSink<'_>) {
        let mut at = 0;
        for ty in self.signature.params() {
            let Some(element) = ty.element() else {
                at += 1;
                continue;
            };
            code.local_get(at)
                .local_get(at + 1)
                .i32_const(element.size() as i32);
            self.from.push(code);
            code.call(self.merge.helper(Helper::Span));
            if ty == Type::String {
                code.local_get(at + 1).call(self.merge.helper(Helper::Text));
            } else {
                // Fills nothing, but not just anywhere.
                code.i32_const(0).i32_const(0).memory_fill(0);
            }
            at += 2;
        }
    }

    /// Puts the callee's arguments on the operand stack. Returns where the space for a list result
    /// is.
    fn arguments(&mut self, code: &mut InstructionSink<'_>) -> Option<Space> {
        let area = self.merge.plan.parts[self.callee].package.terms.area;
        let mut next = Place::Fixed(area.offset);
        // Address, number and size of the list before, if the next address follows from it.
        let mut before: Option<(Place, u32, u32)> = None;
        let mut at = 0;
        let signature = self.signature;
        for ty in signature.params() {
            let Some(element) = ty.element() else {
                code.local_get(at);
                if let Type::Scalar(scalar) = ty {
                    narrow(code, scalar);
                }
                at += 1;
                continue;
            };
            let size = element.size() as u32;
            next = self.place(code, next, before, size);
            self.bring(code, next, at, ty, size);
            before = Some((next, at + 1, size));
            at += 2;
        }
        let element = signature.list_result()?;
        let size = element.size() as u32;
        let place = self.place(code, next, before, size);
        push(code, place);
        self.room(code, place, size);
        let room = match place {
            Place::Fixed(address) => Place::Fixed(self.area_end.saturating_sub(address) / size),
            Place::Local(_) => {
                let local = self.local(ValType::I32);
                code.local_tee(local);
                Place::Local(local)
            }
        };
        Some(Space {
            place,
            room,
            element,
        })
    }

    /// The next address that is a multiple of `size`.
    fn place(
        &mut self,
        code: &mut InstructionSink<'_>,
        next: Place,
        before: Option<(Place, u32, u32)>,
        size: u32,
    ) -> Place {
        let Some((address, count, element)) = before else {
            return match next {
                Place::Fixed(address) => Place::Fixed(address.next_multiple_of(size)),
                local @ Place::Local(_) => local,
            };
        };
        push(code, address);
        code.local_get(count);
        if element > 1 {
            code.i32_const(element.ilog2() as i32).i32_shl();
        }
        code.i32_add();
        if !element.is_multiple_of(size) {
            code.i32_const(size as i32 - 1).i32_add();
            code.i32_const(-(size as i32)).i32_and();
        }
        let local = self.local(ValType::I32);
        code.local_set(local);
        Place::Local(local)
    }

    /// How many elements fit between `place` and the end of the area.
    fn room(&self, code: &mut InstructionSink<'_>, place: Place, size: u32) {
        match place {
            Place::Fixed(address) => {
                let room = self.area_end.saturating_sub(address) / size;
                code.i32_const(room as i32);
            }
            Place::Local(local) => {
                code.i32_const(self.area_end as i32)
                    .local_get(local)
                    .i32_sub();
                if size > 1 {
                    code.i32_const(size.ilog2() as i32).i32_shr_u();
                }
                if !self.area_end.is_multiple_of(size) {
                    // Aligning may have left the area.
                    code.i32_const(0).local_get(local);
                    code.i32_const(self.area_end as i32).i32_le_u().select();
                }
            }
        }
    }

    /// Copies the list in parameters `at` and `at + 1` to `place`; leaves its address and number
    /// for the callee.
    fn bring(
        &mut self,
        code: &mut InstructionSink<'_>,
        place: Place,
        at: u32,
        ty: Type,
        size: u32,
    ) {
        let (log2, count) = (size.ilog2(), at + 1);
        push(code, place);
        let source = self.source(place, at as usize, size);
        if let (Source::Within, true) = (source, self.merge.is_worth(Helper::Bring(log2))) {
            self.push_source(code, at);
            code.local_get(count);
            self.push_absolute(code, place);
            self.room(code, place, size);
            code.call(self.merge.helper(Helper::Bring(log2)));
        } else {
            self.push_absolute(code, place);
            self.push_source(code, at);
            scaled(code, count, log2).i32_const(-1);
            self.push_fits(code, place, source, at, size);
            code.select().memory_copy(0, 0).local_get(count);
        }
        if let Some(helper) = mended(ty) {
            self.push_absolute(code, place);
            code.local_get(count).call(self.merge.helper(helper));
        }
    }

    /// The most elements that the area can have from `place` on.
    fn most(&self, place: Place, size: u32) -> u32 {
        match place {
            Place::Fixed(address) => self.area_end.saturating_sub(address) / size,
            Place::Local(_) => self.area_end / size,
        }
    }

    /// What is known of the list in parameters `at` and `at + 1`.
    fn source(&self, place: Place, at: usize, size: u32) -> Source {
        let part = &self.merge.plan.parts[self.caller];
        Source::of(part, &self.calls, at, size, self.most(place, size))
    }

    /// Whether the list in parameters `at` and `at + 1` is within the caller's memory and fits the
    /// area from `place` on.
    fn push_fits(
        &mut self,
        code: &mut InstructionSink<'_>,
        place: Place,
        source: Source,
        at: u32,
        size: u32,
    ) {
        let count = at + 1;
        let (left, is_there) = match (source, self.from.limit) {
            (Source::Within, _) => (u32::MAX, true),
            (Source::Before(left), _) => (left, true),
            (Source::Unknown, Limit::Fixed(bytes)) => (bytes / size, false),
            (Source::Unknown, Limit::Pages { .. }) => (u32::MAX, false),
        };
        let most = self.most(place, size);
        code.local_get(count);
        match place {
            Place::Fixed(_) => {
                code.i32_const(most.min(left) as i32).i32_le_u();
            }
            Place::Local(_) => {
                self.room(code, place, size);
                code.i32_le_u();
                if left < most {
                    code.local_get(count)
                        .i32_const(left as i32)
                        .i32_le_u()
                        .i32_and();
                }
            }
        }
        if !is_there {
            self.push_is_within(code, at, size);
            code.i32_and();
        }
    }

    /// Puts the address in parameter `at` on the operand stack, as one in the module's memory.
    fn push_source(&self, code: &mut InstructionSink<'_>, at: u32) {
        code.local_get(at);
        if self.from.base > 0 {
            code.i32_const(self.from.base as i32).i32_add();
        }
    }

    /// Whether the elements in parameters `at` and `at + 1` are within the caller's memory; of one
    /// that does not grow, not more than it has bytes.
    fn push_is_within(&mut self, code: &mut InstructionSink<'_>, at: u32, size: u32) {
        if let Limit::Fixed(bytes) = self.from.limit {
            code.local_get(at).i32_const(bytes as i32);
            scaled(code, at + 1, size.ilog2()).i32_sub().i32_le_u();
            return;
        }
        code.local_get(at)
            .local_get(at + 1)
            .i32_const(size as i32)
            .i32_const(0);
        self.from.limit.push(code);
        code.call(self.merge.helper(Helper::Span));
        code.i32_const(-1).i32_ne();
    }

    /// Puts `place` on the operand stack, as an address in the module's memory.
    fn push_absolute(&self, code: &mut InstructionSink<'_>, place: Place) {
        match place {
            Place::Fixed(address) => code.i32_const((self.to.base + address) as i32),
            Place::Local(local) => code
                .local_get(local)
                .i32_const(self.to.base as i32)
                .i32_add(),
        };
    }

    /// Copies the list result, whose number is on the operand stack, to the caller's space.
    fn list_result(&mut self, code: &mut InstructionSink<'_>, space: Space) {
        let Space {
            place,
            room,
            element,
        } = space;
        let size = element.size() as u32;
        let (address, capacity) = (self.params - 2, self.params - 1);
        let count = self.local(ValType::I32);
        code.local_set(count);
        self.push_source(code, address);
        let region = self.merge.plan.parts[self.callee].initial_bytes();
        if u64::from(self.area_end.next_multiple_of(size)) > region {
            // Aligning may have left the memory.
            push(code, place);
            code.i32_const(0).i32_const(1);
            self.to.push(code);
            code.call(self.merge.helper(Helper::Span));
        } else {
            self.push_absolute(code, place);
        }
        scaled(code, count, size.ilog2()).i32_const(-1);
        code.local_get(count);
        push(code, room);
        code.i32_le_u();
        code.local_get(count)
            .local_get(capacity)
            .i32_le_u()
            .i32_and();
        self.push_has_room(code, address, size);
        code.select().memory_copy(0, 0);
        let result = self.signature.results().next();
        if let Some(helper) = result.and_then(mended) {
            self.push_source(code, address);
            code.local_get(count).call(self.merge.helper(helper));
        }
        code.local_get(count);
    }

    /// Whether the caller's space for a list result, in parameters `at` and `at + 1`, is within its
    /// memory too, unless that is known.
    fn push_has_room(&mut self, code: &mut InstructionSink<'_>, at: u32, size: u32) {
        let part = &self.merge.plan.parts[self.caller];
        let spaces = self.calls.iter().map(|(body, args)| {
            let address = args.get(at as usize).copied().unwrap_or(Value::Unknown);
            match args.get(at as usize + 1) {
                Some(Value::Number(count)) => (*body, address, Some(*count)),
                _ => (*body, address, None),
            }
        });
        let bytes = |count: u32| u64::from(count) * u64::from(size);
        let is_known = spaces.clone().all(|(body, address, count)| {
            count.is_some_and(|count| part.is_within(body, address, bytes(count)))
        });
        if is_known {
            return;
        }
        let mut counts = spaces.map(|(.., count)| count);
        let count = counts.next().flatten();
        let is_one = counts.all(|other| other == count);
        match (count.filter(|_| is_one), self.from.limit) {
            (Some(count), Limit::Fixed(limit)) if bytes(count) <= limit.into() => {
                let highest = limit - bytes(count) as u32;
                code.local_get(at).i32_const(highest as i32).i32_le_u();
            }
            (_, limit) => {
                if let Limit::Fixed(limit) = limit {
                    code.local_get(at + 1).i32_const((limit / size) as i32);
                    code.i32_le_u().i32_and();
                }
                self.push_is_within(code, at, size);
            }
        }
        code.i32_and();
    }

    /// Makes the results on the operand stack what they are for the caller.
    fn results(&mut self, code: &mut InstructionSink<'_>) {
        let signature = self.signature;
        let scalars = signature.results().filter_map(|ty| match ty {
            Type::Scalar(scalar) => Some(scalar),
            Type::List(_) | Type::String => None,
        });
        let scalars: Vec<_> = scalars.collect();
        let Some(first) = scalars.iter().position(|scalar| is_narrow(*scalar)) else {
            return;
        };
        // Those above the first that changes go aside.
        let aside = &scalars[first + 1..];
        let locals: Vec<_> = aside
            .iter()
            .map(|it| self.local(value_type(it.flat())))
            .collect();
        for local in locals.iter().rev() {
            code.local_set(*local);
        }
        narrow(code, scalars[first]);
        for (scalar, local) in aside.iter().zip(&locals) {
            code.local_get(*local);
            narrow(code, *scalar);
        }
    }
}

fn push(code: &mut InstructionSink<'_>, place: Place) {
    match place {
        Place::Fixed(address) => code.i32_const(address as i32),
        Place::Local(local) => code.local_get(local),
    };
}

/// What is done with the bytes of a value after they were copied.
fn mended(ty: Type) -> Option<Helper> {
    match ty {
        Type::String => Some(Helper::Text),
        Type::List(Scalar::Bool) => Some(Helper::Truth),
        Type::List(_) | Type::Scalar(_) => None,
    }
}

fn value_type(ty: FlatType) -> ValType {
    match ty {
        FlatType::I32 => ValType::I32,
        FlatType::I64 => ValType::I64,
        FlatType::F32 => ValType::F32,
        FlatType::F64 => ValType::F64,
    }
}
