//! What packing has derived, for people and scripts.

use core::fmt;
use std::collections::BTreeMap;

use nimblenet_tasklet::{Digest, Package};
use serde::Serialize;

use super::layout::Layout;
use super::stack::Need;
use super::{Needs, capability_names, named, param_names};

/// What was derived for a package.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Report {
    /// Full name.
    pub name: String,
    /// `wasm` or `native`.
    pub executor: &'static str,
    /// SHA-256 of the packed module, in hexadecimal.
    pub digest: String,
    /// Length of the module as it came.
    pub module_bytes_before: usize,
    /// Length of the packed module.
    pub module_bytes: usize,
    /// Length of the package file.
    pub package_bytes: usize,
    /// The memory that the module declared.
    pub memory_bytes_before: u64,
    /// The ceiling on its memory after packing.
    pub memory_bytes: u32,
    /// The page size of the memory; 0 without memory.
    pub page_bytes: u64,
    /// The stack in linear memory; nothing where the code has none.
    pub stack: Option<ReportedStack>,
    /// What a run needs on a node; nothing for a native tasklet.
    pub needs: Option<Needs>,
    /// Where lists cross.
    pub area: ReportedArea,
    /// Signatures by export.
    pub exports: BTreeMap<String, String>,
    /// Called tasklets, in the module's order.
    pub imports: Vec<ReportedImport>,
    /// Capabilities used.
    pub capabilities: Vec<&'static str>,
    /// Fuel ceiling.
    pub fuel: u64,
    /// Fuel of a typical activation; 0 if not known.
    pub cost: u64,
    /// What the author should know.
    pub notes: Vec<String>,
}

/// The stack in linear memory.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct ReportedStack {
    /// Bytes that the deepest calls take; nothing where only the manifest can say.
    pub needed_bytes: Option<u32>,
    /// Whether these are a bound that is perhaps never reached.
    pub bound: bool,
    /// Bytes that the module was linked with, if that is known.
    pub linked_bytes: Option<u32>,
    /// Whether the packer has put it elsewhere.
    pub placed: bool,
}

impl ReportedStack {
    pub(super) fn of(layout: &Layout) -> Option<Self> {
        let (stack, need) = layout.stack.as_ref()?;
        Some(Self {
            needed_bytes: need.bytes(),
            bound: matches!(need, Need::Bytes { bound: true, .. }),
            linked_bytes: stack.bytes(),
            placed: layout.stack_top.is_some_and(|top| top > stack.top),
        })
    }
}

impl fmt::Display for ReportedStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let linked = match self.linked_bytes {
            Some(bytes) => format!("{bytes} B"),
            None => "an unknown number of bytes".to_owned(),
        };
        match self.needed_bytes {
            Some(needed) => {
                let bound = if self.bound { "at most " } else { "" };
                let placed = if self.placed {
                    ", placed behind the data"
                } else {
                    ""
                };
                write!(f, "{bound}{needed} of {linked} needed{placed}")
            }
            None => write!(f, "{linked}, by the manifest's word"),
        }
    }
}

/// Where lists cross.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct ReportedArea {
    /// Address.
    pub offset: u32,
    /// Length in bytes.
    pub len: u32,
}

/// A called tasklet.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ReportedImport {
    /// Full name.
    pub name: String,
    /// Its export.
    pub export: String,
    /// The signature that the module was compiled against.
    pub signature: String,
}

impl Report {
    /// Reads a package that has just been written.
    pub(super) fn of(file: &[u8], module_bytes_before: usize) -> Self {
        let package = Package::decode(file).expect("the packer reads back what it writes");
        let terms = package.terms;
        let param_names = param_names(file).unwrap_or_default();
        Self {
            name: package.name.to_string(),
            executor: terms.executor.name(),
            digest: Digest::of(package.module).to_string(),
            module_bytes_before,
            module_bytes: package.module.len(),
            package_bytes: file.len(),
            memory_bytes_before: 0,
            memory_bytes: terms.memory_bytes,
            page_bytes: 0,
            stack: None,
            needs: None,
            area: ReportedArea {
                offset: terms.area.offset,
                len: terms.area.len,
            },
            exports: terms
                .exports()
                .enumerate()
                .map(|(at, export)| {
                    let names = param_names.get(at).map_or(&[][..], Vec::as_slice);
                    (export.name.to_owned(), named(&export.signature, names))
                })
                .collect(),
            imports: package
                .imports()
                .map(|import| ReportedImport {
                    name: import.name.to_string(),
                    export: import.export.to_owned(),
                    signature: import.signature.to_string(),
                })
                .collect(),
            capabilities: capability_names(terms.capabilities),
            fuel: terms.fuel,
            cost: terms.cost,
            notes: Vec::new(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} ({}), package {} B",
            self.name, self.executor, self.package_bytes
        )?;
        if self.executor == "wasm" {
            writeln!(
                f,
                "  module  {} B -> {} B",
                self.module_bytes_before, self.module_bytes
            )?;
            writeln!(
                f,
                "  memory  {} B -> {} B (area for lists: {} B at {})",
                self.memory_bytes_before, self.memory_bytes, self.area.len, self.area.offset
            )?;
        }
        if let Some(stack) = &self.stack {
            writeln!(f, "  stack   {stack}")?;
        }
        if let Some(needs) = &self.needs {
            writeln!(f, "  run     {needs}")?;
        }
        for (name, signature) in &self.exports {
            writeln!(f, "  export  {name}: {signature}")?;
        }
        for import in &self.imports {
            writeln!(
                f,
                "  calls   {} {}: {}",
                import.name, import.export, import.signature
            )?;
        }
        if !self.capabilities.is_empty() {
            writeln!(f, "  wants   {}", self.capabilities.join(", "))?;
        }
        let cost = match self.cost {
            0 => "not known".to_owned(),
            cost => cost.to_string(),
        };
        writeln!(f, "  fuel    at most {}, typically {cost}", self.fuel)?;
        for note in &self.notes {
            writeln!(f, "  note    {note}")?;
        }
        Ok(())
    }
}
