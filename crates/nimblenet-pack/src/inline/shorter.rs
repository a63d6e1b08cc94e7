//! What an optimiser makes of a merged module.
//!
//! Most of what calls between parts cost is bytes that a general optimiser finds: functions that are
//! called at one place, constants that pass through parameters, numbers that are computed twice. No optimiser
//! knows memories that are measured in bytes yet, so it is shown one in pages and gives that back.

use wasm_encoder::{MemorySection, MemoryType, Module, RawSection};
use wasmparser::{BinaryReaderError, Operator, Parser, Payload};

/// The size of ordinary pages.
const PAGE_BYTES: u64 = 1 << 16;
/// The number of the section with memories.
const MEMORIES: u8 = 5;
/// The number of sections that say nothing to a node.
const CUSTOM: u8 = 0;

/// `module`, or what `optimise` makes of it if that is shorter and has the same imports and exports.
pub(super) fn shorter(
    module: Vec<u8>,
    optimise: &mut dyn FnMut(&[u8]) -> Option<Vec<u8>>,
) -> Vec<u8> {
    let found = attempt(&module, optimise).ok().flatten();
    found
        .filter(|found| found.len() < module.len())
        .unwrap_or(module)
}

fn attempt(
    module: &[u8],
    optimise: &mut dyn FnMut(&[u8]) -> Option<Vec<u8>>,
) -> Result<Option<Vec<u8>>, BinaryReaderError> {
    if measures_memory(module)? {
        return Ok(None);
    }
    let memory = memory(module)?;
    let shown = with_memory(module, memory.map(in_pages))?;
    let Some(found) = optimise(&shown) else {
        return Ok(None);
    };
    let same = interface(&found)? == interface(module)?;
    match same {
        true => Ok(Some(with_memory(&found, memory)?)),
        false => Ok(None),
    }
}

/// Whether the code asks for the size of the memory or changes it: the answer is in bytes.
fn measures_memory(module: &[u8]) -> Result<bool, BinaryReaderError> {
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::CodeSectionEntry(body) = payload? {
            for operator in body.get_operators_reader()? {
                let operator = operator?;
                if let Operator::MemorySize { .. } | Operator::MemoryGrow { .. } = operator {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}

/// The memory, if there is one.
fn memory(module: &[u8]) -> Result<Option<MemoryType>, BinaryReaderError> {
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::MemorySection(section) = payload?
            && let Some(memory) = section.into_iter().next()
        {
            let memory = memory?;
            return Ok(Some(MemoryType {
                minimum: memory.initial,
                maximum: memory.maximum,
                memory64: memory.memory64,
                shared: memory.shared,
                page_size_log2: memory.page_size_log2,
            }));
        }
    }
    Ok(None)
}

/// A memory of ordinary pages in which the other has room.
fn in_pages(memory: MemoryType) -> MemoryType {
    let log2 = memory.page_size_log2.unwrap_or(PAGE_BYTES.ilog2());
    let pages = |size: u64| (size << log2).div_ceil(PAGE_BYTES);
    MemoryType {
        minimum: pages(memory.minimum),
        maximum: memory.maximum.map(pages),
        page_size_log2: None,
        ..memory
    }
}

/// The module with this memory in place of its own, and without what says nothing to a node.
fn with_memory(module: &[u8], memory: Option<MemoryType>) -> Result<Vec<u8>, BinaryReaderError> {
    let mut out = Module::new();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload?;
        let Some((id, range)) = payload.as_section() else {
            continue;
        };
        match (id, memory) {
            (CUSTOM, _) => {}
            (MEMORIES, Some(memory)) => {
                let mut section = MemorySection::new();
                section.memory(memory);
                out.section(&section);
            }
            _ => {
                let range = range.start as usize..range.end as usize;
                let data = &module[range];
                out.section(&RawSection { id, data });
            }
        }
    }
    Ok(out.finish())
}

/// The names of all imports and exports, in their order.
fn interface(module: &[u8]) -> Result<Vec<(String, String)>, BinaryReaderError> {
    let mut names = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload?;
        if let Payload::ImportSection(section) = payload {
            for import in section.into_imports() {
                let import = import?;
                names.push((import.module.into(), import.name.into()));
            }
        } else if let Payload::ExportSection(section) = payload {
            for export in section {
                names.push((String::new(), export?.name.into()));
            }
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULE: &str = r#"(module (import "a" "b" (func)) (memory 1000 (pagesize 1))
        (func (export "run") (nop) (nop) (nop) (call 0)))"#;

    #[test]
    fn an_optimiser_is_shown_pages_and_the_module_keeps_its_bytes() {
        let module = wat::parse_str(MODULE).unwrap();
        let mut shown = None;
        let found = shorter(module.clone(), &mut |bytes| {
            shown = memory(bytes).unwrap();
            let text = MODULE
                .replace("1000 (pagesize 1)", "1")
                .replace("(nop)", "");
            Some(wat::parse_str(text).unwrap())
        });
        let shown = shown.unwrap();
        assert_eq!((shown.minimum, shown.page_size_log2), (1, None));
        assert_eq!(found.len(), module.len() - 3);
        let kept = memory(&found).unwrap().unwrap();
        assert_eq!((kept.minimum, kept.page_size_log2), (1000, Some(0)));
    }

    #[test]
    fn what_is_not_the_same_or_not_shorter_is_not_taken() {
        let module = wat::parse_str(MODULE).unwrap();
        for (from, to) in [
            ("\"a\"", "\"c\""),
            ("\"run\"", "\"r\""),
            ("(nop)", "(nop) (nop)"),
        ] {
            let text = MODULE.replace("1000 (pagesize 1)", "1").replace(from, to);
            let found = shorter(module.clone(), &mut |_| {
                Some(wat::parse_str(&text).unwrap())
            });
            assert_eq!(found, module, "{text}");
        }
        assert_eq!(shorter(module.clone(), &mut |_| Some(vec![1, 2])), module);
        assert_eq!(shorter(module.clone(), &mut |_| None), module);
        let text = MODULE.replace("(call 0)", "(call 0) (drop (memory.size))");
        let measures = wat::parse_str(text).unwrap();
        let found = shorter(measures.clone(), &mut |_| panic!("its memory is in bytes"));
        assert_eq!(found, measures);
    }
}
