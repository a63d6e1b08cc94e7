//! What a module has and uses, read from its binary in one pass.

use std::collections::BTreeSet;

use wasmparser::{
    DataKind, ElementItems, ElementKind, ExternalKind, FuncType, GlobalType, MemArg, MemoryType,
    Operator, Parser, Payload, TypeRef, ValType, Validator, WasmFeatures,
};

use super::PackError;

/// What tasklets may use of WebAssembly.
fn features() -> WasmFeatures {
    WasmFeatures::WASM1
        | WasmFeatures::SIGN_EXTENSION
        | WasmFeatures::SATURATING_FLOAT_TO_INT
        | WasmFeatures::BULK_MEMORY
        | WasmFeatures::MULTI_VALUE
        | WasmFeatures::REFERENCE_TYPES
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::CUSTOM_PAGE_SIZES
}

/// Checks that `module` is a valid module within what tasklets may use.
///
/// # Errors
/// [`PackError::Invalid`] with the place in the binary.
pub(super) fn validate(module: &[u8]) -> Result<(), PackError> {
    let valid = Validator::new_with_features(features()).validate_all(module);
    valid.map(drop).map_err(invalid)
}

/// An error of the parser, for the caller.
pub(super) fn invalid(error: wasmparser::Error) -> PackError {
    PackError::Invalid(error.to_string())
}

/// An imported function.
#[derive(Debug)]
pub(super) struct ImportedFunction<'m> {
    pub(super) module: &'m str,
    pub(super) field: &'m str,
    pub(super) ty: FuncType,
}

/// A global that the module defines; tasklets import none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Global {
    pub(super) ty: GlobalType,
    /// Its initial value, if that is an `i32.const`.
    pub(super) value: Option<u32>,
}

/// Facts about a valid module.
#[derive(Default, Debug)]
pub(super) struct Survey<'m> {
    types: Vec<FuncType>,
    functions: Vec<u32>,
    exports: Vec<(&'m str, ExternalKind, u32)>,
    pub(super) imports: Vec<ImportedFunction<'m>>,
    pub(super) globals: Vec<Global>,
    pub(super) memory: Option<MemoryType>,
    /// Where the last active data segment ends.
    pub(super) data_end: u64,
    /// Globals that code or initial values refer to.
    pub(super) used_globals: BTreeSet<u32>,
    /// Whether any instruction touches memory.
    pub(super) touches_memory: bool,
    /// Whether any instruction asks for the memory's size or changes it.
    pub(super) sizes_memory: bool,
    /// Whether any instruction refers to a data segment by number.
    pub(super) names_data: bool,
    /// The most that one function takes off a global when it begins: its frame on the stack.
    pub(super) frame_bytes: u32,
    /// Where the last access at an address that stands in the code ends.
    pub(super) static_end: u64,
}

impl<'m> Survey<'m> {
    /// Validates and reads `module`.
    ///
    /// # Errors
    /// [`PackError`] if it is not valid, or imports something other than functions.
    pub(super) fn of(module: &'m [u8]) -> Result<Self, PackError> {
        validate(module)?;
        let mut survey = Self::default();
        for payload in Parser::new(0).parse_all(module) {
            survey.read(payload.map_err(invalid)?)?;
        }
        Ok(survey)
    }

    /// The exported functions with their types, in the module's order.
    pub(super) fn exported_functions(&self) -> impl Iterator<Item = (&'m str, &FuncType)> {
        self.exports
            .iter()
            .filter(|(_, kind, _)| *kind == ExternalKind::Func)
            .map(|(name, _, index)| {
                let ty = self.functions[*index as usize];
                (*name, &self.types[ty as usize])
            })
    }

    /// The value of an exported constant `i32` global.
    pub(super) fn exported_global(&self, wanted: &str) -> Option<u32> {
        let (_, _, index) = self
            .exports
            .iter()
            .find(|(name, kind, _)| *name == wanted && *kind == ExternalKind::Global)?;
        let global = self.globals.get(*index as usize)?;
        global.value.filter(|_| !global.ty.mutable)
    }

