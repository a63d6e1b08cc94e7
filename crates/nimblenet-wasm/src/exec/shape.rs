//! Instructions as data: each is an operation on up to two operands, with a place for its result.
//! The compact dispatcher executes instructions from this data; the others have a handler for each
//! combination, and use the data only to check the handler's length.

use super::operations::operations;

/// The parts of an instruction, in 2 bytes.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) operation: Operation,
    /// The left operand in 2 bits, the right one in 3, the place of the result in 3.
    operands: u8,
}

/// The source of an operand.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Operand {
    /// There is none; it reads as 0.
    None,
    Accumulator,
    /// A slot of 32 bits; one word, its offset.
    Slot,
    /// A slot of 64 bits; one word, its offset.
    WideSlot,
    /// One word, sign-extended.
    Immediate,
    /// Two words.
    Long,
    /// Two words, a 32-bit float that stands for the 64-bit float of the same value.
    Promoted,
}

/// The target of a result.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Place {
    /// There is no result.
    None,
    Accumulator,
    /// The accumulator and a slot of 32 bits.
    Both,
    /// The accumulator and a slot of 64 bits.
    WideBoth,
    /// A slot of 32 bits.
    Slot,
    /// A slot of 64 bits.
    WideSlot,
    /// The result of a comparison, which decides whether a branch is taken. One word, the distance.
    Branch,
}

macro_rules! define {
    (
        binary { $($binary:ident: $in2:ty => $out2:ty, |$a:ident, $b:ident| $body2:expr;)* }
        unary { $($unary:ident: $in1:ty => $out1:ty, |$c:ident| $body1:expr;)* }
    ) => {
        /// The operation of an instruction.
        #[derive(Clone, Copy)]
        #[repr(u8)]
        #[allow(clippy::upper_case_acronyms)]
        pub(super) enum Operation {
            $($binary,)*
            $($unary,)*
            /// The result is the only operand.
            Move,
            /// A constant of four words.
            Const64,
            /// The left operand if the accumulator is not zero, else the right one.
            SelectA,
            /// The left operand if the condition in a slot is not zero, else the right one.
            SelectS,
            GlobalGet32,
            GlobalGet64,
            GlobalSet32,
            GlobalSet64,
            // The address of a load is the sum of both operands and an offset. A load extends the
            // sign to all 64 bits: the bits above a 32-bit value in an accumulator do not matter.
            Load8U,
            Load8S,
            Load16U,
            Load16S,
            Load32U,
            Load32S,
            Load64,
            Store8,
            Store16,
            Store32,
            Store64,
            Offset,
            MemorySize,
            Bulk,
            Halt,
            Unreachable,
            FuelCharge,
            Settle,
            Refs,
            Br,
            BrTable,
            Call,
            CallHost,
            CallIndirect,
            Ret0,
            Ret32,
            Ret64,
            RetN,
        }

        impl Operation {
            /// How many of its words are neither operands nor a place.
            const fn words(self) -> usize {
                match self {
                    Self::SelectS
                    | Self::GlobalGet32
                    | Self::GlobalGet64
                    | Self::GlobalSet32
                    | Self::GlobalSet64
                    | Self::Load8U
                    | Self::Load8S
                    | Self::Load16U
                    | Self::Load16S
                    | Self::Load32U
                    | Self::Load32S
                    | Self::Load64
                    | Self::Store8
                    | Self::Store16
                    | Self::Store32
                    | Self::Store64
                    | Self::Settle
                    | Self::Refs
                    | Self::Br
                    | Self::BrTable
                    | Self::Ret0
                    | Self::Ret32
                    | Self::Ret64 => 1,
                    Self::Offset | Self::Call | Self::CallHost => 2,
                    Self::FuelCharge | Self::RetN => 3,
                    Self::Bulk | Self::CallIndirect => 4,
                    Self::Const64 => 5,
                    $(Self::$binary => 0,)*
                    $(Self::$unary => 0,)*
                    Self::Move
                    | Self::SelectA
                    | Self::MemorySize
                    | Self::Halt
                    | Self::Unreachable => 0,
                }
            }
        }
    };
}
operations!(define);

impl Operand {
    pub(super) const fn slot(wide: bool) -> Self {
        if wide { Self::WideSlot } else { Self::Slot }
    }

    const fn words(self) -> usize {
        match self {
            Self::None | Self::Accumulator => 0,
            Self::Slot | Self::WideSlot | Self::Immediate => 1,
            Self::Long | Self::Promoted => 2,
        }
    }
}

impl Place {
    pub(super) const fn slot(wide: bool) -> Self {
        if wide { Self::WideSlot } else { Self::Slot }
    }

    pub(super) const fn both(wide: bool) -> Self {
        if wide { Self::WideBoth } else { Self::Both }
    }

    const fn words(self) -> usize {
        match self {
            Self::None | Self::Accumulator => 0,
            Self::Both | Self::WideBoth | Self::Slot | Self::WideSlot | Self::Branch => 1,
        }
    }
}

impl Shape {
    pub(super) const fn new(
        operation: Operation,
        left: Operand,
        right: Operand,
        place: Place,
    ) -> Self {
        // The left operand is never a constant.
        assert!(left as u8 <= 3);
        let operands = left as u8 | (right as u8) << 2 | (place as u8) << 5;
        Self {
            operation,
            operands,
        }
    }

    /// An instruction whose words only its handler can read.
    pub(super) const fn alone(operation: Operation) -> Self {
        Self::new(operation, Operand::None, Operand::None, Place::None)
    }

    #[inline(always)]
    pub(super) const fn left(self) -> Operand {
        match self.operands & 3 {
            0 => Operand::None,
            1 => Operand::Accumulator,
            2 => Operand::Slot,
            _ => Operand::WideSlot,
        }
    }

    #[inline(always)]
    pub(super) const fn right(self) -> Operand {
        match self.operands >> 2 & 7 {
            0 => Operand::None,
            1 => Operand::Accumulator,
            2 => Operand::Slot,
            3 => Operand::WideSlot,
            4 => Operand::Immediate,
            5 => Operand::Long,
            _ => Operand::Promoted,
        }
    }

    #[inline(always)]
    pub(super) const fn place(self) -> Place {
        match self.operands >> 5 {
            0 => Place::None,
            1 => Place::Accumulator,
            2 => Place::Both,
            3 => Place::WideBoth,
            4 => Place::Slot,
            5 => Place::WideSlot,
            _ => Place::Branch,
        }
    }

    /// How many words the instruction has; for a branch table, without the distances.
    pub(super) const fn words(self) -> usize {
        let operands = self.left().words() + self.right().words();
        1 + operands + self.operation.words() + self.place().words()
    }
}
