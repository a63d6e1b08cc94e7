//! The executor's record of a run, besides its block.

use nimblenet_tasklet::{ActivationId, Area, Fault, Place, Signature, TaskletName, Trap};
use nimblenet_wasm::{Limits, LoadOptions};

/// One run of one tasklet, from its start to its result.
///
/// Its region of the arena holds the *preamble* and then the instance: its block, or its image
/// while it is frozen. The preamble is a [`Link`](super::link::Link) for each import and, if the
/// module has a start function, the arguments, which wait there for the end of that function.
#[derive(Clone, Copy, Debug)]
pub(super) struct Activation {
    pub(super) id: ActivationId,
    /// Which tasklet runs; the device keeps each one's values apart.
    pub(super) name: TaskletName,
    pub(super) waits: Waits,
    pub(super) phase: Phase,
    pub(super) form: Form,
    pub(super) layout: Layout,
    /// Fuel that is left and not in the instance; all of it while the run is suspended.
    pub(super) fuel: u64,
    pub(super) export: Export,
    /// Ceiling on linear memory.
    pub(super) memory_bytes: u32,
    pub(super) digest: [u8; 32],
}

/// What a suspended run waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Waits {
    /// To be continued.
    ToContinue,
    /// For the answer of the tasklet that it called.
    ForCallee,
}

/// Which of a module's functions runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// The start function; the export comes after it.
    Start,
    /// The export.
    Export,
}

/// What the region of an activation holds after the preamble.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// An instance.
    Block,
    /// The image of one, of this length.
    Image(usize),
}

/// Lengths within the region.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// Links, in bytes.
    pub(super) links: usize,
    /// Arguments after the links, in bytes.
    pub(super) args: usize,
    /// Where the instance starts.
    pub(super) instance: usize,
    /// The end of what the instance uses, linear memory included as far as it has grown.
    pub(super) used: usize,
    /// The length that the region must have for the run to go on: room for linear memory up to
    /// its ceiling, whatever else the arena holds by then.
    pub(super) full: usize,
}

/// The export that was called.
#[derive(Clone, Copy, Debug)]
pub(super) struct Export {
    /// The index of its function.
    pub(super) func: u32,
    pub(super) signature: Signature,
    /// The area of the module through which lists pass.
    pub(super) area: Area,
    /// Address and capacity of the space for a list result.
    pub(super) result_space: [u32; 2],
}

impl Activation {
    /// The options with which the module is loaded, and loaded again at a thaw.
    pub(super) fn options(&self, limits: &Limits, metered: bool) -> LoadOptions {
        load_options(limits, metered, self.memory_bytes, self.digest)
    }
}

/// Load options with a tasklet's own ceiling on linear memory.
pub(super) fn load_options(
    limits: &Limits,
    metered: bool,
    memory_bytes: u32,
    digest: [u8; 32],
) -> LoadOptions {
    let limits = Limits {
        memory_bytes,
        ..*limits
    };
    LoadOptions {
        limits,
        metered,
        digest,
    }
}

/// Why a run stands still.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Event {
    /// It called the tasklet of this import; the arguments have this length.
    Called { import: u16, len: usize },
    /// It has ended, and its results have this length.
    Done { len: usize },
    /// It has ended without results.
    Failed {
        fault: Fault,
        trap: Option<Trap>,
        /// Where in its module, if that is known.
        place: Option<Place>,
    },
    /// Its slice is used up.
    Yielded,
    /// The other activations leave no room for it; it is where it was.
    NoRoom,
}

impl From<Fault> for Event {
    fn from(fault: Fault) -> Self {
        Self::Failed {
            fault,
            trap: None,
            place: None,
        }
    }
}

impl From<Trap> for Event {
    fn from(trap: Trap) -> Self {
        Self::Failed {
            fault: Fault::Trapped,
            trap: Some(trap),
            place: None,
        }
    }
}
