//! The module as it is published: nothing that only tools need.

use std::collections::BTreeMap;

use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{
    CodeSection, ConstExpr, DataCountSection, DataSection, ElementSection, ExportKind,
    ExportSection, Function, FunctionSection, GlobalSection, ImportSection, MemorySection,
    MemoryType, Module, StartSection, TableSection, TypeSection,
};
use wasmparser::{ExternalKind, Parser, Payload};

use super::PackError;
use super::interface::Interface;
use super::layout::{Declared, Layout};
use super::survey::{Survey, invalid};

/// Writes `module` again with the memory and the stack of `layout` and the exports of `interface`,
/// without custom sections and unused globals, every number in its shortest form.
///
/// A constructor becomes the start function. If there is one already, a new function calls both.
///
/// # Errors
/// [`PackError::Invalid`] for a module that did not pass the survey.
pub(super) fn rewrite(
    module: &[u8],
    survey: &Survey<'_>,
    interface: &Interface,
    layout: &Layout,
) -> Result<Vec<u8>, PackError> {
    let mut rewriter = Rewriter::new(survey, interface, layout);
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.map_err(invalid)?;
        rewriter
            .section(payload)
            .map_err(|error| PackError::Invalid(error.to_string()))?;
    }
    rewriter.declare_function();
    rewriter.declare_memory();
    rewriter.declare_start();
    rewriter.flush_code();
    Ok(rewriter.out.finish())
}

struct Rewriter<'r> {
    out: Module,
    code: CodeSection,
    survey: &'r Survey<'r>,
    interface: &'r Interface,
    /// The memory to declare, until that is done.
    memory: Option<Declared>,
    keeps_memory: bool,
    /// Another initial value of the stack pointer.
    stack_top: Option<u32>,
    /// The start function to declare, until that is done.
    start: Option<u32>,
    /// The functions that a new start function calls.
    calls: Option<[u32; 2]>,
    /// The type of that function, until it is declared.
    undeclared: Option<u32>,
    renumber: Renumber,
}

/// New numbers of the globals that stay.
struct Renumber {
    globals: BTreeMap<u32, u32>,
}

impl Reencode for Renumber {
    type Error = core::convert::Infallible;

    fn global_index(&mut self, global: u32) -> Result<u32, reencode::Error> {
        Ok(*self
            .globals
            .get(&global)
            .expect("the survey has seen every use of a global"))
    }
}

impl<'r> Rewriter<'r> {
    fn new(survey: &'r Survey<'r>, interface: &'r Interface, layout: &'r Layout) -> Self {
        let globals = (0..).zip(&survey.used_globals);
        let globals = globals.map(|(new, old)| (*old, new)).collect();
        let constructor = survey.constructor().map(|(_, index)| index);
        let constructor = constructor.filter(|index| survey.start != Some(*index));
        let calls = survey
            .start
            .zip(constructor)
            .map(|(start, constructor)| [start, constructor]);
        let start = match calls {
            Some(_) => Some(survey.function_count()),
            None => survey.start.or(constructor),
        };
        Self {
            out: Module::new(),
            code: CodeSection::new(),
            survey,
            interface,
            memory: layout.declared,
            keeps_memory: layout.declared.is_some(),
            stack_top: layout.stack_top,
            start,
            calls,
            undeclared: calls.map(|[_, constructor]| survey.function_type_index(constructor)),
            renumber: Renumber { globals },
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "custom sections and everything that only tools need is left out"
    )]
    fn section(&mut self, payload: Payload<'_>) -> Result<(), reencode::Error> {
        if comes_after_functions(&payload) {
            self.declare_function();
        }
        if comes_after_memory(&payload) {
            self.declare_memory();
        }
        if comes_after_start(&payload) {
            self.declare_start();
        }
        let renumber = &mut self.renumber;
        match payload {
            Payload::TypeSection(from) => {
                let mut section = TypeSection::new();
                renumber.parse_type_section(&mut section, from)?;
                self.out.section(&section);
            }
            Payload::ImportSection(from) => {
                let mut section = ImportSection::new();
                renumber.parse_import_section(&mut section, from)?;
                self.out.section(&section);
            }
            Payload::FunctionSection(from) => {
                let mut section = FunctionSection::new();
                renumber.parse_function_section(&mut section, from)?;
                if let Some(ty) = self.undeclared.take() {
                    section.function(ty);
                }
                self.out.section(&section);
            }
            Payload::TableSection(from) => {
                let mut section = TableSection::new();
                renumber.parse_table_section(&mut section, from)?;
                self.out.section(&section);
            }
            Payload::ElementSection(from) => {
                let mut section = ElementSection::new();
                renumber.parse_element_section(&mut section, from)?;
                self.out.section(&section);
            }
            Payload::CodeSectionEntry(body) => {
                renumber.parse_function_body(&mut self.code, body)?;
            }
            Payload::GlobalSection(from) => self.globals(from)?,
            Payload::ExportSection(from) => self.exports(from)?,
            Payload::DataCountSection { count, .. } if self.survey.names_data => {
                self.out.section(&DataCountSection { count });
            }
            Payload::DataSection(from) if self.keeps_memory => {
                let mut section = DataSection::new();
                renumber.parse_data_section(&mut section, from)?;
                self.flush_code();
                self.out.section(&section);
            }
            _ => {}
        }
        Ok(())
    }

