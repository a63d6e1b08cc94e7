//! How much memory a module gets, and where lists cross.
//!
//! ```text
//!   0          used            offset          offset + len = all
//!   | data, stack, heap | (gap) | area for lists |
//! ```

use nimblenet_tasklet::{Area, Capability};

use super::interface::Interface;
use super::survey::{Survey, initial_bytes};
use super::{Manifest, PackError};

/// The area of a tasklet with lists whose manifest gives no length.
const DEFAULT_AREA_BYTES: u32 = 512;
/// The area starts on a multiple of the largest element, and never at 0: to compiled code,
/// address 0 is no list.
const AREA_ALIGN: u64 = 8;

/// The memory to declare.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Declared {
    pub(super) page_size_log2: Option<u32>,
    pub(super) pages: u64,
    pub(super) maximum: Option<u64>,
}

/// A module's memory after packing.
#[derive(Default, Debug)]
pub(super) struct Layout {
    /// What to declare; nothing for a module without memory.
    pub(super) declared: Option<Declared>,
    /// Ceiling on the memory's size.
    pub(super) ceiling_bytes: u32,
    pub(super) area: Area,
    /// What the module declared before.
    pub(super) bytes_before: u64,
    /// What the author should know.
    pub(super) notes: Vec<String>,
}

impl Layout {
    /// Decides on the memory of a module.
    ///
    /// # Errors
    /// [`PackError`] if the module and the manifest contradict each other.
    pub(super) fn derive(
        survey: &Survey<'_>,
        interface: &Interface,
        manifest: &Manifest,
    ) -> Result<Self, PackError> {
        let before = survey.memory.as_ref().map_or(0, initial_bytes);
        let mut layout = if needs_memory(survey, interface, manifest) {
            let used = Used::of(survey, manifest)?;
            if survey.sizes_memory {
                Self::growing(survey, interface, manifest)?
            } else {
                Self::exact(survey, interface, manifest, used)?
            }
        } else {
            Self::default()
        };
        layout.bytes_before = before;
        if manifest.area_bytes.is_some() && !interface.exports_lists() {
            layout
                .notes
                .push("`area` has no use: no exported signature has a list".to_owned());
        }
        Ok(layout)
    }

    /// The size of a page, if there is a memory.
    pub(super) fn page_bytes(&self) -> u64 {
        self.declared
            .map_or(0, |declared| 1 << declared.page_size_log2.unwrap_or(16))
    }

    /// A memory in bytes, for code that never asks for its size.
    fn exact(
        survey: &Survey<'_>,
        interface: &Interface,
        manifest: &Manifest,
        used: Used,
    ) -> Result<Self, PackError> {
        let reserved = reserved_area(survey, interface, manifest, used.bytes)?;
        let area = match reserved {
            Some(area) => area,
            None if interface.exports_lists() => {
                let offset = used.bytes.max(1).next_multiple_of(AREA_ALIGN);
                let offset = u32::try_from(offset).map_err(|_| PackError::MemoryTooLarge)?;
                let len = manifest.area_bytes.unwrap_or(DEFAULT_AREA_BYTES);
                Area { offset, len }
            }
            None => Area::default(),
        };
        let all = used.bytes.max(u64::from(area.offset) + u64::from(area.len));
        Ok(Self {
            declared: Some(Declared {
                page_size_log2: Some(0),
                pages: all,
                maximum: None,
            }),
            ceiling_bytes: u32::try_from(all).map_err(|_| PackError::MemoryTooLarge)?,
            area,
            bytes_before: 0,
            notes: used.notes,
        })
    }

    /// The memory as declared, for code that asks for its size: it counts in the pages that it
    /// was compiled for.
    fn growing(
        survey: &Survey<'_>,
        interface: &Interface,
        manifest: &Manifest,
    ) -> Result<Self, PackError> {
        let memory = survey.memory.expect("instructions on memory need a memory");
        let initial = initial_bytes(&memory);
        let page_bytes = 1u64 << memory.page_size_log2.unwrap_or(16);
        let area = reserved_area(survey, interface, manifest, initial)?;
        if area.is_none() && interface.exports_lists() {
            return Err(PackError::AreaOfGrowing);
        }
        let maximum = memory.maximum.map(|pages| pages.saturating_mul(page_bytes));
        let ceiling = match manifest.memory_bytes {
            Some(given) if given < initial => {
                let used = initial;
                return Err(PackError::MemoryTooSmall { given, used });
            }
            Some(given) => given,
            None => {
                let wanted = initial.saturating_add(manifest.heap_bytes);
                maximum.map_or(wanted, |maximum| maximum.min(wanted).max(initial))
            }
        };
        let mut notes = vec![format!(
            "the code asks for its memory's size, so pages of {page_bytes} bytes are kept; the \
             ceiling is {ceiling} bytes"
        )];
        if ceiling < initial + page_bytes {
            notes.push(
                "the memory cannot grow under this ceiling; set `heap` or `memory`".to_owned(),
            );
        }
        Ok(Self {
            declared: Some(Declared {
                page_size_log2: memory.page_size_log2,
                pages: memory.initial,
                maximum: memory.maximum,
            }),
            ceiling_bytes: u32::try_from(ceiling).map_err(|_| PackError::MemoryTooLarge)?,
            area: area.unwrap_or_default(),
            bytes_before: 0,
            notes,
        })
    }
}

