//! What only the chip itself has: memory at fixed places, pins, the watchdog, and the tasks of a
//! board. For other machines than the chip there is nothing here.
#![no_std]
#![cfg(target_os = "none")]
#![allow(unsafe_code)]

mod devices;
mod interpreter;
mod kept;
mod node;
mod time;
pub mod uart;
#[cfg(feature = "wifi")]
pub mod wifi;

pub use interpreter::{InterpreterSide, interpret};
pub use node::NodeSide;

pub(crate) use devices::ChipDevices;
pub(crate) use kept::{ChipWatchdog, boot};
pub(crate) use time::ChipClock;

use embassy_executor::{SendSpawner, SpawnError, SpawnToken, Spawner};

use nimblenet_board::heap::SealedHeap;
use nimblenet_board::provision::Provision;

/// Memory of the node besides its disk: what it takes at its start, 23.5 kB with one namespace or
/// with four, and about 1 kB to spare. A board for which it is not enough does not start.
const HEAP_BYTES: usize = 24_640;

#[global_allocator]
static HEAP: SealedHeap<HEAP_BYTES> = SealedHeap::new();

/// Ends the time in which memory may be taken.
pub(crate) fn seal_heap() {
    HEAP.seal();
}

/// The board's own record, in the last sector of the flash, unless it is none that a node can be
/// made of.
pub(crate) fn record() -> Option<Provision> {
    const PLACE: usize = 0x101f_f000;
    const BYTES: usize = 4096;
    // SAFETY: the flash is mapped there, is read-only, and nothing in this program writes to it.
    let sector = unsafe { core::slice::from_raw_parts(PLACE as *const u8, BYTES) };
    Provision::decode(sector).ok()
}

/// Starts a task. Each is started once, so that its place cannot be taken.
pub fn start<S>(tasks: Spawner, task: Result<SpawnToken<S>, SpawnError>) {
    tasks.spawn(task.expect("each task is started once"));
}

/// Starts a task in an interrupt's executor, each once as well.
pub fn start_in_interrupt<S: Send>(tasks: SendSpawner, task: Result<SpawnToken<S>, SpawnError>) {
    tasks.spawn(task.expect("each task is started once"));
}
