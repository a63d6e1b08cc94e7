//! The module that several become: every item has its index in it.

use nimblenet_tasklet::Capability;
use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{
    CodeSection, ConstExpr, DataCountSection, DataSection, ElementSection, EntityType, ExportKind,
    ExportSection, FunctionSection, GlobalSection, GlobalType, ImportSection, MemorySection,
    MemoryType, Module, StartSection, TableSection, TypeSection, ValType,
};
use wasmparser::{DataKind, ElementKind, FuncType};

use super::helper::{Bounds, Helper, Limit};
use super::part::{Import, Part, Target};
use super::plan::{Plan, Region};
use super::{InlineError, body, crossing};
use crate::PackError;

/// The chain among the parts.
const CHAIN: usize = 0;

/// A failure of the encoder, which valid modules do not meet.
pub(super) type Unencodable = reencode::Error<core::convert::Infallible>;

/// A function that stands between a caller and an import: it carries lists from one region to
/// another, or makes addresses the node's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Crossing {
    /// The part that calls.
    pub(super) caller: usize,
    /// The index of the import in it.
    pub(super) import: usize,
}

/// Where the items of one part begin among those of the module.
#[derive(Clone, Default, Debug)]
struct Bases {
    /// Those that the part defines.
    functions: u32,
    globals: u32,
    tables: u32,
    elements: u32,
    data: u32,
    /// The index of each type.
    types: Vec<u32>,
    /// The index of each imported function that stays one.
    imports: Vec<Option<u32>>,
    /// The global with the pages of a memory that grows.
    pages: Option<u32>,
}

/// How often code is needed that could be a helper's.
#[derive(Clone, Copy, Default, Debug)]
struct Uses {
    clears: usize,
    clamps: usize,
    /// By the logarithm of the elements' size.
    brings: [usize; 4],
}

impl Uses {
    fn of(plan: &Plan<'_>, crossings: &[Crossing]) -> Self {
        let mut uses = Self::default();
        for (part, region) in plan.parts.iter().zip(&plan.regions) {
            uses.clamps += if region.traps {
                0
            } else {
                part.unsure_accesses()
            };
        }
        for crossing in crossings {
            let import = &plan.parts[crossing.caller].imports[crossing.import];
            if let Target::Part { part, .. } = import.target {
                uses.clears += usize::from(plan.regions[part].bytes > 0);
            }
            for log2 in crossing::brings(plan, *crossing) {
                uses.brings[log2 as usize] += 1;
            }
        }
        uses
    }
}

/// The module while it is written.
pub(super) struct Merge<'p, 'm> {
    pub(super) plan: &'p Plan<'m>,
    types: Vec<FuncType>,
    /// What stays imported: the part and the import that were met first.
    imports: Vec<(usize, usize)>,
    bases: Vec<Bases>,
    crossings: Vec<Crossing>,
    /// Parts that several crossings call, which share a function that makes them as at the start.
    resets: Vec<usize>,
    helpers: Vec<Helper>,
    uses: Uses,
    /// The index of the first crossing.
    first_crossing: u32,
}

impl<'p, 'm> Merge<'p, 'm> {
    /// Writes the module of `plan`.
    ///
    /// # Errors
    /// [`InlineError`] for modules that were not valid.
    pub(super) fn write(plan: &'p Plan<'m>) -> Result<Merged, InlineError> {
        let mut merge = Self {
            plan,
            types: Vec::new(),
            imports: Vec::new(),
            bases: vec![Bases::default(); plan.parts.len()],
            crossings: Vec::new(),
            resets: Vec::new(),
            helpers: Vec::new(),
            uses: Uses::default(),
            first_crossing: 0,
        };
        merge.number();
        let module = merge.module();
        let module = module.map_err(|error| PackError::Invalid(error.to_string()))?;
        Ok(Merged {
            module,
            imports: merge.imports,
        })
    }

    /// The region of part `at` for code.
    pub(super) fn bounds(&self, at: usize) -> Bounds {
        let Region { base, bytes, .. } = self.plan.regions[at];
        let limit = match self.bases[at].pages {
            Some(global) => Limit::Pages {
                global,
                log2: self.plan.parts[at].page_log2(),
            },
            None => Limit::Fixed(bytes),
        };
        Bounds { base, limit }
    }

    /// The index of `helper`, which the module has from now on.
    pub(super) fn helper(&mut self, helper: Helper) -> u32 {
        let at = self.helpers.iter().position(|it| *it == helper);
        let at = at.unwrap_or_else(|| {
            self.helpers.push(helper);
            self.helpers.len() - 1
        });
        self.first_crossing + (self.crossings.len() + self.resets.len() + at) as u32
    }

