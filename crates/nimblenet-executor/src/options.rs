//! The options of an executor, and the trait through which its driver lends modules.

use nimblenet_tasklet::ActivationId;
use nimblenet_wasm::Limits;

/// The most activations that an executor holds.
pub const ACTIVATIONS: usize = 16;

/// Bytes of a Linux node's arena, unless its configuration says otherwise.
pub const LINUX_ARENA_BYTES: usize = 1 << 20;
/// Bytes of the arena of a board with serial lines.
pub const BOARD_ARENA_BYTES: usize = 120 << 10;

/// Where the executor gets modules' bytes from.
pub trait CodeSource {
    /// The module that `activation` was started with, the same bytes from its start to its end.
    /// An empty slice makes the activation fail.
    fn code(&self, activation: ActivationId) -> &[u8];
}

/// When activations are frozen.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Freezing {
    /// When another activation needs the room.
    #[default]
    UnderPressure,
    /// At each call of another tasklet, as the NimbleNet paper describes it. If there is no room
    /// for the image, the activation stays as it is.
    Always,
}

/// How an executor works.
#[derive(Clone, Copy, Debug)]
pub struct ExecutorOptions {
    /// Limits on what a module may declare.
    pub limits: Limits,
    /// When activations are frozen.
    pub freezing: Freezing,
    /// Fuel after which an activation yields.
    pub slice: u64,
    /// Microseconds that an activation may sleep in one turn: before a sleep that would make it more
    /// than this, it yields. One sleep is taken however long it is.
    pub slept_us: u64,
    /// Whether fuel is charged. If not, no activation runs out of fuel, or yields because it has used some.
    pub metered: bool,
}

impl Default for ExecutorOptions {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            freezing: Freezing::default(),
            slice: u64::MAX,
            slept_us: u64::MAX,
            metered: true,
        }
    }
}
