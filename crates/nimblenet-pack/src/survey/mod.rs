//! What a module has and uses, read from its binary in two passes.
//!
//! The first reads the sections and finds the global that is the stack pointer; the second what
//! each function does with stack and memory (`flow`).

mod access;
pub(super) mod constant;
mod flow;
mod pointer;
mod value;

use std::collections::{BTreeMap, BTreeSet};

use wasmparser::{
    DataKind, ElementItems, ElementKind, ExternalKind, FuncType, FuncValidatorAllocations,
    FunctionBody, GlobalType, KnownCustom, MemoryType, Name, Operator, Parser, Payload, TypeRef,
    ValidPayload, Validator,
};

use super::PackError;
use super::features;
pub(super) use access::Access;
pub(super) use flow::{Callee, Flow};
use pointer::Pointers;
pub(super) use value::Value;

/// Exported functions that set up a module's state, in the order in which they are looked for:
/// that of a WASI reactor, and the constructors themselves where the linker exports them.
pub(super) const CONSTRUCTORS: [&str; 2] = ["_initialize", "__wasm_call_ctors"];

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
    /// Its initial value, if it is an `i32`.
    pub(super) value: Option<u32>,
}

/// Facts about a valid module.
#[derive(Default, Debug)]
pub(super) struct Survey<'m> {
    types: Vec<FuncType>,
    functions: Vec<u32>,
    exports: Vec<(&'m str, ExternalKind, u32)>,
    names: BTreeMap<u32, &'m str>,
    pub(super) imports: Vec<ImportedFunction<'m>>,
    pub(super) globals: Vec<Global>,
    pub(super) memory: Option<MemoryType>,
    /// The start function.
    pub(super) start: Option<u32>,
    /// Where active data segments and the stretches that the code fills end.
    pub(super) data_end: u64,
    /// Where the first active data segment begins.
    pub(super) data_start: Option<u64>,
    /// Globals that code refers to.
    pub(super) used_globals: BTreeSet<u32>,
    /// Whether any instruction touches memory.
    pub(super) touches_memory: bool,
    /// Whether any instruction asks for the memory's size or changes it.
    pub(super) sizes_memory: bool,
    /// Whether any instruction changes it.
    pub(super) grows_memory: bool,
    /// Whether any instruction refers to a data segment by number.
    pub(super) names_data: bool,
    /// Numbers in the code that may be addresses of data: constants and offsets.
    pub(super) numbers: BTreeSet<u32>,
    /// Where the last access at an address that stands in the code ends.
    pub(super) static_end: u64,
    /// The global that is the stack pointer.
    pub(super) stack_pointer: Option<u32>,
    /// What each function that the module defines does.
    pub(super) flows: Vec<Flow>,
    /// Functions that a table may hold.
    pub(super) referenced: BTreeSet<u32>,
    /// Initial lengths of the tables.
    tables: Vec<u64>,
    pointers: Pointers,
}

impl<'m> Survey<'m> {
    /// Validates and reads `module`.
    ///
    /// # Errors
    /// [`PackError`] if it is not valid, has features that tasklets have not, imports something
    /// other than functions, or has a segment that does not fit, so that it never starts.
    pub(super) fn of(module: &'m [u8]) -> Result<Self, PackError> {
        features::check(module)?;
        let mut survey = Self::default();
        for payload in Parser::new(0).parse_all(module) {
            survey.read(payload.map_err(invalid)?)?;
        }
        survey.stack_pointer = survey.find_stack_pointer();
        survey.trace(module).map_err(invalid)?;
        Ok(survey)
    }

    /// The exported functions with their indices and types, in the module's order. Constructors
    /// are none: nobody calls them.
    pub(super) fn exported_functions(&self) -> impl Iterator<Item = (&'m str, u32, &FuncType)> {
        let constructor = self.constructor();
        self.exports
            .iter()
            .filter(|(_, kind, _)| *kind == ExternalKind::Func)
            .map(|(name, _, index)| (*name, *index, self.function_type(*index)))
            .filter(move |(name, ..)| Some(*name) != constructor.map(|(name, _)| name))
    }

    /// The exported function that sets up the module's state, and its index.
    pub(super) fn constructor(&self) -> Option<(&'m str, u32)> {
        let find = |wanted: &&str| {
            let exports = self.exports.iter();
            let mut functions = exports.filter(|(_, kind, _)| *kind == ExternalKind::Func);
            functions.find(|(name, ..)| name == wanted)
        };
        let (name, _, index) = CONSTRUCTORS.iter().find_map(find)?;
        Some((*name, *index))
    }

    /// The type of function `index`, imported ones counted first.
    pub(super) fn function_type(&self, index: u32) -> &FuncType {
        &self.types[self.functions[index as usize] as usize]
    }

