//! A module's constructor as its start function, for modules that run without being packed.

use std::borrow::Cow;

use wasm_encoder::{Module, RawSection, StartSection};
use wasmparser::{ExternalKind, Parser, Payload};

use super::PackError;
use super::survey::{CONSTRUCTORS, invalid};

/// The sections that stand behind the start section: elements, data count, code, data.
const BEHIND_START: [u8; 4] = [9, 12, 10, 11];

/// The same module, but what sets up its state (`_initialize`) runs as its start function, as it
/// does in a package. A module with a start function of its own is left as it is.
///
/// # Errors
/// [`PackError::Invalid`] if the sections are damaged.
pub fn with_constructor(module: &[u8]) -> Result<Cow<'_, [u8]>, PackError> {
    let mut exported = [None; CONSTRUCTORS.len()];
    let mut sections = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.map_err(invalid)?;
        if let Payload::StartSection { .. } = payload {
            return Ok(Cow::Borrowed(module));
        }
        if let Payload::ExportSection(section) = &payload {
            for export in section.clone() {
                let export = export.map_err(invalid)?;
                let known = CONSTRUCTORS.iter().position(|name| *name == export.name);
                let known = known.filter(|_| export.kind == ExternalKind::Func);
                if let Some(known) = known {
                    exported[known] = Some(export.index);
                }
            }
        }
        if let Some((id, range)) = payload.as_section() {
            let range = range.start as usize..range.end as usize;
            sections.push((id, &module[range]));
        }
    }
    let Some(function_index) = exported.into_iter().flatten().next() else {
        return Ok(Cow::Borrowed(module));
    };
    let mut out = Module::new();
    let mut start = Some(StartSection { function_index });
    for (id, data) in sections {
        if BEHIND_START.contains(&id)
            && let Some(start) = start.take()
        {
            out.section(&start);
        }
        out.section(&RawSection { id, data });
    }
    if let Some(start) = start {
        out.section(&start);
    }
    Ok(Cow::Owned(out.finish()))
}
