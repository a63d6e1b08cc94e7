//! An instance: a module that was loaded into a block, and the run that is under way in it.

use crate::block::{
    self, Field, FuncType, NONE, Parts, STATE_CALL, STATE_DONE, STATE_IDLE, STATE_READY,
    STATE_TRAPPED, Words, header, val_type,
};
use crate::checksum::checksum;
use crate::fault::{InvokeError, LoadError, NotAnInstance, ResumeError, Trap};
use crate::limits::LoadOptions;
use crate::module::{Export, ExternKind, FunctionType, Module};
use crate::value::Value;
use crate::{exec, init, load};

/// The state of a run after [`Instance::run`].
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Step {
    /// The function has returned; [`Instance::results`] has its results.
    Done,
    /// An import is called. [`Instance::call_args`] has the arguments; answer with
    /// [`Instance::resume`] or [`Instance::fail`], and call `run` again.
    Call(HostCall),
    /// The fuel is used up, to the last unit. Add fuel and call `run` again.
    OutOfFuel,
    /// The run has ended in a trap. The instance keeps its state, and may be invoked again or
    /// reset.
    Trapped(Trap),
}

/// A call of an import that waits for its answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostCall {
    /// The index among the module's imported functions.
    pub import: u16,
}

/// A loaded module. Its state is in the block. This value only borrows the block and the module's
/// bytes, from which data and initial values are read.
#[derive(Debug)]
pub struct Instance<'b> {
    pub(crate) block: &'b mut [u8],
    pub(crate) code: &'b [u8],
}

impl<'b> Instance<'b> {
    /// Validates, translates and initialises a module in `block`, which must start at a multiple
    /// of [`BLOCK_ALIGN`](crate::BLOCK_ALIGN). Memory may later grow up to the end of the block.
    ///
    /// The start function is not run: see [`has_start`](Self::has_start).
    ///
    /// # Errors
    /// If the module is refused, the block is too small, or a segment does not fit.
    pub fn load(
        block: &'b mut [u8],
        code: &'b [u8],
        options: &LoadOptions,
    ) -> Result<Self, LoadError> {
        match load::load(block, code, options) {
            Ok(_) => Ok(Self { block, code }),
            Err(error) => {
                // The unfinished state is no instance.
                if let Some(magic) = block.get_mut(..4) {
                    magic.fill(0);
                }
                Err(error)
            }
        }
    }

    /// An instance that [`load`](Self::load) or [`thaw`](Self::thaw) has made in these bytes, or in
    /// bytes of which these are a copy: [`Blocks`](crate::Blocks) guarantee that.
    ///
    /// The block may be shorter than it was, down to [`extent`](Self::extent), or longer.
    pub(crate) fn attach(block: &'b mut [u8], code: &'b [u8]) -> Result<Self, NotAnInstance> {
        block::check(block)?;
        if block.field(Field::CODE_CHECK) == checksum(code) {
            Ok(Self { block, code })
        } else {
            Err(NotAnInstance)
        }
    }

    /// Whether the module has a start function, which [`invoke_start`](Self::invoke_start) sets up.
    /// It should run before any other function.
    pub fn has_start(&self) -> bool {
        self.block.field(Field::START) != NONE
    }

    /// Sets up a run of the start function, like [`invoke`](Self::invoke).
    ///
    /// # Errors
    /// As for `invoke`; without a start function [`InvokeError::NoSuchExport`].
    pub fn invoke_start(&mut self) -> Result<(), InvokeError> {
        match self.block.field(Field::START) {
            NONE => Err(InvokeError::NoSuchExport),
            func => self.invoke_function(func, &[]),
        }
    }

    /// Sets up a run of the exported function `export`. Nothing is executed yet. If the function is
    /// an import, the run is suspended at its call from the beginning, and has ended once the call
    /// is answered.
    ///
    /// # Errors
    /// If there is no such function, the arguments do not fit it, a run is under way already, or
    /// its frame does not fit on the stack.
    pub fn invoke(&mut self, export: &str, args: &[Value]) -> Result<(), InvokeError> {
        let found = self.export(export).ok_or(InvokeError::NoSuchExport)?;
        if found.kind != ExternKind::Function {
            return Err(InvokeError::NotAFunction);
        }
        self.invoke_function(found.index, args)
    }

