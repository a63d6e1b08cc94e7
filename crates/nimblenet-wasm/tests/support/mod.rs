//! What the integration tests share.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use nimblenet_wasm::{BLOCK_ALIGN, Limits, LoadOptions, aligned};

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
