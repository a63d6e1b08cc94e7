//! One tasklet that is put into the module: its package and the sections of its module.

use nimblenet_tasklet::{Capability, Package, Signature, TaskletName};
use wasmparser::{
    Data, DataKind, Element, ElementKind, FuncType, FunctionBody, Global, Operator, Parser,
    Payload, Table, TypeRef,
};

use super::InlineError;
use crate::depth::{self, Depth};
use crate::survey::{Access, Callee, Survey, Value, initial_bytes, invalid, maximum_bytes};

/// A function that a module imports.
#[derive(Debug)]
pub(super) struct Import<'m> {
    pub(super) module: &'m str,
    pub(super) field: &'m str,
    /// The index of its type.
    pub(super) ty: u32,
    pub(super) target: Target,
}

/// What an imported function is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Target {
    /// A function of a capability.
    Capability(Capability),
    /// A function of a tasklet that stays a call.
    Tasklet(Signature),
    /// An export of another part.
    Part {
        part: usize,
        /// The index of the function in that part.
        function: u32,
        signature: Signature,
    },
}

/// A tasklet's module, read into its sections.
pub(super) struct Part<'m> {
    pub(super) name: TaskletName,
    pub(super) package: Package<'m>,
    pub(super) survey: Survey<'m>,
    pub(super) types: Vec<FuncType>,
    pub(super) imports: Vec<Import<'m>>,
    /// The types of all functions, imported ones first.
    pub(super) functions: Vec<u32>,
    pub(super) tables: Vec<Table<'m>>,
    pub(super) globals: Vec<Global<'m>>,
    pub(super) elements: Vec<Element<'m>>,
    pub(super) data: Vec<Data<'m>>,
    pub(super) bodies: Vec<FunctionBody<'m>>,
    exports: Vec<(&'m str, u32)>,
    /// Globals that code sets.
    pub(super) set_globals: Vec<u32>,
    /// Tables that code changes.
    pub(super) changed_tables: Vec<u32>,
    /// Something that code does to segments or tables and that stays.
    stays: Option<&'static str>,
    /// The highest that the stack pointer can be, if addresses in the stack are known.
    stack_top: Option<u32>,
}

impl<'m> Part<'m> {
    /// Reads the module of `package`.
    ///
    /// # Errors
    /// [`InlineError`] if the module is not valid or not as its package says.
    pub(super) fn read(name: TaskletName, package: Package<'m>) -> Result<Self, InlineError> {
        let survey = Survey::of(package.module)?;
        let mut part = Self {
            name,
            package,
            survey,
            types: Vec::new(),
            imports: Vec::new(),
            functions: Vec::new(),
            tables: Vec::new(),
            globals: Vec::new(),
            elements: Vec::new(),
            data: Vec::new(),
            bodies: Vec::new(),
            exports: Vec::new(),
            set_globals: Vec::new(),
            changed_tables: Vec::new(),
            stays: None,
            stack_top: None,
        };
        for payload in Parser::new(0).parse_all(package.module) {
            let payload = payload.map_err(invalid)?;
            part.section(payload).map_err(invalid)?;
        }
        part.link()?;
        part.look().map_err(invalid)?;
        part.stack_top = part.find_stack_top();
        let area = package.terms.area;
        let area_end = u64::from(area.offset) + u64::from(area.len);
        if area_end > part.initial_bytes() {
            return Err(InlineError::AreaOutside(name));
        }
        Ok(part)
    }

    /// The index of the exported function `name`.
    pub(super) fn export(&self, name: &str) -> Option<u32> {
        let found = self.exports.iter().find(|(own, _)| *own == name);
        found.map(|(_, index)| *index)
    }

    /// Whether it has a memory.
    pub(super) fn has_memory(&self) -> bool {
        self.survey.memory.is_some()
    }

    /// Bytes of memory at the start.
    pub(super) fn initial_bytes(&self) -> u64 {
        self.survey.memory.as_ref().map_or(0, initial_bytes)
    }

    /// The logarithm of its page size.
    pub(super) fn page_log2(&self) -> u32 {
        let memory = self.survey.memory.as_ref();
        memory
            .and_then(|memory| memory.page_size_log2)
            .unwrap_or(16)
    }

