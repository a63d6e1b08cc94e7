//! The shortest text of a number.
#![no_std]

use nimblenet_sdk::export;

export! {
    fn run(x: f64, text: &mut [u8]) -> usize {
        let mut buffer = ryu::Buffer::new();
        let shortest = buffer.format(x).as_bytes();
        text[..shortest.len()].copy_from_slice(shortest);
        shortest.len()
    }
}
