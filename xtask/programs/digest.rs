//! The SHA-256 digest of some bytes.
#![no_std]

use nimblenet_sdk::export;
use sha2::{Digest, Sha256};

export! {
    fn run(bytes: &[u8], digest: &mut [u8]) -> usize {
        digest[..32].copy_from_slice(&Sha256::digest(bytes));
        32
    }
}
