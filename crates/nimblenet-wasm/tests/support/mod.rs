//! Functions that the integration tests share.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm
)]

use nimblenet_wasm::{BLOCK_ALIGN, Instance, Limits, LoadOptions, Position, Trap, aligned};
use wasmparser::{Parser, Payload};

/// Bytes for an instance.
pub struct Block(Vec<u8>);

impl Block {
    pub fn new(len: usize) -> Self {
        Self(vec![0xa5; len + BLOCK_ALIGN])
    }

    pub fn bytes(&mut self) -> &mut [u8] {
        aligned(&mut self.0)
    }
}

pub fn module(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

pub fn options() -> LoadOptions {
    LoadOptions {
        limits: Limits {
            stack_slots: 1 << 10,
            ..Limits::default()
        },
        metered: true,
        digest: core::array::from_fn(|index| index as u8 ^ 0x5a),
    }
}

/// The checksum, so that tests can make images that only the later checks can refuse.
pub fn seal(image: &mut [u8]) {
    let (body, check) = image.split_at_mut(image.len() - 4);
    let mut sum = 0x811c_9dc5u32 ^ body.len() as u32;
    let mut mix = |word: u32| sum = (sum.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b1);
    let mut words = body.chunks_exact(4);
    for word in &mut words {
        mix(u32::from_le_bytes(word.try_into().unwrap()));
    }
    for &byte in words.remainder() {
        mix(u32::from(byte));
    }
    sum ^= sum >> 16;
    check.copy_from_slice(&sum.to_le_bytes());
}

/// The instruction at a position, as another reader of modules finds it; none if none starts there.
pub fn instruction_at(code: &[u8], position: Position) -> Option<String> {
    let mut function = 0;
    for payload in Parser::new(0).parse_all(code) {
        match payload.unwrap() {
            // A module here imports functions only.
            Payload::ImportSection(imports) => function = imports.into_imports().count() as u32,
            Payload::CodeSectionEntry(body) => {
                if function == position.function {
                    let operators = body.get_operators_reader().unwrap();
                    let mut operators = operators.into_iter_with_offsets().map(Result::unwrap);
                    let found = operators.find(|(_, at)| *at as u32 == position.offset);
                    return found.map(|(operator, _)| format!("{operator:?}"));
                }
                function += 1;
            }
            _ => {}
        }
    }
    None
}

/// Checks that a trap is at an instruction that can have it: a call may, if the host answered it
/// with a trap.
pub fn check_position(instance: &Instance<'_>, code: &[u8], trap: Trap) {
    let position = instance.position(&mut vec![0; 1 << 20]).unwrap();
    let instruction = instruction_at(code, position).unwrap();
    let own: &[&str] = match trap {
        Trap::Unreachable => &["Unreachable"],
        Trap::DivideByZero => &["DivS", "DivU", "RemS", "RemU"],
        Trap::IntegerOverflow => &["DivS", "Trunc"],
        Trap::BadConversion => &["Trunc"],
        Trap::OutOfBoundsMemory => &["Load", "Store", "Memory"],
        Trap::OutOfBoundsTable => &["Table"],
        Trap::UndefinedElement | Trap::UninitialisedElement | Trap::IndirectCallType => {
            &["CallIndirect"]
        }
        Trap::StackExhausted | Trap::HostFailure => &[],
    };
    let mut able = own.iter().chain(&["Call"]);
    assert!(
        able.any(|it| instruction.contains(it)),
        "{trap}: {instruction}"
    );
}
