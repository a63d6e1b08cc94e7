//! Loads and stores.

use wasmparser::{MemArg, Operator};

use nimblenet_tasklet::Scalar;

/// A load or a store.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Access {
    /// What stands in the instruction.
    pub(in super::super) argument: MemArg,
    /// The bytes it touches, as a number of that many bytes; the sign of an integer that is as
    /// wide as its WebAssembly type is not known and taken for unsigned.
    pub(in super::super) element: Scalar,
    /// Whether it writes.
    pub(in super::super) store: bool,
}

impl Access {
    /// The load or store that `operator` is.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "only loads and stores have memory arguments"
    )]
    pub(in super::super) fn of(operator: &Operator<'_>) -> Option<Self> {
        let (argument, element, store) = match *operator {
            Operator::I32Load8S { memarg } | Operator::I64Load8S { memarg } => {
                (memarg, Scalar::S8, false)
            }
            Operator::I32Load8U { memarg } | Operator::I64Load8U { memarg } => {
                (memarg, Scalar::U8, false)
            }
            Operator::I32Load16S { memarg } | Operator::I64Load16S { memarg } => {
                (memarg, Scalar::S16, false)
            }
            Operator::I32Load16U { memarg } | Operator::I64Load16U { memarg } => {
                (memarg, Scalar::U16, false)
            }
            Operator::I64Load32S { memarg } => (memarg, Scalar::S32, false),
            Operator::I32Load { memarg } | Operator::I64Load32U { memarg } => {
                (memarg, Scalar::U32, false)
            }
            Operator::F32Load { memarg } => (memarg, Scalar::F32, false),
            Operator::I64Load { memarg } => (memarg, Scalar::U64, false),
            Operator::F64Load { memarg } => (memarg, Scalar::F64, false),
            Operator::I32Store8 { memarg } | Operator::I64Store8 { memarg } => {
                (memarg, Scalar::U8, true)
            }
            Operator::I32Store16 { memarg } | Operator::I64Store16 { memarg } => {
                (memarg, Scalar::U16, true)
            }
            Operator::I32Store { memarg } | Operator::I64Store32 { memarg } => {
                (memarg, Scalar::U32, true)
            }
            Operator::F32Store { memarg } => (memarg, Scalar::F32, true),
            Operator::I64Store { memarg } => (memarg, Scalar::U64, true),
            Operator::F64Store { memarg } => (memarg, Scalar::F64, true),
            _ => return None,
        };
        Some(Self {
            argument,
            element,
            store,
        })
    }

    /// How many bytes it touches.
    pub(in super::super) fn bytes(&self) -> u64 {
        self.element.size() as u64
    }
}
