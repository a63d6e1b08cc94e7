//! What was packed by zlib.
#![no_std]

use miniz_oxide::inflate::decompress_slice_iter_to_slice;
use nimblenet_sdk::export;

export! {
    fn run(packed: &[u8], plain: &mut [u8]) -> usize {
        decompress_slice_iter_to_slice(plain, core::iter::once(packed), true, false).unwrap()
    }
}
