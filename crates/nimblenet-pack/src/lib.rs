//! The packer: from a WebAssembly module and a manifest to a package file.
//!
//! ```text
//!   module --survey--> facts --layout--> memory, area --rewrite--> stripped module --+
//!                        |                                                           |--> package
//!   manifest ------------+--interface--> exports, imports, capabilities -------------+
//! ```
//!
//! A package says what its module really needs: the memory is declared in bytes, custom sections
//! and exports for tools are gone, and the place where lists cross is known (spec/package.md).
//!
//! ```
//! use nimblenet_pack::{Manifest, pack};
//! use nimblenet_tasklet::Package;
//!
//! // Reserves a page of memory, and uses the first two bytes of it.
//! let module = r#"(module
//!     (memory (export "memory") 1)
//!     (global (export "__data_end") i32 (i32.const 2))
//!     (data (i32.const 0) "\07\00")
//!     (func (export "run") (param i32) (result i32)
//!         (i32.add (local.get 0) (i32.load16_u (i32.const 0)))))"#;
//! let manifest = Manifest::parse(
//!     r#"
//!     name = "shop/add-seven"
//!     exports = { run = "func(x: u32) -> u32" }
//!     example = "[35]"
//!     "#,
//! )?;
//! let packed = pack(module.as_bytes(), &manifest)?;
//!
//! // The package holds what becomes the tasklet's entry in a catalogue.
//! let package = Package::decode(&packed.file).expect("the packer writes packages");
//! assert_eq!(package.name, "shop/add-seven".parse().unwrap());
//! assert_eq!(package.terms.memory_bytes, 2);
//! let run = package.terms.export("").expect("it is the export `run`");
//! assert_eq!(run.signature.to_string(), "func(u32) -> u32");
//! // The fuel that the example took.
//! assert!(package.terms.cost > 0);
//! # Ok::<(), nimblenet_pack::PackError>(())
//! ```
//!
//! [`pack`] is the whole packer; [`Manifest`] is what an author says of a module, [`Report`] what
//! the packer has found out. [`values`] are arguments and results as people write them, which a
//! manifest's example is.

#![forbid(unsafe_code)]
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "a library for programs of an operating system"
)]

mod constructor;
mod depth;
mod error;
mod features;
mod inline;
mod interface;
mod layout;
mod manifest;
mod measure;
mod names;
mod needs;
mod report;
mod rewrite;
mod stack;
mod survey;
mod symbols;
#[cfg(test)]
mod tests;
mod types;
pub mod values;

use nimblenet_tasklet::{
    Capabilities, Executor, Export, NamedImport, Package, PackageFields, TaskletName, Terms,
};

pub use constructor::with_constructor;
pub use error::PackError;
pub use inline::{InlineError, Inlined, InlinedPart, inline, inline_shortened};
pub use manifest::Manifest;
pub use names::{named, param_names};
pub use needs::Needs;
pub use report::{Report, ReportedArea, ReportedImport, ReportedStack};
pub use symbols::Names;

use interface::Interface;
use layout::Layout;
use survey::Survey;

/// A package takes at most this many bytes besides its module.
const HEADER_BYTES_MAX: usize = 4096;

/// What came out of [`pack`].
#[derive(Debug)]
pub struct Packed {
    /// The package file.
    pub file: Vec<u8>,
    /// What was derived.
    pub report: Report,
    /// The names of the module's functions, which the package does not have; none if the module had
    /// no names.
    pub names: Option<Names>,
}

/// Checks that `module`, a WebAssembly binary, is one that a tasklet may have, whatever its functions
/// are: valid, without features that tasklets have not, with imports of functions only, and with
/// segments that are within their memory or table.
///
/// # Errors
/// [`PackError`], as for [`pack`].
pub fn check(module: &[u8]) -> Result<(), PackError> {
    Survey::of(module).map(drop)
}

/// Packs `module`, a WebAssembly binary or its text form; empty for a native tasklet.
///
/// # Errors
/// [`PackError`] says what is wrong with the module or the manifest, or between them.
pub fn pack(module: &[u8], manifest: &Manifest) -> Result<Packed, PackError> {
    let name = manifest.name.ok_or(PackError::NoName)?;
    match manifest.executor {
        Executor::Native if !module.is_empty() => Err(PackError::ModuleOfNative),
        Executor::Native => pack_native(name, manifest),
        Executor::Wasm if module.is_empty() => Err(PackError::NoModule),
        Executor::Wasm => pack_wasm(name, module, manifest),
    }
}