    /// Sets up a run of the function with this index, exported or not, like
    /// [`invoke`](Self::invoke).
    ///
    /// # Errors
    /// As for `invoke`; [`InvokeError::NotAFunction`] if there is none.
    pub fn invoke_function(&mut self, func: u32, args: &[Value]) -> Result<(), InvokeError> {
        self.not_busy()?;
        if func >= self.block.field(Field::FUNC_COUNT) {
            return Err(InvokeError::NotAFunction);
        }
        let params = self.block.func_type(self.block.func(func).ty).params;
        let expected = params.len() as u16;
        if params.len() != args.len() {
            return Err(InvokeError::WrongArguments {
                expected,
                mismatch: None,
            });
        }
        if let Some(index) = params
            .iter()
            .zip(args)
            .position(|(&ty, arg)| !self.fits(ty, arg))
        {
            let mismatch = Some((index as u16, val_type(params[index])));
            return Err(InvokeError::WrongArguments { expected, mismatch });
        }
        let stack = self.block.offset(Field::STACK);
        exec::enter(self.block, func).map_err(|_| InvokeError::StackExhausted)?;
        self.write(stack, args);
        Ok(())
    }

    /// Executes until the run ends or is suspended. After the end it returns the same outcome
    /// again. Without a run it returns [`Step::Done`], without results.
    pub fn run(&mut self) -> Step {
        exec::run(self.block, self.code);
        let header = header(self.block);
        match header.field(Field::STATE) {
            STATE_CALL => Step::Call(HostCall {
                import: header.field(Field::PENDING) as u16,
            }),
            STATE_READY => Step::OutOfFuel,
            state if state > STATE_TRAPPED => Step::Trapped(Trap::from_byte(state - STATE_TRAPPED)),
            _ => Step::Done,
        }
    }

    /// Answers the pending host call. Executes nothing.
    ///
    /// # Errors
    /// If no call is pending, for example because it was answered already, or the results do not
    /// fit.
    pub fn resume(&mut self, results: &[Value]) -> Result<(), ResumeError> {
        let ty = self.pending_type().ok_or(ResumeError::NotPending)?;
        let fitting = ty.results.len() == results.len()
            && ty
                .results
                .iter()
                .zip(results)
                .all(|(&ty, value)| self.fits(ty, value));
        if !fitting {
            return Err(ResumeError::WrongResults);
        }
        let at = self.window();
        self.write(at, results);
        self.block.set_field(Field::STATE, STATE_READY);
        Ok(())
    }

    /// Answers the pending host call with a trap, which ends the run. Does nothing when no call
    /// is pending.
    pub fn fail(&mut self, trap: Trap) {
        if self.block.field(Field::STATE) == STATE_CALL {
            // The position of a run that has ended is the instruction that ended it, not the next
            // one.
            let call = self.block.field(Field::IP).saturating_sub(1);
            self.block.set_field(Field::IP, call);
            self.block
                .set_field(Field::STATE, STATE_TRAPPED + trap as u32);
        }
    }

    /// Gives up the run that is under way, if there is one. Globals, tables and memory stay.
    pub fn cancel(&mut self) {
        self.block.set_field(Field::STATE, STATE_IDLE);
    }

    /// The host call that waits for an answer.
    pub fn pending(&self) -> Option<HostCall> {
        self.pending_type()?;
        Some(HostCall {
            import: self.block.field(Field::PENDING) as u16,
        })
    }

    /// Copies the arguments of the pending call to `out`, as many as fit; returns their number.
    pub fn call_args(&self, out: &mut [Value]) -> usize {
        match self.pending_type() {
            Some(ty) => self.read(self.window(), ty.params, out),
            None => 0,
        }
    }

    /// Copies the results of the run that has ended to `out`, as many as fit; returns their number.
    pub fn results(&self, out: &mut [Value]) -> usize {
        if self.block.field(Field::STATE) != STATE_DONE {
            return 0;
        }
        let ty = self
            .block
            .func_type(self.block.func(self.block.field(Field::ENTRY)).ty);
        self.read(self.block.offset(Field::STACK), ty.results, out)
    }

    /// Fuel that is left. Only metered code uses fuel.
    pub fn fuel(&self) -> u64 {
        self.block.wide_field(Field::FUEL)
    }

    /// Sets the fuel that is left.
    pub fn set_fuel(&mut self, fuel: u64) {
        self.block.set_wide_field(Field::FUEL, fuel);
    }

    /// Linear memory; empty if the module has none.
    pub fn memory(&self) -> &[u8] {
        let start = self.block.offset(Field::MEMORY);
        &self.block[start..self.block.end_of_memory()]
    }

    /// Linear memory, for writing.
    pub fn memory_mut(&mut self) -> &mut [u8] {
        let start = self.block.offset(Field::MEMORY);
        let end = self.block.end_of_memory();
        &mut self.block[start..end]
    }

