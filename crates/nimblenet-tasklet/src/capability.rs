//! The functions that modules import from `nimblenet:<capability>`.
//!
//! | import | parameters | result | meaning |
//! |---|---|---|---|
//! | `nimblenet:sensor` `read` | channel `i32` | `f32` | the latest reading of a sensor channel |
//! | `nimblenet:actuator` `set` | channel `i32`, value `f32` | | drives an actuator channel |
//! | `nimblenet:clock` `now-us` | | `i64` | microseconds since the node started |
//! | `nimblenet:clock` `sleep-us` | microseconds `i32` | | waits so long, at most [`SLEEP_US_MAX`] and two seconds on a board, and keeps its executor meanwhile |
//! | `nimblenet:log` `write` | address `i32`, length `i32` | | one line of UTF-8 for the node's log |
//! | `nimblenet:kv` `get` | key `i32` | `i64` | a value that the tasklet keeps on the node; 0 if there is none |
//! | `nimblenet:kv` `set` | key `i32`, value `i64` | | keeps a value on the node, for this tasklet alone |
//! | `nimblenet:random` `u32` | | `i32` | 32 random bits |
//!
//! The table is closed: a module that imports anything else from these modules, or with other
//! types, is refused before any of its code runs.

use crate::FlatType::{F32, I32, I64};
use crate::{Capability, FlatType};

/// The longest time that `nimblenet:clock` `sleep-us` waits, in microseconds: a minute. Who asks for
/// more has a wrong argument.
pub const SLEEP_US_MAX: u32 = 60_000_000;

/// A function of a capability.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CapabilityFunction {
    /// Its name in the module `nimblenet:<capability>`.
    pub name: &'static str,
    /// The types of its parameters.
    pub params: &'static [FlatType],
    /// The type of its result, if it has one.
    pub result: Option<FlatType>,
}

impl CapabilityFunction {
    const fn new(
        name: &'static str,
        params: &'static [FlatType],
        result: Option<FlatType>,
    ) -> Self {
        Self {
            name,
            params,
            result,
        }
    }
}

impl Capability {
    /// The module from which its functions are imported.
    pub const fn module(self) -> &'static str {
        match self {
            Self::Sensor => "nimblenet:sensor",
            Self::Actuator => "nimblenet:actuator",
            Self::Clock => "nimblenet:clock",
            Self::Log => "nimblenet:log",
            Self::Kv => "nimblenet:kv",
            Self::Random => "nimblenet:random",
        }
    }

    /// The capability whose functions are imported from `module`.
    pub fn from_module(module: &str) -> Option<Self> {
        Self::from_name(module.strip_prefix("nimblenet:")?)
    }

    /// Its functions. Their positions never change; new ones are added at the end.
    pub const fn functions(self) -> &'static [CapabilityFunction] {
        const SENSOR: &[CapabilityFunction] = &[CapabilityFunction::new("read", &[I32], Some(F32))];
        const ACTUATOR: &[CapabilityFunction] =
            &[CapabilityFunction::new("set", &[I32, F32], None)];
        const CLOCK: &[CapabilityFunction] = &[
            CapabilityFunction::new("now-us", &[], Some(I64)),
            CapabilityFunction::new("sleep-us", &[I32], None),
        ];
        const LOG: &[CapabilityFunction] = &[CapabilityFunction::new("write", &[I32, I32], None)];
        const KV: &[CapabilityFunction] = &[
            CapabilityFunction::new("get", &[I32], Some(I64)),
            CapabilityFunction::new("set", &[I32, I64], None),
        ];
        const RANDOM: &[CapabilityFunction] = &[CapabilityFunction::new("u32", &[], Some(I32))];
        match self {
            Self::Sensor => SENSOR,
            Self::Actuator => ACTUATOR,
            Self::Clock => CLOCK,
            Self::Log => LOG,
            Self::Kv => KV,
            Self::Random => RANDOM,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capability_has_a_module_and_functions_with_names_of_their_own() {
        for capability in Capability::ALL {
            assert_eq!(
                Capability::from_module(capability.module()),
                Some(capability)
            );
            let functions = capability.functions();
            for (at, function) in functions.iter().enumerate() {
                assert!(functions[..at].iter().all(|it| it.name != function.name));
            }
        }
        assert_eq!(Capability::from_module("nimblenet:radio"), None);
        assert_eq!(Capability::from_module("clock"), None);
    }
}
