//! How much memory a module gets, where its stack is, and where lists cross.
//!
//! ```text
//!   0          used            offset          offset + len = all
//!   | data, stack, heap | (gap) | area for lists |
//! ```

use nimblenet_tasklet::{Area, Capability};

use super::depth::Depth;
use super::interface::Interface;
use super::stack::{Need, Place, STACK_ALIGN, Stack};
use super::survey::{Survey, initial_bytes, maximum_bytes};
use super::{Manifest, PackError};

/// The area of a tasklet with lists whose manifest gives no length.
const DEFAULT_AREA_BYTES: u32 = 512;
/// The area starts on a multiple of the largest element, and never at 0: to compiled code,
/// address 0 is no list.
const AREA_ALIGN: u64 = 8;
/// A stretch that is not used is worth a note from this length on.
const WASTE_BYTES: u64 = 32;

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
    /// Another initial value of the stack pointer.
    pub(super) stack_top: Option<u32>,
    /// The stack as it was linked, and what is needed of it.
    pub(super) stack: Option<(Stack, Need)>,
    /// What the author should know.
    pub(super) notes: Vec<String>,
}

impl Layout {
    /// Decides on the memory of a module whose stack gets as deep as `depth`.
    ///
    /// # Errors
    /// [`PackError`] if the module and the manifest contradict each other, or the stack does not
    /// fit.
    pub(super) fn derive(
        survey: &Survey<'_>,
        interface: &Interface,
        manifest: &Manifest,
        depth: &Depth,
    ) -> Result<Self, PackError> {
        let before = survey.memory.as_ref().map_or(0, initial_bytes);
        let mut layout = if needs_memory(survey, interface, manifest) {
            let stack = Stack::of(survey, manifest)?;
            let need = Need::of(survey, manifest, stack.as_ref(), depth)?;
            let mut layout = if survey.sizes_memory {
                Self::growing(survey, interface, manifest, stack.as_ref(), &need)?
            } else {
                let used = Used::of(survey, manifest, stack.as_ref(), &need)?;
                Self::exact(survey, interface, manifest, used)?
            };
            layout.warn(survey, stack.as_ref(), &need);
            layout.stack = stack.map(|stack| (stack, need));
            layout
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
        mut used: Used,
    ) -> Result<Self, PackError> {
        let reserved = reserved_area(survey, interface, manifest, used.bytes)?;
        let area = match reserved {
            Some(area) => area,
            None if interface.exports_lists() => {
                let len = manifest.area_bytes.unwrap_or(DEFAULT_AREA_BYTES);
                let spare = AREA_ALIGN + u64::from(len);
                // Stack that is never needed is as good a place as any behind everything else.
                let offset = if spare <= used.free_bytes {
                    used.free_bytes -= spare;
                    AREA_ALIGN
                } else {
                    used.bytes.max(1).next_multiple_of(AREA_ALIGN)
                };
                let offset = u32::try_from(offset).map_err(|_| PackError::MemoryTooLarge)?;
                Area { offset, len }
            }
            None => Area::default(),
        };
        if used.free_bytes >= WASTE_BYTES {
            used.notes.push(used.waste);
        }
        let all = used.bytes.max(u64::from(area.offset) + u64::from(area.len));
        Ok(Self {
            declared: Some(Declared {
                page_size_log2: Some(0),
                pages: all,
                maximum: None,
            }),
            ceiling_bytes: u32::try_from(all).map_err(|_| PackError::MemoryTooLarge)?,
            area,
            stack_top: used.stack_top,
            notes: used.notes,
            ..Self::default()
        })
    }

    /// The memory as declared, for code that asks for its size: it counts in the pages that it
    /// was compiled for.
    fn growing(
        survey: &Survey<'_>,
        interface: &Interface,
        manifest: &Manifest,
        stack: Option<&Stack>,
        need: &Need,
    ) -> Result<Self, PackError> {
        let memory = survey.memory.expect("instructions on memory need a memory");
        let initial = initial_bytes(&memory);
        let page_bytes = 1u64 << memory.page_size_log2.unwrap_or(16);
        must_fit(survey, stack, need)?;
        static_within(survey, initial)?;
        let area = reserved_area(survey, interface, manifest, initial)?;
        if area.is_none() && interface.exports_lists() {
            return Err(PackError::AreaOfGrowing);
        }
        let maximum = maximum_bytes(&memory);
        let ceiling = match (manifest.memory_bytes, manifest.heap_bytes) {
            (Some(given), _) if given < initial => {
                let used = initial;
                return Err(PackError::MemoryTooSmall { given, used });
            }
            (Some(given), _) => given,
            (None, Some(heap)) => {
                let wanted = initial.saturating_add(heap);
                maximum.map_or(wanted, |maximum| maximum.min(wanted).max(initial))
            }
            (None, None) => survey.memory_bytes(),
        };
        let mut notes = vec![format!(
            "the code asks for its memory's size, so pages of {page_bytes} bytes are kept; the \
             ceiling is {ceiling} bytes"
        )];
        if survey.grows_memory && ceiling < initial + page_bytes {
            notes.push(
                "the memory cannot grow under this ceiling, so an allocator finds nothing: say how \
                 many bytes it may take, `heap = 65536` for one page"
                    .to_owned(),
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
            notes,
            ..Self::default()
        })
    }

    /// Tells the author what can go wrong with the stack.
    fn warn(&mut self, survey: &Survey<'_>, stack: Option<&Stack>, need: &Need) {
        let Some(stack) = stack else {
            return;
        };
        let behind = matches!(stack.place, Place::Behind { .. });
        if let Need::AsGiven { why } = need {
            self.notes.push(format!(
                "{why}: that the {} bytes of `stack` are enough is the manifest's word",
                stack.bytes().unwrap_or(stack.top)
            ));
        }
        if behind && stack.bytes() != Some(0) && need.bytes() != Some(0) {
            self.notes.push(match need {
                Need::Bytes { .. } => {
                    "the stack is not first in memory; it holds the deepest calls, so none reaches \
                     into the data"
                        .to_owned()
                }
                Need::AsGiven { .. } => {
                    "the stack is not first in memory: a deeper one than that changes data instead \
                     of ending in a trap; link with --stack-first"
                        .to_owned()
                }
            });
        }
        if stack.place == Place::First && stack.top == 0 && survey.data_start == Some(0) {
            self.notes.push(
                "data begins at address 0, which code may take for a null pointer; link with \
                 -zstack-size=16, or with --global-base=8 instead of --stack-first"
                    .to_owned(),
            );
        }
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

/// What data, stack and heap take from address 0 on.
#[derive(Default)]
struct Used {
    bytes: u64,
    /// Another initial value of the stack pointer.
    stack_top: Option<u32>,
    /// Bytes from address 0 on that nothing uses.
    free_bytes: u64,
    /// What the author can do about them.
    waste: String,
    notes: Vec<String>,
}

impl Used {
    fn of(
        survey: &Survey<'_>,
        manifest: &Manifest,
        stack: Option<&Stack>,
        need: &Need,
    ) -> Result<Self, PackError> {
        let Some(memory) = survey.memory else {
            return Ok(Self {
                bytes: manifest.memory_bytes.unwrap_or(0),
                ..Self::default()
            });
        };
        let initial = initial_bytes(&memory);
        let in_bytes = memory.page_size_log2.is_some_and(|log2| log2 < 16);
        let mut used = Self::default();
        let top = stack.map_or(0, |stack| u64::from(stack.top));
        let heap_base = survey.exported_global("__heap_base").map(u64::from);
        let data_end = survey.exported_global("__data_end").map(u64::from);
        // `__data_end` is exact and counts data without initial values; `__heap_base` is rounded
        // up, and counts a stack that the code may not use.
        let end = data_end.or(heap_base);
        let known = survey.data_end.max(end.unwrap_or(0));
        // What was declared in bytes was packed before, or written by hand: it is exact.
        let heap = manifest.heap_bytes.filter(|heap| *heap > 0);
        let movable = !in_bytes && manifest.memory_bytes.is_none() && heap.is_none();
        used.bytes = known.max(top);
        match (stack, need.bytes()) {
            _ if uses_nothing(survey, manifest, stack) => used.bytes = 0,
            (Some(stack), Some(needed)) if movable => {
                used.fit_stack(stack, needed, known, end.is_some())?;
            }
            (Some(stack), Some(needed)) => {
                must_fit(survey, Some(stack), need)?;
                if let Place::First = stack.place {
                    used.free_bytes = top.saturating_sub(needed.into());
                    used.waste = unused_stack(needed);
                }
            }
            (_, _) => {}
        }
        let is_known = end.is_some() || in_bytes || manifest.memory_bytes.is_some();
        if !is_known && survey.touches_memory {
            used.bytes = used.bytes.max(initial);
            used.notes.push(format!(
                "the module does not say where its data ends, so the {initial} bytes that it \
                 declares are kept; link with --export=__data_end, or set `memory` in the manifest"
            ));
        }
        if in_bytes {
            used.bytes = used.bytes.max(initial);
        }
        if let Some(heap) = heap {
            let base = used.bytes.max(heap_base.unwrap_or(0));
            used.bytes = base.next_multiple_of(AREA_ALIGN).saturating_add(heap);
        }
        if let Some(given) = manifest.memory_bytes {
            let least = survey.data_end.max(top);
            if given < least {
                let used = least;
                return Err(PackError::MemoryTooSmall { given, used });
            }
            used.bytes = given;
        }
        used.gap(survey, stack);
        static_within(survey, used.bytes)?;
        Ok(used)
    }

    /// Gives the stack the bytes that are `needed`, where nothing else stands in their place.
    fn fit_stack(
        &mut self,
        stack: &Stack,
        needed: u32,
        data_end: u64,
        end_is_known: bool,
    ) -> Result<(), PackError> {
        let aligned = |bytes: u64| bytes.next_multiple_of(STACK_ALIGN.into());
        let base = match stack.place {
            // No data follows.
            Place::First if end_is_known && data_end <= u64::from(stack.top) => 0,
            Place::First if stack.top > 0 || needed == 0 => {
                self.free_bytes = u64::from(stack.top - needed);
                self.waste = unused_stack(needed);
                return Ok(());
            }
            Place::First if !end_is_known => return Err(PackError::NoDataEnd { needed }),
            Place::First => aligned(data_end),
            Place::Behind { base: Some(base) } => base.into(),
            // How much of it the linker has set aside is not known: it gets a new one.
            Place::Behind { base: None } => stack.top.into(),
        };
        if needed == 0 {
            self.bytes = match stack.place {
                Place::First => 0,
                Place::Behind { base: Some(_) } => data_end,
                Place::Behind { base: None } => self.bytes,
            };
            return Ok(());
        }
        let top = aligned(base + u64::from(needed));
        self.bytes = top;
        let top = u32::try_from(top).map_err(|_| PackError::MemoryTooLarge)?;
        self.stack_top = (top != stack.top).then_some(top);
        Ok(())
    }

    /// Notes what a linker leaves free before the data unless it is told not to.
    fn gap(&mut self, survey: &Survey<'_>, stack: Option<&Stack>) {
        let start = survey.data_start.unwrap_or(0).min(self.bytes);
        let first = stack.is_some_and(|stack| stack.place == Place::First);
        let numbers = survey.numbers.range(8..).next();
        let used_below = numbers.is_some_and(|number| u64::from(*number) < start);
        if !first && !used_below && start >= WASTE_BYTES {
            self.notes.push(format!(
                "the first {start} bytes of memory are not used; link with -zstack-size=0 and \
                 --global-base=8 instead of --stack-first"
            ));
        }
    }
}

fn unused_stack(needed: u32) -> String {
    format!(
        "of the stack {needed} bytes are needed, and it stands in front of the data; link with \
         -zstack-size={}",
        needed.next_multiple_of(STACK_ALIGN).max(STACK_ALIGN)
    )
}

/// Whether `__data_end` only marks the end of a stack that comes first and that no code uses.
fn uses_nothing(survey: &Survey<'_>, manifest: &Manifest, stack: Option<&Stack>) -> bool {
    let given = manifest.linked_stack().unwrap_or(0);
    let end = survey.exported_global("__data_end");
    stack.is_none()
        && survey.data_end == 0
        && end.is_some_and(|end| end <= given.next_multiple_of(STACK_ALIGN))
}

/// Checks a stack that cannot be moved.
fn must_fit(survey: &Survey<'_>, stack: Option<&Stack>, need: &Need) -> Result<(), PackError> {
    let (Some(stack), Some(needed)) = (stack, need.bytes()) else {
        return Ok(());
    };
    // Without its size, what is certain is that it does not reach into the data segments.
    let bytes = stack.bytes().unwrap_or_else(|| {
        let data = u32::try_from(survey.data_end).unwrap_or(u32::MAX);
        stack.top.saturating_sub(data)
    });
    if needed > bytes {
        return Err(PackError::StackTooSmall {
            needed,
            stack: bytes,
            path: String::new(),
        });
    }
    match stack.bytes() {
        None if needed > 0
            && survey
                .memory
                .is_none_or(|memory| memory.page_size_log2.is_none()) =>
        {
            Err(PackError::NoDataEnd { needed })
        }
        _ => Ok(()),
    }
}

/// Checks that addresses that stand in the code are within `bytes` of memory.
fn static_within(survey: &Survey<'_>, bytes: u64) -> Result<(), PackError> {
    if survey.static_end > bytes {
        let (end, memory) = (survey.static_end, bytes);
        return Err(PackError::StaticBeyond { end, memory });
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