fn pack_wasm(name: TaskletName, source: &[u8], manifest: &Manifest) -> Result<Packed, PackError> {
    let binary = wat::parse_bytes(source).map_err(|error| PackError::Text(error.to_string()))?;
    let survey = Survey::of(&binary)?;
    let interface = Interface::derive(&survey, manifest)?;
    let depth = depth::of(&survey, interface.roots(&survey));
    let layout = Layout::derive(&survey, &interface, manifest, &depth)?;
    let module = rewrite::rewrite(&binary, &survey, &interface, &layout)?;
    features::check(&module)?;

    let needs = Needs::of(&module, layout.ceiling_bytes);
    // The interpreter of nodes takes the module too; how much room a node has is its own affair.
    if let (None, Some(problem)) = (needs.linux_bytes, &needs.linux_problem) {
        return Err(PackError::Refused(problem.clone()));
    }

    let draft = Draft {
        name,
        manifest,
        interface: &interface,
        layout: &layout,
        module: &module,
    };
    let uncosted = draft.encode(0)?;
    let (cost, unmeasured) = measure::cost(&uncosted, manifest)?;
    let file = match cost {
        0 => uncosted,
        cost => draft.encode(cost)?,
    };
    let mut report = Report::of(&file, binary.len());
    report.memory_bytes_before = layout.bytes_before;
    report.page_bytes = layout.page_bytes();
    report.stack = ReportedStack::of(&layout);
    report.needs = Some(needs);
    report.notes.extend(interface.notes);
    report.notes.extend(layout.notes);
    report.notes.extend(unmeasured);
    // Rewriting keeps every function where it is.
    let names = Names::of(name, &binary, &module);
    let names = Some(names).filter(|names| !names.is_empty());
    Ok(Packed {
        file,
        report,
        names,
    })
}

fn pack_native(name: TaskletName, manifest: &Manifest) -> Result<Packed, PackError> {
    let interface = Interface::of_native(manifest)?;
    if manifest.memory_bytes.is_some()
        || manifest.heap_bytes.is_some()
        || manifest.area_bytes.is_some()
    {
        return Err(PackError::MemoryOfNative);
    }
    let draft = Draft {
        name,
        manifest,
        interface: &interface,
        layout: &Layout::default(),
        module: &[],
    };
    let file = draft.encode(manifest.cost.unwrap_or(0))?;
    let report = Report::of(&file, 0);
    Ok(Packed {
        file,
        report,
        names: None,
    })
}

/// Everything a package is encoded from, besides the cost.
struct Draft<'d> {
    name: TaskletName,
    manifest: &'d Manifest,
    interface: &'d Interface,
    layout: &'d Layout,
    module: &'d [u8],
}

impl Draft<'_> {
    fn encode(&self, cost: u64) -> Result<Vec<u8>, PackError> {
        let exports = self.interface.exports.iter();
        let exports: Vec<_> = exports
            .map(|(name, signature)| Export {
                name,
                signature: *signature,
            })
            .collect();
        let imports = self.interface.imports.iter();
        let imports: Vec<_> = imports
            .map(|import| NamedImport {
                name: import.name,
                export: &import.export,
                signature: import.signature,
            })
            .collect();
        let mut space = vec![0; HEADER_BYTES_MAX];
        let mut terms = Terms::empty();
        terms.executor = self.manifest.executor;
        terms.memory_bytes = self.layout.ceiling_bytes;
        terms.fuel = self.manifest.fuel;
        terms.cost = cost;
        terms.area = self.layout.area;
        terms.capabilities = self.interface.capabilities;
        let terms = terms
            .with_exports(&exports, &mut space)
            .ok_or(PackError::TooManyExports)?;
        let fields = PackageFields {
            name: self.name,
            terms,
            imports: &imports,
            module: self.module,
        };
        let mut file = vec![0; self.module.len() + HEADER_BYTES_MAX];
        let len = fields.encode(&mut file).ok_or(PackError::TooLong)?;
        file.truncate(len);
        let names = self.interface.exports.iter();
        let names = names.map(|(name, _)| self.manifest.param_names.get(name).cloned());
        let names: Vec<_> = names.map(Option::unwrap_or_default).collect();
        names::append(&mut file, &names);
        Package::decode(&file).map_err(PackError::Encoding)?;
        Ok(file)
    }
}

/// The names of `capabilities`, for messages.
fn capability_names(capabilities: Capabilities) -> Vec<&'static str> {
    capabilities
        .iter()
        .map(|capability| capability.name())
        .collect()
}