    /// The highest initial value of a global that looks like the shadow stack's pointer: a
    /// mutable `i32` in use, aligned as linkers align it, within the memory.
    pub(super) fn stack_pointer(&self) -> Option<u32> {
        let limit = self.memory.map_or(0, |memory| initial_bytes(&memory));
        (0..)
            .zip(&self.globals)
            .filter(|(index, _)| self.used_globals.contains(index))
            .filter(|(_, global)| global.ty.mutable && global.ty.content_type == ValType::I32)
            .filter_map(|(_, global)| global.value)
            .filter(|value| *value > 0 && value % 16 == 0 && u64::from(*value) <= limit)
            .max()
    }

    fn read(&mut self, payload: Payload<'m>) -> Result<(), PackError> {
        if let Payload::CodeSectionEntry(body) = &payload {
            return self.read_body(body).map_err(invalid);
        }
        if let Payload::ImportSection(section) = payload {
            return self.read_imports(section);
        }
        self.read_section(payload).map_err(invalid)
    }

    fn read_imports(
        &mut self,
        section: wasmparser::ImportSectionReader<'m>,
    ) -> Result<(), PackError> {
        for import in section.into_imports() {
            let import = import.map_err(invalid)?;
            let what = match import.ty {
                TypeRef::Func(ty) => {
                    self.functions.push(ty);
                    self.imports.push(ImportedFunction {
                        module: import.module,
                        field: import.name,
                        ty: self.types[ty as usize].clone(),
                    });
                    continue;
                }
                TypeRef::Memory(_) => "imported memory",
                TypeRef::Global(_) => "imported globals",
                TypeRef::Table(_) => "imported tables",
                TypeRef::Tag(_) | TypeRef::FuncExact(_) => "imports other than functions",
            };
            return Err(PackError::Unsupported(what));
        }
        Ok(())
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "sections without facts are copied as they are"
    )]
    fn read_section(&mut self, payload: Payload<'m>) -> Result<(), wasmparser::Error> {
        match payload {
            Payload::TypeSection(section) => {
                for ty in section.into_iter_err_on_gc_types() {
                    self.types.push(ty?);
                }
            }
            Payload::FunctionSection(section) => {
                for ty in section {
                    self.functions.push(ty?);
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    self.memory = Some(memory?);
                }
            }
            Payload::GlobalSection(section) => {
                for global in section {
                    let global = global?;
                    let value = self.constant(&global.init_expr)?;
                    let ty = global.ty;
                    self.globals.push(Global { ty, value });
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    self.exports.push((export.name, export.kind, export.index));
                }
            }
            Payload::ElementSection(section) => {
                for element in section {
                    let element = element?;
                    if let ElementKind::Active { offset_expr, .. } = &element.kind {
                        self.constant(offset_expr)?;
                    }
                    if let ElementItems::Expressions(_, items) = element.items {
                        for item in items {
                            self.constant(&item?)?;
                        }
                    }
                }
            }
            Payload::DataSection(section) => {
                for data in section {
                    let data = data?;
                    if let DataKind::Active { offset_expr, .. } = &data.kind {
                        let offset = self.constant(offset_expr)?;
                        // An offset that is computed may be anywhere.
                        let offset = offset.map_or(u64::MAX >> 1, u64::from);
                        self.data_end = self.data_end.max(offset + data.data.len() as u64);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The value of an initial expression if it is just an `i32.const`; notes the globals in it.
    fn constant(
        &mut self,
        expression: &wasmparser::ConstExpr<'_>,
    ) -> Result<Option<u32>, wasmparser::Error> {
        let mut value = None;
        let mut operators = 0;
        for operator in expression.get_operators_reader() {
            let operator = operator?;
            operators += 1;
            if let Operator::I32Const { value: constant } = operator {
                value = Some(constant as u32);
            } else if let Operator::GlobalGet { global_index } = operator {
                self.used_globals.insert(global_index);
                value = self
                    .globals
                    .get(global_index as usize)
                    .and_then(|global| global.value);
            }
        }
        // The last operator is `end`.
        Ok(value.filter(|_| operators == 2))
    }

    fn read_body(&mut self, body: &wasmparser::FunctionBody<'_>) -> Result<(), wasmparser::Error> {
        let mut recent = Recent::default();
        for operator in body.get_operators_reader()? {
            let operator = operator?;
            if let Some((argument, bytes, store)) = access(&operator) {
                self.touches_memory = true;
                let address = if store { recent.below_leaf } else { recent.top };
                if let Some(address) = address {
                    let end = u64::from(address) + argument.offset + bytes;
                    self.static_end = self.static_end.max(end);
                }
            }
            if let (Operator::I32Sub, Some(bytes)) = (&operator, recent.off_global()) {
                self.frame_bytes = self.frame_bytes.max(bytes);
            }
            recent.push(&operator);
            self.read_operator(&operator);
        }
        Ok(())
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the rest neither names globals nor touches memory in bulk"
    )]
    fn read_operator(&mut self, operator: &Operator<'_>) {
        match operator {
            Operator::GlobalGet { global_index } | Operator::GlobalSet { global_index } => {
                self.used_globals.insert(*global_index);
            }
            Operator::MemorySize { .. } | Operator::MemoryGrow { .. } => {
                self.touches_memory = true;
                self.sizes_memory = true;
            }
            Operator::MemoryFill { .. } | Operator::MemoryCopy { .. } => {
                self.touches_memory = true;
            }
            Operator::MemoryInit { .. } => {
                self.touches_memory = true;
                self.names_data = true;
            }
            Operator::DataDrop { .. } => self.names_data = true,
            _ => {}
        }
    }
}

/// The constants that are known to be on top of the operand stack.
#[derive(Default)]
struct Recent {
    /// The value on top: a load's address.
    top: Option<u32>,
    /// The value below a top that came from one operator: a store's address.
    below_leaf: Option<u32>,
    /// Whether the operator before last, or the last, was `global.get`.
    global: [bool; 2],
}

impl Recent {
    /// The constant on top, if a global is below it.
    fn off_global(&self) -> Option<u32> {
        self.top.filter(|_| self.global[0])
    }

    fn push(&mut self, operator: &Operator<'_>) {
        let leaf = matches!(
            operator,
            Operator::I32Const { .. }
                | Operator::I64Const { .. }
                | Operator::F32Const { .. }
                | Operator::F64Const { .. }
                | Operator::LocalGet { .. }
                | Operator::GlobalGet { .. }
        );
        self.below_leaf = self.top.filter(|_| leaf);
        self.global = [
            self.global[1],
            matches!(operator, Operator::GlobalGet { .. }),
        ];
        self.top = if let Operator::I32Const { value } = operator {
            Some(*value as u32)
        } else {
            None
        };
    }
}

/// How many bytes a memory has at first.
pub(super) fn initial_bytes(memory: &MemoryType) -> u64 {
    memory.initial << memory.page_size_log2.unwrap_or(16)
}

/// The argument of a load or store, how many bytes it touches, and whether it is a store.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "only loads and stores have memory arguments"
)]
fn access(operator: &Operator<'_>) -> Option<(MemArg, u64, bool)> {
    Some(match *operator {
        Operator::I32Load8S { memarg }
        | Operator::I32Load8U { memarg }
        | Operator::I64Load8S { memarg }
        | Operator::I64Load8U { memarg } => (memarg, 1, false),
        Operator::I32Load16S { memarg }
        | Operator::I32Load16U { memarg }
        | Operator::I64Load16S { memarg }
        | Operator::I64Load16U { memarg } => (memarg, 2, false),
        Operator::I32Load { memarg }
        | Operator::F32Load { memarg }
        | Operator::I64Load32S { memarg }
        | Operator::I64Load32U { memarg } => (memarg, 4, false),
        Operator::I64Load { memarg } | Operator::F64Load { memarg } => (memarg, 8, false),
        Operator::I32Store8 { memarg } | Operator::I64Store8 { memarg } => (memarg, 1, true),
        Operator::I32Store16 { memarg } | Operator::I64Store16 { memarg } => (memarg, 2, true),
        Operator::I32Store { memarg }
        | Operator::F32Store { memarg }
        | Operator::I64Store32 { memarg } => (memarg, 4, true),
        Operator::I64Store { memarg } | Operator::F64Store { memarg } => (memarg, 8, true),
        _ => return None,
    })
}