    /// Whether its memory may get larger.
    pub(super) fn grows(&self) -> bool {
        self.survey.grows_memory
    }

    /// The most pages that its memory may have on any node.
    pub(super) fn pages_max(&self) -> u64 {
        let Some(memory) = &self.survey.memory else {
            return 0;
        };
        if !self.grows() {
            return memory.initial;
        }
        let ceiling = u64::from(self.package.terms.memory_bytes);
        let most = maximum_bytes(memory).map_or(ceiling, |maximum| maximum.min(ceiling));
        (most >> self.page_log2()).max(memory.initial)
    }

    /// Whether each call can find it as it is at the start.
    ///
    /// # Errors
    /// [`InlineError`] says what stays.
    pub(super) fn check_repeatable(&self) -> Result<(), InlineError> {
        if self.package.terms.capabilities.has(Capability::Kv) {
            return Err(InlineError::KeepsValues(self.name));
        }
        match self.stays {
            Some(what) => Err(InlineError::NotRepeatable {
                tasklet: self.name,
                what,
            }),
            None => Ok(()),
        }
    }

    /// Whether `bytes` from an address are within the memory that it starts with, whatever happens;
    /// `function` is the index of the body that has the address.
    pub(super) fn is_within(&self, function: usize, address: Value, bytes: u64) -> bool {
        let memory = self.initial_bytes();
        match address {
            Value::Number(address) => u64::from(address) + bytes <= memory,
            Value::Stack { below, .. } if !self.survey.flows[function].aligns => {
                let Some(top) = self.stack_top else {
                    return false;
                };
                let end = i128::from(top) - i128::from(below) + i128::from(bytes);
                end <= i128::from(memory)
            }
            Value::Stack { .. } | Value::Parameter(_) | Value::Unknown => false,
        }
    }

    /// How many loads and stores are at addresses that are not known to be within the memory.
    pub(super) fn unsure_accesses(&self) -> usize {
        let bodies = self.bodies.iter().enumerate();
        let unsure = bodies.map(|(body, code)| {
            let operators = code
                .get_operators_reader()
                .into_iter()
                .flatten()
                .enumerate();
            let unsure = operators.filter(|(at, operator)| {
                let access = operator.as_ref().ok().and_then(Access::of);
                let address = self.survey.flows[body].operands.get(at);
                let address = address.and_then(|known| known.first().copied());
                access.is_some_and(|access| {
                    let reach = access.argument.offset + access.bytes();
                    !self.is_within(body, address.unwrap_or(Value::Unknown), reach)
                })
            });
            unsure.count()
        });
        unsure.sum()
    }

    /// The address that body `function` always has, if it runs only when the tasklet is called, where
    /// the stack pointer is what it is at the start.
    pub(super) fn exact(&self, function: usize, address: Value) -> Option<u32> {
        match address {
            Value::Number(address) => Some(address),
            Value::Stack { below, .. } if !self.survey.flows[function].aligns => {
                let index = (self.imports.len() + function) as u32;
                let mut flows = self.survey.flows.iter().flat_map(|flow| &flow.calls);
                let is_inner = flows.any(|call| call.callee == Callee::Function(index))
                    || self.survey.referenced.contains(&index);
                let top = self.stack_top.filter(|_| !is_inner)?;
                u32::try_from(i64::from(top) - below).ok()
            }
            Value::Stack { .. } | Value::Parameter(_) | Value::Unknown => None,
        }
    }