    /// The index of what import `import` of part `caller` itself is.
    pub(super) fn target(&self, caller: usize, import: usize) -> u32 {
        let target = self.plan.parts[caller].imports[import].target;
        if let Target::Part { part, function, .. } = target {
            return self.function(part, function);
        }
        let kept = self.bases[caller].imports.get(import).copied().flatten();
        kept.expect("what is no part stays an import")
    }

    /// The index of function `function` of part `at`, as the part calls it: an import is what
    /// stands in between.
    pub(super) fn function(&self, at: usize, function: u32) -> u32 {
        let part = &self.plan.parts[at];
        if let Some(own) = function.checked_sub(part.imports.len() as u32) {
            return self.bases[at].functions + own;
        }
        let crossing = Crossing {
            caller: at,
            import: function as usize,
        };
        match self.crossings.iter().position(|it| *it == crossing) {
            Some(between) => self.first_crossing + between as u32,
            None => self.target(at, function as usize),
        }
    }

    /// The function that makes part `at` as it is at the start, if crossings share one.
    pub(super) fn reset(&self, at: usize) -> Option<u32> {
        let shared = self.resets.iter().position(|it| *it == at)?;
        Some(self.first_crossing + (self.crossings.len() + shared) as u32)
    }

    /// Whether a helper is shorter than its code at each place where it is needed.
    pub(super) fn is_worth(&self, helper: Helper) -> bool {
        match helper {
            Helper::Clear => self.uses.clears > 3,
            Helper::Bring(log2) => self.uses.brings[log2 as usize] > 2,
            Helper::Clamp => self.uses.clamps > 3,
            Helper::Reach
            | Helper::Span
            | Helper::Truth
            | Helper::Text
            | Helper::Grow { .. }
            | Helper::Copy(_)
            | Helper::Fill(_)
            | Helper::Init(..) => true,
        }
    }

    /// The global with the pages of part `at`, if its memory grows.
    pub(super) fn pages(&self, at: usize) -> Option<u32> {
        self.bases[at].pages
    }