    /// The index of that type.
    pub(super) fn function_type_index(&self, index: u32) -> u32 {
        self.functions[index as usize]
    }

    /// How many functions the module has, imported ones included.
    pub(super) fn function_count(&self) -> u32 {
        self.functions.len() as u32
    }

    /// What function `index` does; nothing of an imported one.
    pub(super) fn flow(&self, index: u32) -> Option<&Flow> {
        let defined = (index as usize).checked_sub(self.imports.len())?;
        self.flows.get(defined)
    }

    /// The bytes that the memory may grow to by the module's own word: its maximum if the code grows
    /// it, else what it starts with.
    pub(super) fn memory_bytes(&self) -> u64 {
        let Some(memory) = &self.memory else {
            return 0;
        };
        let maximum = maximum_bytes(memory).filter(|_| self.grows_memory);
        maximum.unwrap_or_else(|| initial_bytes(memory))
    }

    /// Whether every function leaves the stack pointer as it was, and none raises it, so that it is
    /// never above its initial value.
    pub(super) fn keeps_stack(&self) -> bool {
        self.stack_pointer.is_some() && self.flows.iter().all(|flow| !flow.varies && !flow.raises)
    }

    /// Whether the code grows a memory that has no maximum.
    pub(super) fn grows_without_limit(&self) -> bool {
        self.grows_memory && self.memory.is_some_and(|memory| memory.maximum.is_none())
    }

    /// The functions that an indirect call of type `ty` may reach.
    pub(super) fn candidates(&self, ty: u32) -> impl Iterator<Item = u32> {
        let wanted = &self.types[ty as usize];
        self.referenced
            .iter()
            .copied()
            .filter(move |function| self.function_type(*function) == wanted)
    }

