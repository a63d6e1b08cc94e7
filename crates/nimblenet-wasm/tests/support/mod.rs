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
