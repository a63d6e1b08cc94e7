//! An MPS2 board with the FPGA image AN385, as QEMU emulates it: one Cortex-M3, Ethernet, the node in an
//! interrupt that preempts the interpreter, which is in another.
#![no_std]
#![no_main]

mod devices;
mod ethernet;
mod flash;
mod kept;
mod registers;
mod tasks;
mod time;

use cortex_m_rt::entry;

#[entry]
fn main() -> ! {
    time::start();
    tasks::start();
    loop {
        cortex_m::asm::wfi();
    }
}