    /// Translates the indices of part `at`.
    pub(super) fn renumber(&self, at: usize) -> Renumber<'_, 'p, 'm> {
        Renumber { merge: self, at }
    }

    /// Gives every item its index.
    fn number(&mut self) {
        let plan = self.plan;
        let (mut globals, mut tables, mut elements, mut data) = (0, 0, 0, 0);
        for (at, part) in plan.parts.iter().enumerate() {
            let types = part.types.iter().map(|ty| self.ty(ty)).collect();
            let imports = (0..part.imports.len()).map(|import| self.import(at, import));
            let imports = imports.collect();
            self.bases[at] = Bases {
                functions: 0,
                globals,
                tables,
                elements,
                data,
                types,
                imports,
                pages: None,
            };
            globals += part.globals.len() as u32;
            tables += part.tables.len() as u32;
            elements += part.elements.len() as u32;
            data += part.data.len() as u32;
        }
        let mut functions = self.imports.len() as u32;
        for (at, part) in plan.parts.iter().enumerate() {
            if part.grows() {
                self.bases[at].pages = Some(globals);
                globals += 1;
            }
            self.bases[at].functions = functions;
            functions += part.bodies.len() as u32;
        }
        self.first_crossing = functions;
        let parts = 0..plan.parts.len();
        let all = parts.flat_map(|caller| {
            let imports = 0..plan.parts[caller].imports.len();
            imports.map(move |import| Crossing { caller, import })
        });
        self.crossings = all.filter(|it| crossing::is_needed(plan, *it)).collect();
        self.resets = (1..plan.parts.len())
            .filter(|at| crossing::shares_reset(plan, &self.crossings, *at))
            .collect();
        self.uses = Uses::of(plan, &self.crossings);
    }

    /// The index of a type, which the module has from now on.
    fn ty(&mut self, ty: &FuncType) -> u32 {
        let at = self.types.iter().position(|it| it == ty);
        at.unwrap_or_else(|| {
            self.types.push(ty.clone());
            self.types.len() - 1
        }) as u32
    }

    /// The index of an import that stays one.
    fn import(&mut self, at: usize, import: usize) -> Option<u32> {
        let parts = &self.plan.parts;
        let of = |(part, import): (usize, usize)| &parts[part].imports[import];
        let same = |one: &Import<'_>, other: &Import<'_>| {
            (one.module, one.field, one.target) == (other.module, other.field, other.target)
        };
        let wanted = of((at, import));
        if let Target::Part { .. } = wanted.target {
            return None;
        }
        let found = self.imports.iter().position(|it| same(of(*it), wanted));
        Some(found.unwrap_or_else(|| {
            self.imports.push((at, import));
            self.imports.len() - 1
        }) as u32)
    }

    fn module(&mut self) -> Result<Vec<u8>, Unencodable> {
        let plan = self.plan;
        let mut functions = FunctionSection::new();
        let mut code = CodeSection::new();
        for (at, part) in plan.parts.iter().enumerate() {
            for (index, body) in part.bodies.iter().enumerate() {
                let ty = part.functions[part.imports.len() + index];
                functions.function(self.bases[at].types[ty as usize]);
                code.function(&body::rewritten(self, at, index, body)?);
            }
        }
        for crossing in self.crossings.clone() {
            let ty = plan.parts[crossing.caller].imports[crossing.import].ty;
            functions.function(self.bases[crossing.caller].types[ty as usize]);
            code.function(&crossing::function(self, crossing)?);
        }
        for at in self.resets.clone() {
            functions.function(self.ty(&FuncType::new([], [])));
            code.function(&crossing::reset_function(self, at)?);
        }
        self.add_helpers(&mut functions, &mut code);
        self.sections(&functions, &code)
    }

    /// Helpers may call others, which are added in turn.
    fn add_helpers(&mut self, functions: &mut FunctionSection, code: &mut CodeSection) {
        let mut at = 0;
        while let Some(helper) = self.helpers.get(at).copied() {
            let (params, result) = helper.ty();
            let i32s = |count| vec![wasmparser::ValType::I32; count];
            let ty = FuncType::new(i32s(params), i32s(usize::from(result)));
            functions.function(self.ty(&ty));
            let memory_bytes = self.plan.memory_bytes;
            code.function(&helper.body(memory_bytes, |other| self.helper(other)));
            at += 1;
        }
    }

    fn sections(
        &self,
        functions: &FunctionSection,
        code: &CodeSection,
    ) -> Result<Vec<u8>, Unencodable> {
        let mut out = Module::new();
        let mut renumber = self.renumber(CHAIN);
        let mut types = TypeSection::new();
        for ty in &self.types {
            types.ty().func_type(&renumber.func_type(ty.clone())?);
        }
        if !types.is_empty() {
            out.section(&types);
        }
        let mut imports = ImportSection::new();
        for (part, import) in &self.imports {
            let import_of = &self.plan.parts[*part].imports[*import];
            let ty = self.bases[*part].types[import_of.ty as usize];
            imports.import(import_of.module, import_of.field, EntityType::Function(ty));
        }
        if !imports.is_empty() {
            out.section(&imports);
        }
        if !functions.is_empty() {
            out.section(functions);
        }
        let tables = self.tables()?;
        if !tables.is_empty() {
            out.section(&tables);
        }
        if self.plan.parts.iter().any(Part::has_memory) {
            out.section(&self.memory());
        }
        let globals = self.globals()?;
        if !globals.is_empty() {
            out.section(&globals);
        }
        out.section(&self.exports());
        if let Some(start) = self.plan.parts[CHAIN].survey.start {
            let function_index = self.function(CHAIN, start);
            out.section(&StartSection { function_index });
        }
        let elements = self.elements()?;
        if !elements.is_empty() {
            out.section(&elements);
        }
        let (data, count) = self.data()?;
        if self.names_data() {
            out.section(&DataCountSection { count });
        }
        if !code.is_empty() {
            out.section(code);
        }
        if count > 0 {
            out.section(&data);
        }
        Ok(out.finish())
    }

    fn tables(&self) -> Result<TableSection, Unencodable> {
        let mut section = TableSection::new();
        for (at, part) in self.plan.parts.iter().enumerate() {
            for table in &part.tables {
                let table = table.clone();
                self.renumber(at).parse_table(&mut section, table)?;
            }
        }
        Ok(section)
    }

    fn memory(&self) -> MemorySection {
        let mut section = MemorySection::new();
        section.memory(MemoryType {
            minimum: self.plan.memory_bytes.into(),
            maximum: None,
            memory64: false,
            shared: false,
            page_size_log2: Some(0),
        });
        section
    }

    fn globals(&self) -> Result<GlobalSection, Unencodable> {
        let mut section = GlobalSection::new();
        for (at, part) in self.plan.parts.iter().enumerate() {
            for global in &part.globals {
                let global = global.clone();
                self.renumber(at).parse_global(&mut section, global)?;
            }
        }
        for part in self.plan.parts.iter().filter(|part| part.grows()) {
            let ty = GlobalType {
                val_type: ValType::I32,
                mutable: true,
                shared: false,
            };
            section.global(ty, &ConstExpr::i32_const(initial_pages(part)));
        }
        Ok(section)
    }

    fn exports(&self) -> ExportSection {
        let mut section = ExportSection::new();
        let chain = &self.plan.parts[CHAIN];
        for export in chain.package.terms.exports() {
            if let Some(function) = chain.export(export.name) {
                let index = self.function(CHAIN, function);
                section.export(export.name, ExportKind::Func, index);
            }
        }
        section
    }

    fn elements(&self) -> Result<ElementSection, Unencodable> {
        let mut section = ElementSection::new();
        for (at, part) in self.plan.parts.iter().enumerate() {
            for element in &part.elements {
                let mut renumber = self.renumber(at);
                if at > CHAIN && is_repeated(part, &element.kind) {
                    section.passive(renumber.element_items(element.items.clone())?);
                } else {
                    renumber.parse_element(&mut section, element.clone())?;
                }
            }
        }
        Ok(section)
    }

    fn data(&self) -> Result<(DataSection, u32), Unencodable> {
        let mut section = DataSection::new();
        let mut count = 0;
        for (at, part) in self.plan.parts.iter().enumerate() {
            for data in &part.data {
                if at > CHAIN {
                    section.passive(data.data.iter().copied());
                } else {
                    self.renumber(at).parse_data(&mut section, data.clone())?;
                }
                count += 1;
            }
        }
        Ok((section, count))
    }

    /// Whether an instruction names a data segment.
    fn names_data(&self) -> bool {
        let parts = &self.plan.parts;
        let named = parts.iter().any(|part| part.survey.names_data);
        named
            || parts.iter().skip(1).any(|part| {
                let mut data = part.data.iter();
                data.any(|data| matches!(data.kind, DataKind::Active { .. }))
            })
    }
}

