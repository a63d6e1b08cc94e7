//! The stack: where the linker has put it, how much of it is needed, and where it goes.
//!
//! ```text
//!   first:  | stack | data | heap       behind the data:  | gap | data | stack | heap
//!           0     top     end                             0         base     top
//! ```

use super::depth::Depth;
use super::survey::Survey;
use super::{Manifest, PackError};

/// What linkers align a stack to.
pub(super) const STACK_ALIGN: u32 = 16;
/// Below this no data begins: 0 is no address.
const DATA_MIN: u32 = 8;

/// A stack as it was linked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stack {
    /// Initial value of the stack pointer. The stack grows downwards from there.
    pub(super) top: u32,
    pub(super) place: Place,
}

/// Where a linker has put the stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// Before the data, from address 0: what overflows it leaves the memory, which is a trap.
    First,
    /// Behind the data, from this address, if it is known: what overflows it changes data.
    Behind { base: Option<u32> },
}

impl Stack {
    /// Finds the stack, if the code has one.
    ///
    /// # Errors
    /// [`PackError::OtherStack`] if the manifest gives another size.
    pub(super) fn of(survey: &Survey<'_>, manifest: &Manifest) -> Result<Option<Self>, PackError> {
        let Some(top) = survey.stack_pointer.and_then(|index| {
            let global = survey.globals.get(index as usize)?;
            global.value
        }) else {
            return Ok(None);
        };
        let mut stack = Self {
            top,
            place: place(survey, manifest, top),
        };
        if let Some(given) = manifest.linked_stack() {
            let rounded = given.next_multiple_of(STACK_ALIGN);
            if let Place::Behind { base: None } = stack.place {
                let base = top.checked_sub(rounded);
                let base = base.filter(|base| u64::from(*base) >= survey.data_end);
                stack.place = Place::Behind { base };
            }
            let found = stack.bytes().unwrap_or(top);
            if given != found && rounded != found {
                return Err(PackError::OtherStack { given, found });
            }
        }
        Ok(Some(stack))
    }

    /// Its size, if it is known.
    pub(super) fn bytes(&self) -> Option<u32> {
        match self.place {
            Place::First => Some(self.top),
            Place::Behind { base } => base.map(|base| self.top - base),
        }
    }
}

fn place(survey: &Survey<'_>, manifest: &Manifest, top: u32) -> Place {
    let end = survey.exported_global("__data_end");
    let heap = survey.exported_global("__heap_base");
    let unsure = match (end, heap) {
        (Some(end), _) if top > end => {
            let base = end.next_multiple_of(STACK_ALIGN).min(top);
            return Place::Behind { base: Some(base) };
        }
        (Some(end), _) => top == end,
        (None, Some(heap)) => top == heap,
        (None, None) => true,
    };
    if !unsure || top == 0 {
        return Place::First;
    }
    // Either the stack comes first and no data follows, or it has no room of its own behind the
    // data. Data is there if a segment is, or if a number in the code may be its address.
    let behind = match manifest.linked_stack() {
        Some(given) => given.next_multiple_of(STACK_ALIGN) != top && end.is_some(),
        None => survey.numbers.range(DATA_MIN..top).next().is_some(),
    };
    if behind
        || survey
            .data_start
            .is_some_and(|start| start < u64::from(top))
    {
        Place::Behind {
            base: end.map(|_| top),
        }
    } else {
        Place::First
    }
}

/// What the code needs of a stack.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Need {
    /// At most these bytes.
    Bytes {
        bytes: u32,
        /// Whether that is a bound, for a call through a table is on the way.
        bound: bool,
    },
    /// The packer cannot know; the manifest's `stack` is enough, its author says.
    AsGiven {
        /// Why the packer cannot know.
        why: String,
    },
}

impl Need {
    /// Compares what the code needs with what the linker has set aside. A module that was linked
    /// without a stack gets one from the packer, if its size is known.
    ///
    /// # Errors
    /// [`PackError::StackTooSmall`], or [`PackError::StackUnbounded`] if only the manifest can say.
    pub(super) fn of(
        survey: &Survey<'_>,
        manifest: &Manifest,
        stack: Option<&Stack>,
        depth: &Depth,
    ) -> Result<Self, PackError> {
        let name = |function: &u32| survey.function_name(*function);
        let why = match depth {
            Depth::Bounded {
                bytes,
                indirect,
                path,
            } => {
                let linked = stack.and_then(Stack::bytes);
                if let Some(stack) = linked.filter(|linked| (1..*bytes).contains(linked)) {
                    return Err(PackError::StackTooSmall {
                        needed: *bytes,
                        stack,
                        path: path.iter().map(name).collect::<Vec<_>>().join(" > "),
                    });
                }
                return Ok(Self::Bytes {
                    bytes: *bytes,
                    bound: *indirect,
                });
            }
            Depth::Recursion {
                functions,
                bytes,
                indirect,
            } => {
                let mut names: Vec<_> = functions.iter().take(3).map(name).collect();
                if functions.len() > names.len() {
                    names.push(format!("{} more", functions.len() - names.len()));
                }
                let names = names.join(", ");
                let table = if *indirect {
                    ", perhaps, through a table of functions"
                } else {
                    ""
                };
                match functions.len() {
                    1 => format!("{names} calls itself{table}, and takes {bytes} bytes each time"),
                    _ => format!(
                        "{names} call each other in a circle{table}, and take {bytes} bytes each \
                         time round"
                    ),
                }
            }
            Depth::Varies(function) => format!(
                "{} takes a number of bytes that is known at run time only (alloca, or an array \
                 of variable length)",
                name(function)
            ),
        };
        let found = stack.and_then(Stack::bytes);
        match manifest.stack_bytes {
            Some(given) if given > 0 => Ok(Self::AsGiven { why }),
            _ => Err(PackError::StackUnbounded { why, found }),
        }
    }

    /// The bytes, if the packer knows them.
    pub(super) fn bytes(&self) -> Option<u32> {
        match self {
            Self::Bytes { bytes, .. } => Some(*bytes),
            Self::AsGiven { .. } => None,
        }
    }
}
