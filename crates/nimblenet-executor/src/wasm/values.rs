//! Translates values and ends between an instance and the contract.

use nimblenet_tasklet::abi::{self, AbiError};
use nimblenet_tasklet::{Fault, FlatType, Trap as TaskletTrap};
use nimblenet_wasm::{Instance, Trap, Value};

use super::activation::Event;
use super::link::val_type;

/// The end of a run whose values cannot be lifted from its module.
pub(super) fn lift_failed(error: AbiError) -> Event {
    if error == AbiError::BufferFull {
        Fault::ValuesTooLarge.into()
    } else {
        TaskletTrap::OutOfBoundsMemory.into()
    }
}

/// The end of a run that its module's code has trapped.
pub(super) fn trapped(trap: Trap) -> Event {
    let named = match trap {
        Trap::Unreachable => TaskletTrap::Unreachable,
        Trap::DivideByZero => TaskletTrap::DivideByZero,
        Trap::IntegerOverflow => TaskletTrap::IntegerOverflow,
        Trap::BadConversion => TaskletTrap::BadConversion,
        Trap::OutOfBoundsMemory => TaskletTrap::OutOfBoundsMemory,
        Trap::OutOfBoundsTable => TaskletTrap::OutOfBoundsTable,
        Trap::UndefinedElement => TaskletTrap::UndefinedElement,
        Trap::UninitialisedElement => TaskletTrap::UninitialisedElement,
        Trap::IndirectCallType => TaskletTrap::IndirectCallType,
        Trap::StackExhausted => TaskletTrap::StackExhausted,
        Trap::HostFailure => TaskletTrap::Host,
    };
    named.into()
}

/// Whether values are of these types.
pub(super) fn have_types(values: &[Value], types: impl Iterator<Item = FlatType>) -> bool {
    values.iter().map(Value::ty).eq(types.map(val_type))
}

/// WebAssembly values on their way between an instance and the ABI.
pub(super) struct Values {
    values: [Value; abi::MAX_FLAT],
    len: usize,
}

impl Values {
    /// The arguments of the call that an instance waits for.
    pub(super) fn of_call(instance: &Instance<'_>) -> Self {
        let mut all = Self::none();
        all.len = instance.call_args(&mut all.values).min(abi::MAX_FLAT);
        all
    }

    /// Values of these types with these bits.
    pub(super) fn from_bits(types: impl Iterator<Item = FlatType>, bits: &[u64]) -> Self {
        let mut all = Self::none();
        for (ty, bits) in types.zip(bits) {
            all.values[all.len] = match ty {
                FlatType::I32 => Value::I32(*bits as i32),
                FlatType::I64 => Value::I64(*bits as i64),
                FlatType::F32 => Value::F32(*bits as u32),
                FlatType::F64 => Value::F64(*bits),
            };
            all.len += 1;
        }
        all
    }

    pub(super) fn as_slice(&self) -> &[Value] {
        &self.values[..self.len]
    }

    pub(super) fn bits(&self) -> Bits {
        let mut bits = [0; abi::MAX_FLAT];
        for (bits, value) in bits.iter_mut().zip(self.as_slice()) {
            *bits = value.to_bits();
        }
        Bits {
            bits,
            len: self.len,
        }
    }

    fn none() -> Self {
        Self {
            values: [Value::I32(0); abi::MAX_FLAT],
            len: 0,
        }
    }
}

/// WebAssembly values as the ABI takes them.
pub(super) struct Bits {
    bits: [u64; abi::MAX_FLAT],
    len: usize,
}

impl core::ops::Deref for Bits {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        &self.bits[..self.len]
    }
}
