//! The CRC-32 of some bytes.
#![no_std]

use crc::{CRC_32_ISO_HDLC, Crc};
use nimblenet_sdk::export;

static CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

export! {
    fn run(bytes: &[u8]) -> u32 {
        CRC.checksum(bytes)
    }
}