/// Whether an element segment is copied at each call of a part: it fills a table that code changes.
pub(super) fn is_repeated(part: &Part<'_>, kind: &ElementKind<'_>) -> bool {
    match kind {
        ElementKind::Active { table_index, .. } => {
            part.changed_tables.contains(&table_index.unwrap_or(0))
        }
        ElementKind::Passive | ElementKind::Declared => false,
    }
}

/// The pages that the memory of `part` starts with.
pub(super) fn initial_pages(part: &Part<'_>) -> i32 {
    (part.initial_bytes() >> part.page_log2()) as u32 as i32
}

/// What came out.
pub(super) struct Merged {
    pub(super) module: Vec<u8>,
    /// What stays imported, as parts and their imports.
    pub(super) imports: Vec<(usize, usize)>,
}

impl Merged {
    /// The imports of tasklets that stay, in the module's order.
    pub(super) fn tasklets(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.imports.iter().copied()
    }
}

/// The function of a capability that takes an address: `nimblenet:log` `write`.
pub(super) fn takes_address(capability: Capability) -> bool {
    capability == Capability::Log
}

/// Translates the indices of a part into those of the module.
pub(super) struct Renumber<'r, 'p, 'm> {
    merge: &'r Merge<'p, 'm>,
    at: usize,
}

impl Reencode for Renumber<'_, '_, '_> {
    type Error = core::convert::Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, Unencodable> {
        Ok(self.merge.function(self.at, function))
    }

    fn type_index(&mut self, ty: u32) -> Result<u32, Unencodable> {
        Ok(self.merge.bases[self.at].types[ty as usize])
    }

    fn global_index(&mut self, global: u32) -> Result<u32, Unencodable> {
        Ok(self.merge.bases[self.at].globals + global)
    }

    fn table_index(&mut self, table: u32) -> Result<u32, Unencodable> {
        Ok(self.merge.bases[self.at].tables + table)
    }

    fn element_index(&mut self, element: u32) -> Result<u32, Unencodable> {
        Ok(self.merge.bases[self.at].elements + element)
    }

    fn data_index(&mut self, data: u32) -> Result<u32, Unencodable> {
        Ok(self.merge.bases[self.at].data + data)
    }

    fn mem_arg(
        &mut self,
        argument: wasmparser::MemArg,
    ) -> Result<wasm_encoder::MemArg, Unencodable> {
        let base = self.merge.plan.regions[self.at].base;
        // What is beyond 32 bits was beyond every memory before.
        let offset = argument.offset + u64::from(base);
        Ok(wasm_encoder::MemArg {
            offset: offset.min(u32::MAX.into()),
            ..reencode::utils::mem_arg(self, argument)?
        })
    }
}
