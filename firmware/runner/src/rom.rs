//! The boot ROM: the table of its functions, of which firmware uses those that erase and program flash.
//!
//! What they do is the runner's work. Each puts its arguments and a number into registers that only this
//! ROM knows, and waits until the number is 0 again; `rp2040-emu.patch` has these registers.

/// Where the word is that says where the table is (datasheet 2.8.3).
const TABLE_POINTER: usize = 0x14;
const TABLE: usize = 0x20;
const CODE: usize = 0x80;
const BYTES: usize = 0x100;

/// From now on the cores do not see flash; this needs no answer.
const UNMAP: u32 = 1;
/// Erases; the arguments are the offset in flash, and the length.
pub(crate) const ERASE: u32 = 2;
/// Programs; the arguments are the offset in flash, the address of the bytes, and the length.
pub(crate) const PROGRAM: u32 = 3;

/// The functions: their letters, and what they ask for.
const FUNCTIONS: [([u8; 2], Option<u32>); 5] = [
    (*b"IF", None),
    (*b"EX", Some(UNMAP)),
    (*b"RE", Some(ERASE)),
    (*b"RP", Some(PROGRAM)),
    (*b"FC", None),
];

/// The beginning of the ROM.
pub(crate) fn bytes() -> [u8; BYTES] {
    let mut rom = [0; BYTES];
    let mut put = |at: usize, half: u16| rom[at..at + 2].copy_from_slice(&half.to_le_bytes());
    put(TABLE_POINTER, TABLE as u16);
    let (mut entry, mut at) = (TABLE, CODE);
    for (letters, what) in FUNCTIONS {
        put(entry, u16::from_le_bytes(letters));
        // Thumb code has odd addresses.
        put(entry + 2, at as u16 | 1);
        entry += 4;
        let code = what.map(ask).into_iter().flatten();
        for half in code.chain([RETURN]) {
            put(at, half);
            at += 2;
        }
    }
    rom
}

/// BX LR.
const RETURN: u16 = 0x4770;

/// Code that asks for something, and waits for it.
fn ask(what: u32) -> [u16; 10] {
    [
        0x233f,               // MOVS R3, #0x3f
        0x021b,               // LSLS R3, R3, #8
        0x6018,               // STR  R0, [R3, #0]
        0x6059,               // STR  R1, [R3, #4]
        0x609a,               // STR  R2, [R3, #8]
        0x2200 | what as u16, // MOVS R2, #what
        0x60da,               // STR  R2, [R3, #12]
        0x68da,               // LDR  R2, [R3, #12]
        0x2a00,               // CMP  R2, #0
        0xd1fc,               // BNE  to the LDR
    ]
}
