//! Reading the binary format: bytes, LEB128 integers, names.

use crate::fault::{Fault, InvalidModule};

/// A position in the bytes of a module, and the end that it may not pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    pos: usize,
}

impl<'a> Reader<'a> {
    /// Reads `bytes` from `pos` to their end. Positions stay those of the whole module.
    pub(crate) fn new(bytes: &'a [u8], pos: usize) -> Self {
        Self { bytes, pos }
    }

    pub(crate) fn pos(&self) -> usize {
        self.pos
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len().saturating_sub(self.pos)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    pub(crate) fn fault(&self, fault: Fault) -> InvalidModule {
        InvalidModule {
            offset: self.pos as u32,
            fault,
        }
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, InvalidModule> {
        match self.bytes.get(self.pos) {
            Some(&byte) => {
                self.pos += 1;
                Ok(byte)
            }
            None => Err(self.fault(Fault::UnexpectedEnd)),
        }
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Result<&'a [u8], InvalidModule> {
        if len > self.remaining() {
            return Err(self.fault(Fault::UnexpectedEnd));
        }
        let out = &self.bytes[self.pos..self.pos + len];
        self.pos += len;
        Ok(out)
    }

    /// An unsigned 32-bit integer.
    #[inline]
    pub(crate) fn u32(&mut self) -> Result<u32, InvalidModule> {
        let first = self.u8()?;
        if first < 0x80 {
            return Ok(u32::from(first));
        }
        self.u32_long(first)
    }

    #[inline(never)]
    fn u32_long(&mut self, first: u8) -> Result<u32, InvalidModule> {
        let mut value = u32::from(first & 0x7f);
        let mut shift = 7;
        loop {
            let byte = self.u8()?;
            // The fifth byte holds the last four bits, and nothing follows it.
            if shift == 28 && byte > 0x0f {
                return Err(self.fault(Fault::BadInteger));
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
            shift += 7;
        }
    }

    /// A signed integer of `bits` bits (32, 33 or 64).
    pub(crate) fn signed(&mut self, bits: u32) -> Result<i64, InvalidModule> {
        let mut value: i64 = 0;
        let mut shift = 0;
        loop {
            let byte = self.u8()?;
            value |= i64::from(byte & 0x7f).wrapping_shl(shift);
            shift += 7;
            if shift >= bits {
                // The bits past the width repeat the sign, and nothing follows.
                let used = bits + 7 - shift;
                let sign = (((byte << 1) as i8) >> used) as u8;
                if byte >= 0x80 || (sign != 0 && sign != 0xff) {
                    return Err(self.fault(Fault::BadInteger));
                }
            }
            if byte < 0x80 {
                if shift < 64 && byte & 0x40 != 0 {
                    value |= -1i64 << shift;
                }
                return Ok(value);
            }
        }
    }

    pub(crate) fn i32(&mut self) -> Result<i32, InvalidModule> {
        Ok(self.signed(32)? as i32)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, InvalidModule> {
        self.signed(64)
    }

    pub(crate) fn f32_bits(&mut self) -> Result<u32, InvalidModule> {
        let bytes = self.bytes(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    pub(crate) fn f64_bits(&mut self) -> Result<u64, InvalidModule> {
        let low = self.f32_bits()?;
        let high = self.f32_bits()?;
        Ok(u64::from(high) << 32 | u64::from(low))
    }

    /// A count of items of at least one byte each; refused when that many cannot follow.
    pub(crate) fn count(&mut self) -> Result<u32, InvalidModule> {
        let count = self.u32()?;
        if count as usize > self.remaining() {
            return Err(self.fault(Fault::UnexpectedEnd));
        }
        Ok(count)
    }

    pub(crate) fn name(&mut self) -> Result<&'a str, InvalidModule> {
        let len = self.u32()? as usize;
        let bytes = self.bytes(len)?;
        core::str::from_utf8(bytes).map_err(|_| self.fault(Fault::BadName))
    }

    /// A reader of the next `len` bytes, which are skipped here.
    pub(crate) fn part(&mut self, len: usize) -> Result<Self, InvalidModule> {
        if len > self.remaining() {
            return Err(self.fault(Fault::UnexpectedEnd));
        }
        let part = Reader {
            bytes: &self.bytes[..self.pos + len],
            pos: self.pos,
        };
        self.pos += len;
        Ok(part)
    }

    /// Fails unless everything has been read.
    pub(crate) fn end(&self) -> Result<(), InvalidModule> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(self.fault(Fault::SectionSize))
        }
    }
}
