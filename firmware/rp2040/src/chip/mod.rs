//! What only the chip has: memory at fixed places, pins, the watchdog, and the tasks of a board.
//! For other targets this crate is empty.
#![no_std]
#![cfg(target_os = "none")]
#![allow(unsafe_code)]

mod alarm;
mod devices;
mod flash;
mod interpreter;
mod kept;
mod node;
pub mod park;
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
use nimblenet_board::provision::{Provision, ProvisionError};

/// The heap: memory of the node besides its disk. The node allocates nearly all of it at its start with four
/// namespaces. A board that needs more than this does not start.
const HEAP_BYTES: usize = 32_512;

#[global_allocator]
static HEAP: SealedHeap<HEAP_BYTES> = SealedHeap::new();

/// Seals the heap: no allocation is possible afterwards.
pub(crate) fn seal_heap() {
    HEAP.seal();
}

/// The board's record, in the last sector of the flash, as `decode` reads it; none if no node can be made
/// from it.
pub(crate) fn record(
    decode: impl FnOnce(&[u8]) -> Result<Provision, ProvisionError>,
) -> Option<Provision> {
    const PLACE: usize = 0x101f_f000;
    const BYTES: usize = 4096;
    // SAFETY: the flash is mapped there, is read-only, and nothing in this program writes to this sector.
    let sector = unsafe { core::slice::from_raw_parts(PLACE as *const u8, BYTES) };
    decode(sector).ok()
}

/// Starts a task. Each is started only once, so its place is free.
pub fn start<S>(tasks: Spawner, task: Result<SpawnToken<S>, SpawnError>) {
    tasks.spawn(task.expect("each task is started once"));
}

/// Starts a task in an interrupt's executor; each is started only once.
pub fn start_in_interrupt<S: Send>(tasks: SendSpawner, task: Result<SpawnToken<S>, SpawnError>) {
    tasks.spawn(task.expect("each task is started once"));
}
