//! A small assembler for programs of a dozen instructions.
#![allow(dead_code, reason = "each test uses a part of it")]

use runner::{Image, Uart};

/// Where the second-stage loader ends and the vector table begins.
const VECTORS: usize = 0x100;
/// Where code begins, behind the vector table.
const CODE: usize = 0x200;
const FLASH: u32 = 0x1000_0000;
/// The top of the stack of core 0.
const STACK: u32 = 0x2004_0000;

/// The register that takes peripherals out of reset, one bit for each.
pub(crate) const RESETS_CLEAR: u32 = 0x4000_c000 + 0x3000;
/// Base address, interrupt and reset bit of each UART.
pub(crate) const UARTS: [(Uart, u32, usize, u32); 2] = [
    (Uart::Zero, 0x4003_4000, 20, 1 << 22),
    (Uart::One, 0x4003_8000, 21, 1 << 23),
];
/// The register that turns interrupts on, one bit for each.
pub(crate) const NVIC_ENABLE: u32 = 0xe000_e100;

/// A low register.
pub(crate) type Register = u16;

/// A program under construction. It begins with its first instruction, unless
/// [`begin_at`](Self::begin_at) says another address.
#[derive(Default)]
pub(crate) struct Program {
    code: Vec<u16>,
    begin: Option<u32>,
    handlers: Vec<(usize, u32)>,
}

impl Program {
    /// The address of the next instruction.
    pub(crate) fn here(&self) -> u32 {
        FLASH + (CODE + self.code.len() * 2) as u32
    }

    /// The address of the vector table.
    pub(crate) fn vectors(&self) -> u32 {
        FLASH + VECTORS as u32
    }

    /// Loads a constant.
    pub(crate) fn load(&mut self, register: Register, value: u32) -> &mut Self {
        let [first, rest @ ..] = value.to_be_bytes();
        self.code.push(0x2000 | register << 8 | u16::from(first));
        for byte in rest {
            self.code.push(0x0200 | register << 3 | register);
            self.code.push(0x3000 | register << 8 | u16::from(byte));
        }
        self
    }

    /// Reads a word at an address in a register.
    pub(crate) fn read(&mut self, into: Register, address: Register) -> &mut Self {
        self.code.push(0x6800 | address << 3 | into);
        self
    }

    /// Writes a word to an address in a register.
    pub(crate) fn write(&mut self, from: Register, address: Register) -> &mut Self {
        self.code.push(0x6000 | address << 3 | from);
        self
    }

    /// Writes a constant to a constant address, by way of registers 0 and 1.
    pub(crate) fn poke(&mut self, address: u32, value: u32) -> &mut Self {
        self.load(0, address).load(1, value).write(1, 0)
    }

    /// Turns a UART on: about 1 MBd, FIFOs, eight bits, both directions, receive interrupts.
    pub(crate) fn turn_on(&mut self, base: u32, reset: u32) -> &mut Self {
        self.poke(RESETS_CLEAR, reset)
            .poke(base + 0x24, 8)
            .poke(base + 0x2c, 0x70)
            .poke(base + 0x38, 0x50)
            .poke(base + 0x30, 0x301)
    }

    /// Only handles interrupts from here on.
    pub(crate) fn sleep_for_ever(&mut self) {
        let sleep = self.here();
        self.wait_for_event().jump(sleep);
    }

    /// Reads the lower half of a word at an address in a register.
    pub(crate) fn read_half(&mut self, into: Register, address: Register) -> &mut Self {
        self.code.push(0x8800 | address << 3 | into);
        self
    }

    /// Reads words from an address in a register on, into these registers.
    pub(crate) fn read_many(&mut self, address: Register, registers: &[Register]) -> &mut Self {
        let set = registers
            .iter()
            .fold(0, |set, register| set | 1 << register);
        self.code.push(0xc800 | address << 8 | set);
        self
    }

    /// Reads the word that is `words` words above the stack pointer.
    pub(crate) fn read_stack(&mut self, into: Register, words: u16) -> &mut Self {
        self.code.push(0x9800 | into << 8 | words);
        self
    }

    /// Adds a small number.
    pub(crate) fn add(&mut self, register: Register, number: u8) -> &mut Self {
        self.code.push(0x3000 | register << 8 | u16::from(number));
        self
    }

    /// Waits for an event.
    pub(crate) fn wait_for_event(&mut self) -> &mut Self {
        self.code.push(0xbf20);
        self
    }

    /// Waits for an interrupt.
    pub(crate) fn wait_for_interrupt(&mut self) -> &mut Self {
        self.code.push(0xbf30);
        self
    }

    /// Wakes the other core.
    pub(crate) fn send_event(&mut self) -> &mut Self {
        self.code.push(0xbf40);
        self
    }

    /// Masks interrupts from here on.
    pub(crate) fn mask_interrupts(&mut self) -> &mut Self {
        self.code.push(0xb672);
        self
    }

    /// Goes on at an address within 2 KB.
    pub(crate) fn jump(&mut self, to: u32) -> &mut Self {
        let distance = (to as i32 - (self.here() as i32 + 4)) / 2;
        self.code.push(0xe000 | (distance as u16 & 0x07ff));
        self
    }

    /// Returns from an interrupt.
    pub(crate) fn return_from_interrupt(&mut self) -> &mut Self {
        self.code.push(0x4770);
        self
    }

    /// Makes the program begin at an address after reset.
    pub(crate) fn begin_at(&mut self, address: u32) -> &mut Self {
        self.begin = Some(address);
        self
    }

    /// Goes on at an address within 256 bytes if all of these bits of a register are zero, by way
    /// of register 7.
    pub(crate) fn jump_if_clear(&mut self, register: Register, bits: u32, to: u32) -> &mut Self {
        self.load(7, bits);
        self.code.push(0x4200 | 7 << 3 | register);
        let distance = (to as i32 - (self.here() as i32 + 4)) / 2;
        self.code.push(0xd000 | (distance as u16 & 0x00ff));
        self
    }

    /// Handles an interrupt with the code that follows.
    pub(crate) fn handler(&mut self, interrupt: usize) -> &mut Self {
        self.exception(16 + interrupt)
    }

    /// Handles hard faults with the code that follows.
    pub(crate) fn fault_handler(&mut self) -> &mut Self {
        self.exception(3)
    }

    fn exception(&mut self, number: usize) -> &mut Self {
        self.handlers.push((number, self.here()));
        self
    }

    /// The flash with vector table and code.
    pub(crate) fn image(&self) -> Image {
        let mut flash = vec![0; CODE];
        let mut set = |number: usize, value: u32| {
            flash[VECTORS + number * 4..][..4].copy_from_slice(&value.to_le_bytes());
        };
        set(0, STACK);
        set(1, self.begin.unwrap_or(FLASH + CODE as u32) + 1);
        for (number, address) in &self.handlers {
            set(*number, address + 1);
        }
        flash.extend(self.code.iter().flat_map(|code| code.to_le_bytes()));
        Image::raw(&flash).expect("it is small")
    }
}
