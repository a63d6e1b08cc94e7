//! The board's Ethernet controller, a LAN9118 (SMSC LAN9118 datasheet).

use core::task::Context;

use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState, RxToken, TxToken};
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex as Shared;
use embassy_sync::waitqueue::GenericAtomicWaker;

use crate::registers::{ETHERNET, Interrupt};

// Registers.
const RX_DATA: usize = 0x00;
const TX_DATA: usize = 0x20;
const RX_STATUS: usize = 0x40;
const TX_STATUS: usize = 0x48;
const IRQ_CFG: usize = 0x54;
const INT_STS: usize = 0x58;
const INT_EN: usize = 0x5c;
const RX_CFG: usize = 0x6c;
const TX_CFG: usize = 0x70;
const HW_CFG: usize = 0x74;
const RX_FIFO_INF: usize = 0x7c;
const TX_FIFO_INF: usize = 0x80;
const MAC_CSR_CMD: usize = 0xa4;
const MAC_CSR_DATA: usize = 0xa8;

// Registers behind `MAC_CSR_CMD`.
const MAC_CR: u32 = 1;
const ADDRH: u32 = 2;
const ADDRL: u32 = 3;

/// A frame is there.
const RX_LEVEL: u32 = 1 << 3;
/// The interrupt is on, active high and driven both ways.
const IRQ_ON: u32 = 1 << 8 | 1 << 4 | 1;
const RESET: u32 = 1;
/// 5 of 16 kB for frames that are sent, as after a reset; frames are stored whole before they are sent.
const SHARES: u32 = 1 << 20 | 5 << 16;
const TX_ON: u32 = 1 << 1;
const MAC_ON: u32 = 1 << 3 | 1 << 2;
const BUSY: u32 = 1 << 31;
const READ: u32 = 1 << 30;
/// The first word before a frame that is sent whole: its length is in the lower bits.
const WHOLE_FRAME: u32 = 1 << 13 | 1 << 12;

/// The longest frame, its checksum not counted.
const FRAME_BYTES: usize = 1514;
const CHECKSUM_BYTES: usize = 4;
const WORD_BYTES: usize = 4;
/// Room for a frame with its checksum, in whole words.
const ROOM_BYTES: usize = (FRAME_BYTES + CHECKSUM_BYTES).next_multiple_of(WORD_BYTES);

/// The task that waits for frames.
static RECEIVER: GenericAtomicWaker<Shared> = GenericAtomicWaker::new(Shared::new());

/// The controller.
pub(crate) struct Ethernet {
    address: [u8; 6],
    frame: [u8; ROOM_BYTES],
}

impl Ethernet {
    /// Starts the controller, with the address that it was given before.
    pub(crate) fn start() -> Self {
        ETHERNET.write(HW_CFG, RESET);
        while ETHERNET.read(HW_CFG) & RESET != 0 {}
        ETHERNET.write(HW_CFG, SHARES);
        let [low, high] = [ADDRL, ADDRH].map(|register| mac_read(register).to_le_bytes());
        let [a, b, c, d] = low;
        let [e, f, ..] = high;
        mac_write(MAC_CR, MAC_ON);
        ETHERNET.write(TX_CFG, TX_ON);
        ETHERNET.write(RX_CFG, 0);
        ETHERNET.write(IRQ_CFG, IRQ_ON);
        Interrupt::Ethernet.enable();
        Self {
            address: [a, b, c, d, e, f],
            frame: [0; ROOM_BYTES],
        }
    }
}

/// Handles the controller's interrupt: it stays off until the task has taken all frames.
pub(crate) fn interrupt() {
    ETHERNET.write(INT_EN, 0);
    RECEIVER.wake();
}

fn mac_command(command: u32) {
    ETHERNET.write(MAC_CSR_CMD, BUSY | command);
    while ETHERNET.read(MAC_CSR_CMD) & BUSY != 0 {}
}

fn mac_read(register: u32) -> u32 {
    mac_command(READ | register);
    ETHERNET.read(MAC_CSR_DATA)
}

fn mac_write(register: u32, value: u32) {
    ETHERNET.write(MAC_CSR_DATA, value);
    mac_command(register);
}

fn has_frame() -> bool {
    (ETHERNET.read(RX_FIFO_INF) >> 16) & 0xff != 0
}

/// Reads the next frame into `room`, and returns its length without its checksum. Of a frame that is too
/// long or damaged nothing is left.
fn take_frame(room: &mut [u8; ROOM_BYTES]) -> usize {
    const ERROR: u32 = 1 << 15;
    let status = ETHERNET.read(RX_STATUS);
    let bytes = (status >> 16 & 0x3fff) as usize;
    let mut words = room.chunks_exact_mut(WORD_BYTES);
    for _ in 0..bytes.div_ceil(WORD_BYTES) {
        let word = ETHERNET.read(RX_DATA).to_le_bytes();
        if let Some(place) = words.next() {
            place.copy_from_slice(&word);
        }
    }
    let is_good = status & ERROR == 0 && (CHECKSUM_BYTES..=ROOM_BYTES).contains(&bytes);
    if is_good { bytes - CHECKSUM_BYTES } else { 0 }
}

/// A frame that has come in.
pub(crate) struct Received<'a>(&'a mut [u8]);

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, read: F) -> R {
        read(self.0)
    }
}

/// Room for a frame that goes out.
pub(crate) struct Sending;

impl TxToken for Sending {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        let mut room = [0; ROOM_BYTES];
        let result = write(&mut room[..length]);
        ETHERNET.write(TX_DATA, WHOLE_FRAME | length as u32);
        ETHERNET.write(TX_DATA, length as u32);
        for word in room[..length.next_multiple_of(WORD_BYTES)].chunks_exact(WORD_BYTES) {
            let word = [word[0], word[1], word[2], word[3]];
            ETHERNET.write(TX_DATA, u32::from_le_bytes(word));
        }
        // What became of frames that were sent before: nobody asks, and it takes room.
        while (ETHERNET.read(TX_FIFO_INF) >> 16) & 0xff != 0 {
            ETHERNET.read(TX_STATUS);
        }
        result
    }
}

/// Whether there is room for the longest frame, with the two words before it.
fn has_room() -> bool {
    (ETHERNET.read(TX_FIFO_INF) & 0xffff) as usize >= ROOM_BYTES + 2 * WORD_BYTES
}

impl Driver for Ethernet {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Sending;

    fn receive(&mut self, context: &mut Context<'_>) -> Option<(Received<'_>, Sending)> {
        if !has_frame() {
            RECEIVER.register(context.waker());
            ETHERNET.write(INT_STS, RX_LEVEL);
            ETHERNET.write(INT_EN, RX_LEVEL);
            // One may have come before the interrupt was on.
            if !has_frame() {
                return None;
            }
        }
        let length = take_frame(&mut self.frame);
        Some((Received(&mut self.frame[..length]), Sending))
    }

    fn transmit(&mut self, context: &mut Context<'_>) -> Option<Sending> {
        if has_room() {
            return Some(Sending);
        }
        // A frame leaves within a millisecond.
        context.waker().wake_by_ref();
        None
    }

    fn link_state(&mut self, _: &mut Context<'_>) -> LinkState {
        LinkState::Up
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = FRAME_BYTES;
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet(self.address)
    }
}