    /// The bodies that call import `import`, with what is known of the arguments of each call. A
    /// function in a table, or one that is exported again, is called with anything.
    pub(super) fn calls_of(&self, import: u32) -> Vec<(usize, Vec<Value>)> {
        let mut calls = Vec::new();
        for (body, flow) in self.survey.flows.iter().enumerate() {
            let operators = self.bodies[body].get_operators_reader();
            for (at, operator) in operators.into_iter().flatten().enumerate() {
                let Ok(Operator::Call { function_index }) = operator else {
                    continue;
                };
                if let Some(args) = flow.operands.get(&at).filter(|_| function_index == import) {
                    calls.push((body, args.clone()));
                }
            }
        }
        let is_exported = self.exports.iter().any(|(_, index)| *index == import);
        if is_exported || self.survey.referenced.contains(&import) {
            calls.push((0, Vec::new()));
        }
        calls
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the other sections say nothing of the code"
    )]
    fn section(&mut self, payload: Payload<'m>) -> Result<(), wasmparser::Error> {
        match payload {
            Payload::TypeSection(section) => {
                for ty in section.into_iter_err_on_gc_types() {
                    self.types.push(ty?);
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    let TypeRef::Func(ty) = import.ty else {
                        continue;
                    };
                    self.functions.push(ty);
                    self.imports.push(Import {
                        module: import.module,
                        field: import.name,
                        ty,
                        // Until the package says whose it is.
                        target: Target::Capability(Capability::Log),
                    });
                }
            }
            Payload::FunctionSection(section) => {
                for ty in section {
                    self.functions.push(ty?);
                }
            }
            Payload::TableSection(section) => self.tables = all(section)?,
            Payload::GlobalSection(section) => self.globals = all(section)?,
            Payload::ElementSection(section) => self.elements = all(section)?,
            Payload::DataSection(section) => self.data = all(section)?,
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    self.exports.push((export.name, export.index));
                }
            }
            Payload::CodeSectionEntry(body) => self.bodies.push(body),
            _ => {}
        }
        Ok(())
    }

    /// Says of each import whose it is.
    fn link(&mut self) -> Result<(), InlineError> {
        let mut promised = self.package.imports();
        for import in &mut self.imports {
            import.target = match Capability::from_module(import.module) {
                Some(capability) => Target::Capability(capability),
                None => {
                    let promised = promised.next().filter(|promised| {
                        promised.name.to_string() == import.module
                            && promised.export == import.field
                    });
                    let promised = promised.ok_or(InlineError::OtherImports(self.name))?;
                    Target::Tasklet(promised.signature)
                }
            };
        }
        match promised.next() {
            Some(_) => Err(InlineError::OtherImports(self.name)),
            None => Ok(()),
        }
    }

    /// Finds what the code changes besides memory.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the rest changes nothing but memory"
    )]
    fn look(&mut self) -> Result<(), wasmparser::Error> {
        for body in &self.bodies {
            for operator in body.get_operators_reader()? {
                let operator = operator?;
                if Access::of(&operator).is_some() {
                    continue;
                }
                match operator {
                    Operator::GlobalSet { global_index } => self.set_globals.push(global_index),
                    Operator::TableSet { table }
                    | Operator::TableFill { table }
                    | Operator::TableCopy {
                        dst_table: table, ..
                    } => self.changed_tables.push(table),
                    Operator::TableInit { table, elem_index } => {
                        self.changed_tables.push(table);
                        let segment = &self.elements[elem_index as usize];
                        if !matches!(segment.kind, ElementKind::Passive) {
                            self.stays = Some("copies from an element segment that is used up");
                        }
                    }
                    Operator::MemoryInit { data_index, .. } => {
                        let segment = &self.data[data_index as usize];
                        if !matches!(segment.kind, DataKind::Passive) {
                            self.stays = Some("copies from a data segment that is used up");
                        }
                    }
                    Operator::TableGrow { .. } => self.stays = Some("grows a table"),
                    Operator::DataDrop { .. } => self.stays = Some("drops a data segment"),
                    Operator::ElemDrop { .. } => self.stays = Some("drops an element segment"),
                    _ => {}
                }
            }
        }
        for list in [&mut self.set_globals, &mut self.changed_tables] {
            list.sort_unstable();
            list.dedup();
        }
        Ok(())
    }

    fn find_stack_top(&self) -> Option<u32> {
        let index = self
            .survey
            .stack_pointer
            .filter(|_| self.survey.keeps_stack())?;
        let top = self.survey.globals.get(index as usize)?.value?;
        let exports = self.exports.iter().map(|(_, index)| *index);
        let deepest = depth::of(&self.survey, exports.chain(self.survey.start));
        let fits = matches!(deepest, Depth::Bounded { bytes, .. } if bytes <= top);
        fits.then_some(top)
    }
}

fn all<'m, T: wasmparser::FromReader<'m>>(
    section: wasmparser::SectionLimited<'m, T>,
) -> Result<Vec<T>, wasmparser::Error> {
    section.into_iter().collect()
}
