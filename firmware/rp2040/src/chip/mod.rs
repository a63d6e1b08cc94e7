//! What only the chip itself has: memory at fixed places, pins, the watchdog.
#![no_std]
#![cfg(target_os = "none")]
#![allow(unsafe_code)]

extern crate alloc;

mod devices;
mod kept;
mod time;
pub mod uart;
#[cfg(feature = "wifi")]
pub mod wifi;

pub use devices::{ChipDevices, Pins};
pub use kept::{Boot, ChipWatchdog, boot};
pub use time::ChipClock;

use embassy_executor::{SendSpawner, SpawnError, SpawnToken, Spawner};

use nimblenet_board::heap::SealedHeap;

/// Memory of the node besides its disk: what it takes at its start, 23.5 kB with one namespace or
/// with four, and about 1 kB to spare. A board for which it is not enough does not start.
const HEAP_BYTES: usize = 24_640;

#[global_allocator]
static HEAP: SealedHeap<HEAP_BYTES> = SealedHeap::new();

/// Ends the time in which memory may be taken.
pub fn seal_heap() {
    HEAP.seal();
}

/// The last sector of the flash, where the board's own record is.
pub fn provision_sector() -> &'static [u8] {
    const PLACE: usize = 0x101f_f000;
    const BYTES: usize = 4096;
    // SAFETY: the flash is mapped there, is read-only, and nothing in this program writes to it.
    unsafe { core::slice::from_raw_parts(PLACE as *const u8, BYTES) }
}

/// Starts a task. Each is started once, so that its place cannot be taken.
pub fn start<S>(tasks: Spawner, task: Result<SpawnToken<S>, SpawnError>) {
    tasks.spawn(task.expect("each task is started once"));
}

/// Starts a task in an interrupt's executor, each once as well.
pub fn start_in_interrupt<S: Send>(tasks: SendSpawner, task: Result<SpawnToken<S>, SpawnError>) {
    tasks.spawn(task.expect("each task is started once"));
}
