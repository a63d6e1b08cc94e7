//! Reads the binary format: bytes, LEB128 integers, names, types.

use crate::fault::{Fault, Feature, InvalidModule};
use crate::value::ValType;

/// The declared size of a memory or table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) min: u32,
    pub(crate) max: Option<u32>,
    /// Page size as a power of two; 16 unless the memory says otherwise.
    pub(crate) page_log: u32,
}

/// A position in the bytes of a module, and the end up to which it may read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    pos: usize,
}

impl<'a> Reader<'a> {
    /// A reader of `bytes` from `pos` to their end. Positions count from the module's start.
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
        #[cfg(test)]
        crate::tests::BYTES_READ.with(|read| read.set(read.get() + 1));
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
        #[cfg(test)]
        crate::tests::BYTES_READ.with(|read| read.set(read.get() + len as u64));
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
            // The fifth byte holds the last four bits, and is the last byte.
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
                // The bits past the width repeat the sign, and no byte follows.
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

    /// A count of items of at least one byte each; it is refused if the bytes that follow are too
    /// few.
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

    /// A value type. The error for a type of a feature that is left out names the feature.
    pub(crate) fn value_type(&mut self) -> Result<ValType, InvalidModule> {
        let byte = self.u8()?;
        ValType::from_byte(byte).ok_or_else(|| {
            self.fault(match byte {
                0x7b => Fault::UnsupportedFeature(Feature::Simd),
                0x69 | 0x74 => Fault::UnsupportedFeature(Feature::Exceptions),
                0x63 | 0x64 | 0x6a..=0x6e | 0x71..=0x73 => Fault::UnsupportedFeature(Feature::Gc),
                _ => Fault::BadEncoding,
            })
        })
    }

    /// The type of a reference.
    pub(crate) fn ref_type(&mut self) -> Result<ValType, InvalidModule> {
        let ty = self.value_type()?;
        if ty.is_ref() {
            Ok(ty)
        } else {
            Err(self.fault(Fault::BadEncoding))
        }
    }

    /// The limits of a memory (`is_memory`) or of a table.
    pub(crate) fn size(&mut self, is_memory: bool) -> Result<Size, InvalidModule> {
        let flags = self.u8()?;
        let fault = match flags {
            0 | 1 => None,
            8 | 9 if is_memory => None,
            2 | 3 | 10 | 11 if is_memory => Some(Fault::UnsupportedFeature(Feature::Threads)),
            4..=7 | 12..=15 => Some(Fault::UnsupportedFeature(Feature::Memory64)),
            _ => Some(Fault::BadEncoding),
        };
        if let Some(fault) = fault {
            return Err(self.fault(fault));
        }
        let min = self.u32()?;
        let max = if flags & 1 != 0 {
            Some(self.u32()?)
        } else {
            None
        };
        let page_log = if flags & 8 != 0 { self.u32()? } else { 16 };
        if is_memory {
            if page_log != 0 && page_log != 16 {
                return Err(self.fault(Fault::BadLimits));
            }
            let most = if page_log == 16 { 65_536 } else { u32::MAX };
            if min > most || max.is_some_and(|max| max > most) {
                return Err(self.fault(Fault::BadLimits));
            }
        }
        if max.is_some_and(|max| max < min) {
            return Err(self.fault(Fault::BadLimits));
        }
        Ok(Size { min, max, page_log })
    }

    /// A reader of the next `len` bytes; this reader skips them.
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

    /// An error unless everything was read.
    pub(crate) fn end(&self) -> Result<(), InvalidModule> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(self.fault(Fault::SectionSize))
        }
    }
}
