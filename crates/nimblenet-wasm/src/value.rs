//! Value types and values that pass between host and guest.

/// The type of a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum ValType {
    /// A 32-bit integer.
    I32 = 0x7f,
    /// A 64-bit integer.
    I64 = 0x7e,
    /// A 32-bit float.
    F32 = 0x7d,
    /// A 64-bit float.
    F64 = 0x7c,
    /// A reference to a function, or null.
    FuncRef = 0x70,
    /// A reference that has a meaning only for the host, or null.
    ExternRef = 0x6f,
}

impl ValType {
    /// The type that a byte of the binary format stands for.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0x7f => Self::I32,
            0x7e => Self::I64,
            0x7d => Self::F32,
            0x7c => Self::F64,
            0x70 => Self::FuncRef,
            0x6f => Self::ExternRef,
            _ => return None,
        })
    }

    /// How many 4-byte cells of the value stack a value of this type takes.
    pub const fn cells(self) -> usize {
        match self {
            Self::I64 | Self::F64 => 2,
            Self::I32 | Self::F32 | Self::FuncRef | Self::ExternRef => 1,
        }
    }

    /// Whether this is one of the reference types.
    pub const fn is_ref(self) -> bool {
        matches!(self, Self::FuncRef | Self::ExternRef)
    }
}

impl core::fmt::Display for ValType {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::FuncRef => "funcref",
            Self::ExternRef => "externref",
        })
    }
}

/// A value that passes between host and guest.
///
/// Floats are held as their bits, so that values compare and copy exactly, NaNs included. A
/// reference is a number below `u32::MAX`: a function index, or a number that the host chose.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Value {
    /// A 32-bit integer.
    I32(i32),
    /// A 64-bit integer.
    I64(i64),
    /// The bits of a 32-bit float.
    F32(u32),
    /// The bits of a 64-bit float.
    F64(u64),
    /// A function of the instance by its index, or null.
    FuncRef(Option<u32>),
    /// A number of the host's, or null.
    ExternRef(Option<u32>),
}

impl Value {
    /// The type of this value.
    pub const fn ty(&self) -> ValType {
        match self {
            Self::I32(_) => ValType::I32,
            Self::I64(_) => ValType::I64,
            Self::F32(_) => ValType::F32,
            Self::F64(_) => ValType::F64,
            Self::FuncRef(_) => ValType::FuncRef,
            Self::ExternRef(_) => ValType::ExternRef,
        }
    }

    /// The bits of the value; a null reference is 0 and reference `n` is `n + 1`.
    pub const fn to_bits(self) -> u64 {
        match self {
            Self::I32(v) => v as u32 as u64,
            Self::I64(v) => v as u64,
            Self::F32(v) => v as u64,
            Self::F64(v) => v,
            Self::FuncRef(None) | Self::ExternRef(None) => 0,
            Self::FuncRef(Some(v)) | Self::ExternRef(Some(v)) => v.wrapping_add(1) as u64,
        }
    }

    /// The value of this type with these bits; those above its width are ignored.
    pub const fn from_bits(ty: ValType, bits: u64) -> Self {
        let low = bits as u32;
        match ty {
            ValType::I32 => Self::I32(low as i32),
            ValType::I64 => Self::I64(bits as i64),
            ValType::F32 => Self::F32(low),
            ValType::F64 => Self::F64(bits),
            ValType::FuncRef => Self::FuncRef(low.checked_sub(1)),
            ValType::ExternRef => Self::ExternRef(low.checked_sub(1)),
        }
    }
}

impl From<i32> for Value {
    fn from(v: i32) -> Self {
        Self::I32(v)
    }
}

impl From<u32> for Value {
    fn from(v: u32) -> Self {
        Self::I32(v as i32)
    }
}

impl From<i64> for Value {
    fn from(v: i64) -> Self {
        Self::I64(v)
    }
}

impl From<u64> for Value {
    fn from(v: u64) -> Self {
        Self::I64(v as i64)
    }
}

impl From<f32> for Value {
    fn from(v: f32) -> Self {
        Self::F32(v.to_bits())
    }
}

impl From<f64> for Value {
    fn from(v: f64) -> Self {
        Self::F64(v.to_bits())
    }
}
