//! A chain and its sub-tasklets as one module.
//!
//! ```text
//!   packages --plan--> parts, regions of memory --merge--> one module --> package
//!                                                 |
//!                            body, crossing, helper: the code
//! ```
//!
//! The module does what the chain does when a node runs each tasklet by itself: each call finds its
//! callee as it is at the start, lists are copied into the callee's area and back, and what fails a
//! call traps. A trap of a tasklet's own code is the same trap. What differs is what belongs to a
//! node and not to the tasklets: values need not fit a node's message buffer, the value stack of the
//! interpreter holds all tasklets at once, and fuel is one sum with the chain's ceiling.

mod body;
mod crossing;
mod error;
mod helper;
mod merge;
mod part;
mod plan;
mod shorter;

use std::collections::BTreeMap;

use nimblenet_tasklet::{Area, Capabilities, TaskletName};
use serde::Serialize;

pub use error::InlineError;

use crate::interface::{Import, Interface, MAX_IMPORTS};
use crate::layout::Layout;
use crate::{Draft, Manifest, Needs, PackError, Packed, Report, features, param_names};
use merge::{Merge, Merged};
use part::{Part, Target};
use plan::Plan;

/// What came out of [`inline`].
#[derive(Debug)]
pub struct Inlined {
    /// The package, and what was derived for it.
    pub packed: Packed,
    /// The tasklets that are in the module, the chain first.
    pub parts: Vec<InlinedPart>,
}

/// A tasklet that has become part of a module.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct InlinedPart {
    /// Full name.
    pub name: String,
    /// Length of its module.
    pub module_bytes: usize,
    /// Where its memory begins in the module's. The regions of tasklets that never run at the same
    /// time overlap.
    pub region_offset: u32,
    /// How many bytes of memory it has at most.
    pub region_bytes: u32,
}

/// Makes one module of the package `chain` and of the packages `with` of tasklets that it calls,
/// directly or not. Native tasklets, and those that are not given, stay calls. The package is called
/// `name`, or else as the chain.
///
/// ```
/// use nimblenet_pack::{Manifest, inline, pack};
///
/// let double = r#"(module (func (export "run") (param i32) (result i32)
///     (i32.shl (local.get 0) (i32.const 1))))"#;
/// let chain = r#"(module
///     (import "std/double" "run" (func $double (param i32) (result i32)))
///     (func (export "run") (param i32) (result i32)
///         (i32.add (call $double (local.get 0)) (i32.const 1))))"#;
/// let packed = |module: &str, name: &str| {
///     pack(module.as_bytes(), &Manifest::named(name.parse().unwrap()))
/// };
/// let (double, chain) = (packed(double, "std/double")?, packed(chain, "shop/odd")?);
///
/// let with = [("std/double".parse().unwrap(), double.file.as_slice())];
/// let inlined = inline(&chain.file, &with, None)?;
/// assert!(inlined.packed.report.imports.is_empty());
/// let parts = chain.report.module_bytes + double.report.module_bytes;
/// assert!(inlined.packed.report.module_bytes < parts);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`InlineError`] if the packages do not fit each other or cannot be one module.
pub fn inline(
    chain: &[u8],
    with: &[(TaskletName, &[u8])],
    name: Option<TaskletName>,
) -> Result<Inlined, InlineError> {
    inline_shortened(chain, with, name, &mut |_| None)
}

