//! Which tasklets become one module, and where each one's memory lies.
//!
//! A caller waits while its callee runs, so a callee's region begins behind those of all that may
//! wait for it. Tasklets that never run at the same time share bytes:
//!
//! ```text
//!   chain  | region of the chain |
//!   crest                        | region of crest |
//!   rms                                    | region of rms |
//!   zscore                               | region of zscore |
//!          0                                               end
//! ```
//!
//! The region of a tasklet that has no region behind it ends where the memory ends, so that what is
//! beyond traps by itself, as it does in a memory of its own.

use nimblenet_tasklet::{Package, TaskletName};

use super::InlineError;
use super::part::{Part, Target};

/// Regions begin at a multiple of this, unless they must end with the memory.
const REGION_ALIGN: u64 = 8;
/// The most bytes of memory that any node gives; an address beyond this and its offset never wrap.
const MEMORY_BYTES_MAX: u64 = 1 << 30;

/// A stretch of the module's memory that is one tasklet's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Region {
    /// Where it begins.
    pub(super) base: u32,
    /// How many bytes it has at most.
    pub(super) bytes: u32,
    /// Whether every access beyond it is one beyond the module's memory.
    pub(super) traps: bool,
}

/// The tasklets that become one module, the chain first, and where their memories lie.
pub(super) struct Plan<'m> {
    pub(super) parts: Vec<Part<'m>>,
    pub(super) regions: Vec<Region>,
    pub(super) memory_bytes: u32,
}

impl<'m> Plan<'m> {
    /// Resolves the calls of `chain` to the tasklets of `with`, and lays out their memories.
    ///
    /// # Errors
    /// [`InlineError`] if packages do not fit each other or cannot be one module.
    pub(super) fn make(
        chain: &'m [u8],
        with: &[(TaskletName, &'m [u8])],
    ) -> Result<Self, InlineError> {
        let mut parts = read(chain, with)?;
        resolve(&mut parts)?;
        let order = order(&parts)?;
        for (at, part) in parts.iter().enumerate().skip(1) {
            if !order.contains(&at) {
                return Err(InlineError::CalledByNobody(part.name));
            }
            part.check_repeatable()?;
        }
        let mut plan = Self {
            regions: vec![Region::default(); parts.len()],
            parts,
            memory_bytes: 0,
        };
        plan.lay(&order)?;
        Ok(plan)
    }

    /// The parts that part `caller` calls, each as often as it imports a function of it.
    fn callees(&self, caller: usize) -> impl Iterator<Item = usize> + '_ {
        callees(&self.parts[caller])
    }

    /// Lays out the memories; `order` has callers before their callees.
    fn lay(&mut self, order: &[usize]) -> Result<(), InlineError> {
        let mut bases = vec![0u64; self.parts.len()];
        let mut sizes = vec![0u64; self.parts.len()];
        let mut total = 0;
        for at in order {
            let part = &self.parts[*at];
            sizes[*at] = part.pages_max() << part.page_log2();
            let end = bases[*at] + sizes[*at];
            total = total.max(end);
            for callee in self.callees(*at) {
                bases[callee] = bases[callee].max(end.next_multiple_of(REGION_ALIGN));
            }
        }
        if total > MEMORY_BYTES_MAX {
            return Err(InlineError::MemoryTooLarge);
        }
        // Callees first: whether any behind a part has a memory.
        let mut behind = vec![false; self.parts.len()];
        for at in order.iter().rev() {
            let mut callees = self.callees(*at);
            behind[*at] = callees.any(|callee| behind[callee] || sizes[callee] > 0);
        }
        for at in order {
            let last = *at > 0 && !behind[*at];
            let base = if last { total - sizes[*at] } else { bases[*at] };
            let ends = base + sizes[*at] == total;
            self.regions[*at] = Region {
                base: base as u32,
                bytes: sizes[*at] as u32,
                traps: ends && !self.parts[*at].grows(),
            };
        }
        self.memory_bytes = total as u32;
        Ok(())
    }
}

fn read<'m>(
    chain: &'m [u8],
    with: &[(TaskletName, &'m [u8])],
) -> Result<Vec<Part<'m>>, InlineError> {
    let decode = |of, file| Package::decode(file).map_err(|why| InlineError::Package { of, why });
    let package = decode(None, chain)?;
    if !package.terms.executor.has_module() {
        return Err(InlineError::NativeChain(package.name));
    }
    let mut parts = vec![Part::read(package.name, package)?];
    for (at, (name, file)) in with.iter().enumerate() {
        if with[..at].iter().any(|(other, _)| other == name) {
            return Err(InlineError::Twice(*name));
        }
        let package = decode(Some(*name), file)?;
        if package.name != *name {
            let names = Box::new([*name, package.name]);
            return Err(InlineError::OtherName(names));
        }
        // What the device has stays a call.
        if package.terms.executor.has_module() {
            parts.push(Part::read(*name, package)?);
        }
    }
    Ok(parts)
}

/// Points the imports of all parts at the parts that they name.
fn resolve(parts: &mut [Part<'_>]) -> Result<(), InlineError> {
    for at in 0..parts.len() {
        for import in 0..parts[at].imports.len() {
            let Target::Tasklet(expected) = parts[at].imports[import].target else {
                continue;
            };
            let (module, field) = (
                parts[at].imports[import].module,
                parts[at].imports[import].field,
            );
            let callee = parts
                .iter()
                .position(|part| part.name.to_string() == module);
            let Some(callee) = callee else {
                continue;
            };
            let names = [parts[at].name, parts[callee].name].map(|name| name.to_string());
            let promised = parts[callee].package.terms.export(field);
            let function = parts[callee].export(field);
            let (Some(promised), Some(function)) = (promised, function) else {
                let [caller, callee] = names;
                return Err(InlineError::NoExport {
                    caller,
                    callee,
                    export: field.to_owned(),
                });
            };
            if promised.signature != expected {
                let [caller, callee] = names;
                return Err(InlineError::OtherSignature {
                    caller,
                    callee,
                    export: field.to_owned(),
                    expected: expected.to_string(),
                    found: promised.signature.to_string(),
                });
            }
            parts[at].imports[import].target = Target::Part {
                part: callee,
                function,
                signature: expected,
            };
        }
    }
    Ok(())
}

fn callees<'p>(part: &'p Part<'_>) -> impl Iterator<Item = usize> + 'p {
    part.imports
        .iter()
        .filter_map(|import| match import.target {
            Target::Part { part, .. } => Some(part),
            Target::Capability(_) | Target::Tasklet(_) => None,
        })
}

/// The parts that the first calls, directly or not, callers before their callees.
fn order(parts: &[Part<'_>]) -> Result<Vec<usize>, InlineError> {
    // Depth first, with the way here, so that a circle can be named.
    let mut done: Vec<usize> = Vec::new();
    let mut way = vec![(0, callees(&parts[0]).collect::<Vec<_>>())];
    while let Some((at, rest)) = way.last_mut() {
        let at = *at;
        let Some(next) = rest.pop() else {
            done.push(at);
            way.pop();
            continue;
        };
        if let Some(from) = way.iter().position(|(part, _)| *part == next) {
            let circle = way[from..].iter().map(|(part, _)| parts[*part].name);
            return Err(InlineError::Circle(circle.collect()));
        }
        if !done.contains(&next) {
            way.push((next, callees(&parts[next]).collect()));
        }
    }
    done.reverse();
    Ok(done)
}
