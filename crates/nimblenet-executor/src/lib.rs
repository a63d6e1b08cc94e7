//! An executor: runs tasklets that call each other, in one fixed arena.
//!
//! The [`Executor`] takes pieces of [`Work`] and answers with an [`Outcome`]. It never calls
//! back: a tasklet that calls another is an outcome, and the caller waits in the arena until the
//! answer comes as new work.
//!
//! ```text
//!   Start ------> Called ---> Resume ---> Called | Yielded | Done | Failed
//!   Continue ---> Yielded --> Continue
//!   Freeze -----> Frozen | NotFrozen     Thaw ---> Called | Yielded        Stop ---> (nothing)
//! ```
//!
//! Each kind of executor is a module: `wasm` runs WebAssembly on the interpreter, `native` calls
//! functions of the device. A new kind is a module and a line in [`Executor::execute`].
//!
//! The executor does not keep modules' bytes. Its driver pins them where they are (in flash, in
//! a cache, in a map of a thread) and lends them through [`CodeSource`]. For a driver that
//! passes modules by handles, [`HoldingExecutor`] does this.
#![no_std]
#![forbid(unsafe_code)]

mod holding;
mod native;
mod options;
#[cfg(test)]
mod tests;
mod wasm;

use nimblenet_tasklet::{ActivationId, Executor as Kind, Fault, Host, Outcome, Start, Trap, Work};
pub use nimblenet_wasm::Limits;

pub use holding::HoldingExecutor;
pub use options::{
    ACTIVATIONS, BOARD_ARENA_BYTES, CodeSource, ExecutorOptions, Freezing, LINUX_ARENA_BYTES,
};
use wasm::Wasm;
pub use wasm::need::arena_bytes;

/// What an executor has done so far.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Starts for which a module was validated and translated.
    pub loaded: u64,
    /// Starts that found their module loaded.
    pub warm: u64,
    /// Activations frozen to make room, or at a call.
    pub frozen: u64,
    /// Frozen activations that were thawed again.
    pub thawed: u64,
    /// Pieces of work for an activation that is not there or waits for something else.
    pub stray: u64,
    /// The most bytes of the arena that activations had in use at once: blocks with linear memory
    /// as far as it has grown, and images.
    pub peak_bytes: usize,
}

/// Runs tasklets in an arena of the caller's.
pub struct Executor<'m> {
    wasm: Wasm<'m>,
}

impl<'m> Executor<'m> {
    /// An executor that works in `arena`.
    pub fn new(arena: &'m mut [u8], options: ExecutorOptions) -> Self {
        Self {
            wasm: Wasm::new(arena, options),
        }
    }

    /// Bytes of the arena that belong to activations, with what they reserve. Loaded modules that
    /// are kept for another start do not count: they give way to activations.
    pub fn used_bytes(&self) -> usize {
        self.wasm.used_bytes()
    }

    /// Bytes of the arena.
    pub fn arena_bytes(&self) -> usize {
        self.wasm.arena_bytes()
    }

    /// How many activations there are.
    pub fn activations(&self) -> usize {
        self.wasm.activations()
    }

    /// The digests of the modules that are loaded: those of activations, and those that are kept
    /// for another start. A module may be there more than once.
    pub fn loaded(&self) -> impl Iterator<Item = &[u8; 32]> + Clone {
        self.wasm.loaded()
    }

    /// What has been done so far.
    pub fn counts(&self) -> Counts {
        self.wasm.counts()
    }

    /// Changes the fuel after which an activation yields.
    pub fn set_slice(&mut self, fuel: u64) {
        self.wasm.set_slice(fuel);
    }

    /// Does a piece of work. It writes arguments, results and images to `out`. If arguments or
    /// results are longer than `out`, the run fails with [`Fault::ValuesTooLarge`]; if an image is
    /// longer, the run is not frozen and stays.
    ///
    /// There is no answer to a stop, to a signature check (which the driver does), and to work for
    /// an activation that is not there or waits for something else.
    pub fn execute<'o>(
        &mut self,
        work: &Work<'_>,
        source: &dyn CodeSource,
        host: &mut dyn Host,
        out: &'o mut [u8],
    ) -> Option<Outcome<'o>> {
        let wasm = &mut self.wasm;
        match *work {
            Work::Start(ref start) => match start.entry.terms.executor {
                Kind::Wasm => Some(wasm.start(start, source, host, out)),
                Kind::Native => Some(native::start(start, host, out)),
            },
            Work::Thaw { ref start, image } => Some(wasm.thaw(start, image, source, out)),
            Work::Continue { activation } => wasm.go_on(activation, source, host, out),
            Work::Resume {
                activation,
                result,
                fuel,
            } => wasm.resume(activation, result, fuel, source, host, out),
            Work::Freeze { activation, room } => {
                let room = out.len().min(room);
                wasm.freeze(activation, source, &mut out[..room])
            }
            Work::Stop { activation } => {
                wasm.stop(activation);
                None
            }
            Work::Verify { .. } => None,
        }
    }

    /// Loads a WebAssembly tasklet without running any of its code: the first half of
    /// [`Work::Start`]. The second half is [`Work::Continue`]. It overwrites `scratch`.
    ///
    /// # Errors
    /// The outcome that answers a start that fails. Such a start leaves nothing in the arena.
    pub fn admit(
        &mut self,
        start: &Start<'_>,
        source: &dyn CodeSource,
        scratch: &mut [u8],
    ) -> Result<(), Outcome<'static>> {
        self.wasm.admit(start, source, scratch)
    }

    /// The length of the image that [`Work::Freeze`] would make.
    pub fn image_len(
        &mut self,
        activation: ActivationId,
        source: &dyn CodeSource,
    ) -> Option<usize> {
        self.wasm.image_len(activation, source)
    }
}

/// The failure of a start.
fn refused<'o>(start: &Start<'_>, fault: Fault, trap: Option<Trap>) -> Outcome<'o> {
    Outcome::Failed {
        activation: start.activation,
        fault,
        trap,
        // None of its code has run.
        place: None,
        fuel: start.fuel,
    }
}
