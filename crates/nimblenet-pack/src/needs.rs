//! What a run of a module needs on a node: one figure for packing, checking and running.

use core::fmt;

use nimblenet_executor::{BOARD_ARENA_BYTES, LINUX_ARENA_BYTES, arena_bytes};
use nimblenet_wasm::{Fault, InvalidModule, Limits, Module, Quantity, validate};
use serde::Serialize;

use super::survey::Survey;

/// Room for the interpreter to validate in.
const VALIDATION_BYTES: usize = 64 << 20;

/// What a run needs of the arena of a node, and whether it is there.
///
/// The figures are the bytes of interpreter state and linear memory at its ceiling. They differ
/// between Linux and boards by the value stack that the interpreter sets aside for modules whose
/// functions call each other.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Needs {
    /// Whether the figures are those of the memory that the module starts with, although it grows
    /// that: it says no maximum, and no package says a ceiling.
    pub at_least: bool,
    /// Bytes of linear memory that the figures count.
    pub memory_bytes: u64,
    /// Bytes on a Linux node; nothing if it refuses the module.
    pub linux_bytes: Option<u64>,
    /// Bytes of a Linux node's arena, unless its configuration says otherwise.
    pub linux_arena_bytes: u64,
    /// Why a Linux node would refuse the module, or have no room for it.
    pub linux_problem: Option<String>,
    /// Bytes on a board; nothing if it refuses the module.
    pub board_bytes: Option<u64>,
    /// Bytes of the arena of a board with serial lines.
    pub board_arena_bytes: u64,
    /// Why a board would refuse the module, or have no room for it.
    pub board_problem: Option<String>,
}

impl Needs {
    /// What a run of `module` needs, which is in no package: with linear memory grown to the module's
    /// own maximum, or to `reached_bytes` where that is unknown and less.
    pub fn of_module(module: &[u8], reached_bytes: u32) -> Self {
        let Ok(survey) = Survey::of(module) else {
            return Self::of(module, 0);
        };
        let own = u32::try_from(survey.memory_bytes()).unwrap_or(u32::MAX);
        Self {
            at_least: survey.grows_without_limit(),
            ..Self::of(module, own.max(reached_bytes))
        }
    }

    /// What a run of `module` needs whose linear memory may have `memory_bytes`, 0 for what it
    /// starts with.
    pub fn of(module: &[u8], memory_bytes: u32) -> Self {
        let mut scratch = vec![0; VALIDATION_BYTES];
        let mut on = |limits: &Limits, arena: usize| {
            let memory = Size {
                bytes: memory_bytes.into(),
                limit: limits.memory_bytes.into(),
            };
            match validate(module, limits, &mut scratch) {
                Ok(_) if memory.is_over() => (None, Some(memory.of("linear memory"))),
                Ok(facts) => {
                    let bytes = arena_bytes(&facts, memory_bytes) as u64;
                    let room = Size {
                        bytes,
                        limit: arena as u64,
                    };
                    let problem = room.is_over().then(|| room.of("room to run in"));
                    (Some(bytes), problem)
                }
                Err(invalid) => (None, Some(refusal(module, &invalid, limits))),
            }
        };
        let (linux_bytes, linux_problem) = on(&Limits::default(), LINUX_ARENA_BYTES);
        let (board_bytes, board_problem) = on(&Limits::small(), BOARD_ARENA_BYTES);
        Self {
            at_least: false,
            memory_bytes: counted_bytes(module, memory_bytes.into()),
            linux_bytes,
            linux_arena_bytes: LINUX_ARENA_BYTES as u64,
            linux_problem,
            board_bytes,
            board_arena_bytes: BOARD_ARENA_BYTES as u64,
            board_problem: board_problem.map(|problem| format!("Linux only: {problem}")),
        }
    }
}

impl Needs {
    /// Why a board, or else a Linux node, would refuse the module or have no room for it.
    pub fn problem(&self, board: bool) -> Option<&str> {
        match board {
            true => self.board_problem.as_deref(),
            false => self.linux_problem.as_deref(),
        }
    }
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let least = if self.at_least { "at least " } else { "" };
        match (&self.linux_problem, self.linux_bytes) {
            (None, Some(bytes)) => {
                write!(f, "{least}{bytes} of {} B on Linux", self.linux_arena_bytes)?;
            }
            (problem, _) => write!(f, "not on Linux: {}", problem.as_deref().unwrap_or("?"))?,
        }
        match (&self.board_problem, self.board_bytes) {
            (None, Some(bytes)) => {
                let arena = self.board_arena_bytes;
                write!(f, ", {least}{bytes} of {arena} B on a board")
            }
            (problem, _) => write!(f, "; {}", problem.as_deref().unwrap_or("?")),
        }
    }
}

/// The bytes of linear memory that `module` may have under a ceiling, 0 for what it starts with.
fn counted_bytes(module: &[u8], ceiling: u64) -> u64 {
    let memory = Module::parse(module).ok();
    let Some(memory) = memory.and_then(|module| module.memory()) else {
        return 0;
    };
    let bytes = |pages: u32| u64::from(pages) * u64::from(memory.page_bytes);
    let most = memory.max.map_or(u64::MAX, bytes);
    most.min(ceiling).max(bytes(memory.min))
}

/// So many bytes of so many.
struct Size {
    bytes: u64,
    limit: u64,
}

impl Size {
    fn is_over(&self) -> bool {
        self.bytes > self.limit
    }

    fn of(&self, what: &str) -> String {
        format!("{what} takes {} of {} bytes", self.bytes, self.limit)
    }
}

/// Why nodes with `limits` refuse `module`, in the terms of an author.
fn refusal(module: &[u8], invalid: &InvalidModule, limits: &Limits) -> String {
    if invalid.fault == Fault::ValidationBudget {
        return format!(
            "checking the module takes too long (given up at offset {}); make it smaller",
            invalid.offset
        );
    }
    let Fault::TooMany(quantity) = invalid.fault else {
        return invalid.to_string();
    };
    let (what, limit) = match quantity {
        Quantity::ModuleBytes => {
            let (bytes, limit) = (module.len(), limits.module_bytes);
            return format!("{bytes} of {limit} bytes of module");
        }
        Quantity::MemoryBytes => {
            let bytes = counted_bytes(module, 0);
            let limit = limits.memory_bytes.into();
            return Size { bytes, limit }.of("linear memory");
        }
        Quantity::FunctionCode => {
            return format!(
                "a function is too long for the interpreter: its translated code has more than \
                 32767 words (offset {}); split it, or tell the compiler to inline less",
                invalid.offset
            );
        }
        Quantity::TypeArity => ("parameters or results of one function", 255),
        Quantity::Items => ("functions, types, globals or exports", limits.functions),
        Quantity::Locals => ("locals in one function", limits.locals),
        Quantity::ControlDepth => ("blocks inside each other", limits.control_depth),
        Quantity::Frame => ("values on the stack of one function", limits.stack_slots),
        Quantity::TableElements => ("elements of tables", limits.table_elements),
        _ => return invalid.to_string(),
    };
    format!("more than {limit} {what} (offset {})", invalid.offset)
}