/// Whether anything reads or writes the module's memory: its code, or the host.
fn needs_memory(survey: &Survey<'_>, interface: &Interface, manifest: &Manifest) -> bool {
    // Of all functions of capabilities, only those of the log take an address.
    let log = interface.capabilities.has(Capability::Log);
    interface.exports_lists()
        || survey.memory.is_some()
            && (survey.touches_memory
                || interface.imports_lists()
                || log
                || manifest.memory_bytes.is_some())
}

/// Bytes that data, stack and heap take from address 0 on.
struct Used {
    bytes: u64,
    notes: Vec<String>,
}

impl Used {
    fn of(survey: &Survey<'_>, manifest: &Manifest) -> Result<Self, PackError> {
        let Some(memory) = survey.memory else {
            let bytes = manifest.memory_bytes.unwrap_or(0);
            let notes = Vec::new();
            return Ok(Self { bytes, notes });
        };
        let stack_pointer = survey.stack_pointer();
        check_stack(survey, manifest, stack_pointer)?;
        let heap_base = survey.exported_global("__heap_base").map(u64::from);
        let end = survey.exported_global("__data_end").map(u64::from);
        let end = if uses_nothing(survey, manifest, stack_pointer) {
            Some(0)
        } else {
            end
        };
        let mut notes = Vec::new();
        let mut bytes = survey.data_end.max(stack_pointer.map_or(0, u64::from));
        // `__data_end` is exact and counts data without initial values; `__heap_base` is rounded
        // up, and counts a stack that the code may not use.
        bytes = bytes.max(end.or(heap_base).unwrap_or(0));
        if memory.page_size_log2.is_some_and(|log2| log2 < 16) {
            bytes = bytes.max(initial_bytes(&memory));
        } else if end.is_none() && heap_base.is_none() && stack_pointer.is_none() {
            notes.push(
                "the module does not say where its data ends (link with --export=__data_end); \
                 only initialised data was counted"
                    .to_owned(),
            );
        }
        if manifest.heap_bytes > 0 && !survey.sizes_memory {
            let base = bytes
                .max(heap_base.unwrap_or(0))
                .next_multiple_of(AREA_ALIGN);
            bytes = base.saturating_add(manifest.heap_bytes);
        }
        if let Some(given) = manifest.memory_bytes {
            if given < survey.data_end {
                let used = survey.data_end;
                return Err(PackError::MemoryTooSmall { given, used });
            }
            bytes = given;
        }
        if survey.static_end
            > bytes.max(if survey.sizes_memory {
                initial_bytes(&memory)
            } else {
                0
            })
        {
            let (end, memory) = (survey.static_end, bytes);
            return Err(PackError::StaticBeyond { end, memory });
        }
        Ok(Self { bytes, notes })
    }
}

/// Whether `__data_end` only marks the end of a stack that comes first and that no code uses.
fn uses_nothing(survey: &Survey<'_>, manifest: &Manifest, stack_pointer: Option<u32>) -> bool {
    let stack = manifest.stack_bytes.unwrap_or(0).next_multiple_of(16);
    let end = survey.exported_global("__data_end");
    stack_pointer.is_none() && survey.data_end == 0 && end.is_some_and(|end| end <= stack)
}

/// Checks that the stack is the one of the manifest, and that the largest frame fits.
fn check_stack(
    survey: &Survey<'_>,
    manifest: &Manifest,
    stack_pointer: Option<u32>,
) -> Result<(), PackError> {
    let Some(pointer) = stack_pointer else {
        return Ok(());
    };
    // The stack comes first, or else begins where the data ends.
    let data_end = survey.exported_global("__data_end").unwrap_or(0);
    let base = data_end.next_multiple_of(16);
    let found = if pointer > base {
        pointer - base
    } else {
        pointer
    };
    if let Some(given) = manifest.stack_bytes
        && given != found
        && given.next_multiple_of(16) != found
    {
        return Err(PackError::OtherStack { given, found });
    }
    if survey.frame_bytes > found {
        let (frame, stack) = (survey.frame_bytes, found);
        return Err(PackError::StackTooSmall { frame, stack });
    }
    Ok(())
}

/// The area that the module itself has reserved.
fn reserved_area(
    survey: &Survey<'_>,
    interface: &Interface,
    manifest: &Manifest,
    bytes: u64,
) -> Result<Option<Area>, PackError> {
    let Some(offset) = survey.exported_global("nimblenet_area") else {
        return Ok(None);
    };
    if !interface.exports_lists() {
        return Ok(None);
    }
    let len = manifest.area_bytes.unwrap_or(DEFAULT_AREA_BYTES);
    if offset == 0 || u64::from(offset) + u64::from(len) > bytes {
        return Err(PackError::AreaOutside);
    }
    Ok(Some(Area { offset, len }))
}