    /// The value of an exported global.
    pub fn export_global(&self, name: &str) -> Option<Value> {
        let export = self.export(name)?;
        if export.kind != ExternKind::Global {
            return None;
        }
        let section = self.block.offset(Field::GLOBAL_SECTION);
        let mut at = self.block.offset(Field::GLOBALS);
        let mut globals = Module::globals_in(self.code, section);
        for _ in 0..export.index {
            at += globals.next()?.cells() * 4;
        }
        let ty = globals.next()?;
        let mut out = [Value::I32(0)];
        self.read(at, &[ty as u8], &mut out);
        Some(out[0])
    }

    /// Resets the instance to the state right after [`load`](Self::load), byte for byte, without
    /// validating or translating again: memory has its initial size and contents, globals, tables
    /// and segments are as the module defines them, the stack is clear, no fuel is left and none is
    /// owed. A run that is under way is given up.
    ///
    /// # Errors
    /// [`LoadError::OutOfMemory`] if the block has become too short for the initial memory. Then
    /// there is no run, and the state is not valid until another reset succeeds.
    pub fn reset(&mut self) -> Result<(), LoadError> {
        init::reset(self.block, self.code)
    }

    /// The function that is exported under this name: its index and type.
    pub fn export_function(&self, name: &str) -> Option<(u32, FunctionType<'_>)> {
        let export = self.export(name)?;
        let is_function = export.kind == ExternKind::Function;
        let func = is_function.then(|| self.block.func(export.index))?;
        Some((export.index, self.block.func_type(func.ty).into()))
    }

    /// Bytes of linear memory at the start.
    pub fn memory_at_start(&self) -> u32 {
        self.block.field(Field::MEMORY_MIN)
    }

    /// Bytes that linear memory may grow to, by the module and by the limits that it was loaded
    /// with.
    pub fn memory_limit(&self) -> u32 {
        self.block.field(Field::MEMORY_LIMIT)
    }

    /// Bytes of the block that are in use, from its start to the end of linear memory.
    pub fn extent(&self) -> usize {
        self.block.end_of_memory()
    }

    /// The bytes of the instance's block.
    pub fn block(&self) -> &[u8] {
        self.block
    }

    fn export(&self, name: &str) -> Option<Export<'b>> {
        Module::export_in(self.code, self.block.offset(Field::EXPORT_SECTION), name)
    }

    fn not_busy(&self) -> Result<(), InvokeError> {
        match self.block.field(Field::STATE) {
            STATE_READY | STATE_CALL => Err(InvokeError::Busy),
            _ => Ok(()),
        }
    }

    fn pending_type(&self) -> Option<FuncType<'_>> {
        let header = header(self.block);
        let ty = header.field(Field::PENDING_TYPE) as u16;
        (header.field(Field::STATE) == STATE_CALL).then(|| self.block.func_type(ty))
    }

    /// Offset of the pending call's arguments, and of its results.
    fn window(&self) -> usize {
        let header = header(self.block);
        header.offset(Field::STACK) + header.offset(Field::FP) + header.offset(Field::WINDOW)
    }

    fn read(&self, at: usize, types: &[u8], out: &mut [Value]) -> usize {
        // One check is enough for all arguments: the frame was checked when it was entered.
        let mut cells = &self.block[at..];
        for (&ty, value) in types.iter().zip(out) {
            let Some((low, rest)) = cells.split_first_chunk::<4>() else {
                break;
            };
            let mut bits = u64::from(u32::from_le_bytes(*low));
            cells = rest;
            let ty = val_type(ty);
            if ty.cells() == 2 {
                let Some((high, rest)) = cells.split_first_chunk::<4>() else {
                    break;
                };
                bits |= u64::from(u32::from_le_bytes(*high)) << 32;
                cells = rest;
            }
            *value = Value::from_bits(ty, bits);
        }
        types.len()
    }

    fn write(&mut self, at: usize, values: &[Value]) {
        let mut cells = &mut self.block[at..];
        for value in values {
            let bits = value.to_bits();
            let Some((low, rest)) = cells.split_first_chunk_mut::<4>() else {
                break;
            };
            *low = (bits as u32).to_le_bytes();
            cells = rest;
            if value.ty().cells() == 2 {
                let Some((high, rest)) = cells.split_first_chunk_mut::<4>() else {
                    break;
                };
                *high = ((bits >> 32) as u32).to_le_bytes();
                cells = rest;
            }
        }
    }

    /// Whether a value may be used for this type. A function must exist; the largest number is no
    /// reference, since its bits are those of null.
    fn fits(&self, ty: u8, value: &Value) -> bool {
        let usable = match *value {
            Value::FuncRef(Some(func)) => func < self.block.field(Field::FUNC_COUNT),
            Value::ExternRef(Some(number)) => number != u32::MAX,
            Value::FuncRef(None) | Value::ExternRef(None) => true,
            Value::I32(_) | Value::I64(_) | Value::F32(_) | Value::F64(_) => true,
        };
        usable && value.ty() as u8 == ty
    }
}