    /// Declares the new start function if the module has no functions of its own beside it.
    fn declare_function(&mut self) {
        if let Some(ty) = self.undeclared.take() {
            let mut section = FunctionSection::new();
            section.function(ty);
            self.out.section(&section);
        }
    }

    /// Says which function runs first, once.
    fn declare_start(&mut self) {
        if let Some(function_index) = self.start.take() {
            self.out.section(&StartSection { function_index });
        }
    }

    /// Declares the memory, once; a module may have had none, and lists need one.
    fn declare_memory(&mut self) {
        if let Some(declared) = self.memory.take() {
            let mut section = MemorySection::new();
            section.memory(MemoryType {
                minimum: declared.pages,
                maximum: declared.maximum,
                memory64: false,
                shared: false,
                page_size_log2: declared.page_size_log2,
            });
            self.out.section(&section);
        }
    }

    fn globals(
        &mut self,
        from: wasmparser::GlobalSectionReader<'_>,
    ) -> Result<(), reencode::Error> {
        let mut section = GlobalSection::new();
        for (index, global) in (0..).zip(from) {
            let global = global?;
            let top = self
                .stack_top
                .filter(|_| self.survey.stack_pointer == Some(index));
            if let Some(top) = top {
                let ty = self.renumber.global_type(global.ty)?;
                section.global(ty, &ConstExpr::i32_const(top as i32));
            } else if self.survey.used_globals.contains(&index) {
                self.renumber.parse_global(&mut section, global)?;
            }
        }
        if !section.is_empty() {
            self.out.section(&section);
        }
        Ok(())
    }

    fn exports(
        &mut self,
        from: wasmparser::ExportSectionReader<'_>,
    ) -> Result<(), reencode::Error> {
        let mut section = ExportSection::new();
        for export in from {
            let export = export?;
            if export.kind == ExternalKind::Func && self.interface.exports_function(export.name) {
                section.export(export.name, ExportKind::Func, export.index);
            }
        }
        self.out.section(&section);
        Ok(())
    }

    fn flush_code(&mut self) {
        if let Some(calls) = self.calls.take() {
            let mut function = Function::new([]);
            for callee in calls {
                function.instructions().call(callee);
            }
            function.instructions().end();
            self.code.function(&function);
        }
        if !self.code.is_empty() {
            self.out.section(&core::mem::take(&mut self.code));
        }
    }
}

fn comes_after_start(payload: &Payload<'_>) -> bool {
    matches!(
        payload,
        Payload::ElementSection(_)
            | Payload::DataCountSection { .. }
            | Payload::CodeSectionStart { .. }
            | Payload::DataSection(_)
    )
}

fn comes_after_memory(payload: &Payload<'_>) -> bool {
    comes_after_start(payload)
        || matches!(
            payload,
            Payload::GlobalSection(_) | Payload::ExportSection(_) | Payload::StartSection { .. }
        )
}

fn comes_after_functions(payload: &Payload<'_>) -> bool {
    comes_after_memory(payload)
        || matches!(
            payload,
            Payload::TableSection(_) | Payload::MemorySection(_)
        )
}