    /// A function's name for messages.
    pub(super) fn function_name(&self, index: u32) -> String {
        let exported = self.exports.iter();
        let exported = exported
            .filter(|(_, kind, of)| *kind == ExternalKind::Func && *of == index)
            .map(|(name, ..)| *name)
            .next();
        match self.names.get(&index).copied().or(exported) {
            Some(name) => format!("`{name}`"),
            None => format!("function {index}"),
        }
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

    fn find_stack_pointer(&self) -> Option<u32> {
        let exported = self.exports.iter();
        let exported = exported
            .filter(|(name, kind, _)| *kind == ExternalKind::Global && pointer::is_name(name))
            .map(|(_, _, index)| *index)
            .next();
        let memory_bytes = self.memory.map_or(0, |memory| initial_bytes(&memory));
        self.pointers
            .choose(exported, &self.globals, &self.used_globals, memory_bytes)
    }

    fn read(&mut self, payload: Payload<'m>) -> Result<(), PackError> {
        if let Payload::CodeSectionEntry(body) = &payload {
            return self.read_body(body).map_err(invalid);
        }
        if let Payload::ImportSection(section) = payload {
            return self.read_imports(section);
        }
        if let Payload::DataSection(section) = payload {
            return self.read_data(section);
        }
        if let Payload::ElementSection(section) = payload {
            return self.read_elements(section);
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
                TypeRef::Memory(_) => {
                    "imported memory: link without --import-memory (AssemblyScript: importMemory)"
                }
                TypeRef::Global(_) => "imported globals: link without -pie and -shared",
                TypeRef::Table(_) => "imported tables: link without --import-table",
                TypeRef::Tag(_) | TypeRef::FuncExact(_) => "imports other than functions",
            };
            return Err(PackError::Unsupported(what.to_owned()));
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
            Payload::TableSection(section) => {
                for table in section {
                    self.tables.push(table?.ty.initial);
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
            Payload::StartSection { func, .. } => self.start = Some(func),
            Payload::CustomSection(section) => {
                if let KnownCustom::Name(names) = section.as_known() {
                    self.read_names(names);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn read_data(&mut self, section: wasmparser::DataSectionReader<'m>) -> Result<(), PackError> {
        let memory = self.memory.as_ref().map_or(0, initial_bytes);
        for (index, data) in (0..).zip(section) {
            let data = data.map_err(invalid)?;
            let DataKind::Active { offset_expr, .. } = &data.kind else {
                continue;
            };
            let start = self.constant(offset_expr).map_err(invalid)?;
            let start = start.map_or(0, u64::from);
            let end = start + data.data.len() as u64;
            if end > memory {
                return Err(PackError::SegmentBeyond {
                    segment: format!("data segment {index}"),
                    end,
                    room: format!("the memory has {memory} bytes"),
                });
            }
            let first = self.data_start.map_or(start, |first| first.min(start));
            self.data_start = Some(first);
            self.data_end = self.data_end.max(end);
        }
        Ok(())
    }

    fn read_elements(
        &mut self,
        section: wasmparser::ElementSectionReader<'m>,
    ) -> Result<(), PackError> {
        for (index, element) in (0..).zip(section) {
            let element = element.map_err(invalid)?;
            let count = self.read_items(&element.items).map_err(invalid)?;
            let ElementKind::Active {
                table_index,
                offset_expr,
            } = &element.kind
            else {
                continue;
            };
            let start = self.constant(offset_expr).map_err(invalid)?;
            let end = start.map_or(0, u64::from) + u64::from(count);
            let table = table_index.unwrap_or(0) as usize;
            let room = self.tables.get(table).copied().unwrap_or(0);
            if end > room {
                return Err(PackError::SegmentBeyond {
                    segment: format!("element segment {index}"),
                    end,
                    room: format!("table {table} has {room} elements"),
                });
            }
        }
        Ok(())
    }

    /// Notes the functions in an element segment; returns how many elements it has.
    fn read_items(&mut self, items: &ElementItems<'m>) -> Result<u32, wasmparser::Error> {
        match items {
            ElementItems::Functions(functions) => {
                for function in functions.clone() {
                    self.referenced.insert(function?);
                }
                Ok(functions.count())
            }
            ElementItems::Expressions(_, items) => {
                for item in items.clone() {
                    self.constant(&item?)?;
                }
                Ok(items.count())
            }
        }
    }

    /// Reads what a module's functions and globals are called. Names are for tools, so what cannot
    /// be read of them is no fault.
    fn read_names(&mut self, names: wasmparser::NameSectionReader<'m>) {
        for name in names.into_iter().flatten() {
            if let Name::Function(functions) = name {
                let functions = functions.into_iter().flatten();
                self.names.extend(functions.map(|it| (it.index, it.name)));
            } else if let Name::Global(globals) = name {
                let mut globals = globals.into_iter().flatten();
                let named = globals.find(|global| pointer::is_name(global.name));
                self.pointers.named = named.map(|global| global.index);
            }
        }
    }

    /// The value of an initial expression if it is an `i32`; notes the functions in it.
    fn constant(
        &mut self,
        expression: &wasmparser::ConstExpr<'_>,
    ) -> Result<Option<u32>, wasmparser::Error> {
        for operator in expression.get_operators_reader() {
            let operator = operator?;
            if let Operator::RefFunc { function_index } = operator {
                self.referenced.insert(function_index);
            }
        }
        constant::value(expression)
    }

    fn read_body(&mut self, body: &FunctionBody<'_>) -> Result<(), wasmparser::Error> {
        self.pointers.begin();
        for operator in body.get_operators_reader()? {
            let operator = operator?;
            self.touches_memory |= Access::of(&operator).is_some();
            self.pointers.push(&operator);
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
            Operator::RefFunc { function_index } => {
                self.referenced.insert(*function_index);
            }
            Operator::MemorySize { .. } | Operator::MemoryGrow { .. } => {
                self.touches_memory = true;
                self.sizes_memory = true;
                self.grows_memory |= matches!(operator, Operator::MemoryGrow { .. });
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

    /// Finds out what each function does.
    fn trace(&mut self, module: &[u8]) -> Result<(), wasmparser::Error> {
        let mut validator = Validator::new_with_features(features::allowed());
        let mut spare = FuncValidatorAllocations::default();
        let memory_bytes = self.memory.as_ref().map_or(0, initial_bytes);
        for payload in Parser::new(0).parse_all(module) {
            let ValidPayload::Func(function, body) = validator.payload(&payload?)? else {
                continue;
            };
            let mut function = function.into_validator(spare);
            let around = flow::Around {
                pointer: self.stack_pointer,
                globals: &self.globals,
                memory_bytes,
                ty: self.function_type(function.index()),
            };
            let flow = flow::trace(&body, &mut function, &around)?;
            spare = function.into_allocations();
            self.static_end = self.static_end.max(flow.static_end);
            self.data_end = self.data_end.max(flow.filled_end);
            self.numbers.extend(&flow.numbers);
            self.flows.push(flow);
        }
        Ok(())
    }
}

/// How many bytes a memory may have, if it says so.
pub(super) fn maximum_bytes(memory: &MemoryType) -> Option<u64> {
    let page_log2 = memory.page_size_log2.unwrap_or(16);
    Some(memory.maximum? << page_log2)
}

/// How many bytes a memory has at first.
pub(super) fn initial_bytes(memory: &MemoryType) -> u64 {
    memory.initial << memory.page_size_log2.unwrap_or(16)
}