/// The same, with a module that `optimise` has made shorter, such as `wasm-opt -Oz` does: a module that
/// does the same and has the same imports and exports, or nothing. What is no shorter is not taken. It
/// is shown a memory of ordinary pages, which may be larger than that of the module.
///
/// # Errors
/// As [`inline`].
pub fn inline_shortened(
    chain: &[u8],
    with: &[(TaskletName, &[u8])],
    name: Option<TaskletName>,
    optimise: &mut dyn FnMut(&[u8]) -> Option<Vec<u8>>,
) -> Result<Inlined, InlineError> {
    let plan = Plan::make(chain, with)?;
    let mut merged = Merge::write(&plan)?;
    merged.module = shorter::shorter(merged.module, optimise);
    features::check(&merged.module)?;
    let needs = Needs::of(&merged.module, plan.memory_bytes);
    if let (None, Some(problem)) = (needs.linux_bytes, &needs.linux_problem) {
        return Err(PackError::Refused(problem.clone()).into());
    }
    let (manifest, interface, layout) = promises(chain, &plan, &merged);
    if interface.imports.len() > MAX_IMPORTS {
        return Err(PackError::TooManyImports.into());
    }
    let name = name.unwrap_or(plan.parts[0].name);
    if interface.imports.iter().any(|import| import.name == name) {
        return Err(InlineError::CallsItself(name));
    }
    let draft = Draft {
        name,
        manifest: &manifest,
        interface: &interface,
        layout: &layout,
        module: &merged.module,
    };
    let file = draft.encode(cost(&plan))?;
    let parts: Vec<_> = parts(&plan).collect();
    let module_bytes = parts.iter().map(|part| part.module_bytes).sum();
    let mut report = Report::of(&file, module_bytes);
    report.memory_bytes_before = plan.regions.iter().map(|it| u64::from(it.bytes)).sum();
    report.page_bytes = u64::from(plan.memory_bytes > 0);
    report.needs = Some(needs);
    Ok(Inlined {
        packed: Packed {
            file,
            report,
            names: None,
        },
        parts,
    })
}

fn parts(plan: &Plan<'_>) -> impl Iterator<Item = InlinedPart> {
    let regions = plan.regions.iter();
    plan.parts
        .iter()
        .zip(regions)
        .map(|(part, region)| InlinedPart {
            name: part.name.to_string(),
            module_bytes: part.package.module.len(),
            region_offset: region.base,
            region_bytes: region.bytes,
        })
}

/// What the package says: the chain's exports, area and ceiling on fuel, and what all parts want of
/// a node.
fn promises(chain: &[u8], plan: &Plan<'_>, merged: &Merged) -> (Manifest, Interface, Layout) {
    let root = &plan.parts[0];
    let terms = root.package.terms;
    let exports: Vec<_> = terms.exports().collect();
    let names = param_names(chain).unwrap_or_default();
    let names = exports.iter().map(|it| it.name.to_owned()).zip(names);
    let mut manifest = Manifest::named(root.name);
    manifest.fuel = terms.fuel;
    manifest.param_names = names.collect::<BTreeMap<_, _>>();
    let imports = merged.tasklets().filter_map(|(part, import)| {
        let import = &plan.parts[part].imports[import];
        match import.target {
            Target::Tasklet(signature) => Some(Import {
                name: import.module.parse().ok()?,
                export: import.field.to_owned(),
                signature,
            }),
            Target::Capability(_) | Target::Part { .. } => None,
        }
    });
    let capabilities = plan
        .parts
        .iter()
        .map(|part| part.package.terms.capabilities);
    let capabilities = capabilities.flat_map(Capabilities::iter);
    let interface = Interface {
        exports: exports
            .iter()
            .map(|it| (it.name.to_owned(), it.signature))
            .collect(),
        imports: imports.collect(),
        capabilities: capabilities.fold(Capabilities::NONE, Capabilities::with),
        notes: Vec::new(),
    };
    let layout = Layout {
        ceiling_bytes: plan.memory_bytes,
        area: Area {
            offset: terms.area.offset,
            len: terms.area.len,
        },
        ..Layout::default()
    };
    (manifest, interface, layout)
}

/// The fuel of a typical activation: that of the chain, and that of each tasklet in the module as
/// often as a call of it stands in the code; 0 if that of one is not known.
fn cost(plan: &Plan<'_>) -> u64 {
    fn of(plan: &Plan<'_>, at: usize) -> Option<u64> {
        let part: &Part<'_> = &plan.parts[at];
        let own = Some(part.package.terms.cost).filter(|cost| *cost > 0)?;
        part.imports
            .iter()
            .enumerate()
            .try_fold(own, |sum, (import, of_import)| {
                let Target::Part { part: callee, .. } = of_import.target else {
                    return Some(sum);
                };
                let calls = part.calls_of(import as u32).len() as u64;
                Some(sum.saturating_add(of(plan, callee)?.saturating_mul(calls)))
            })
    }
    of(plan, 0).unwrap_or(0)
}
