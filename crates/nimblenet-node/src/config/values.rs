//! Values as they are written in configuration files.

use core::fmt;
use core::str::FromStr;

use nimblenet_core::{Eviction, Placement};
use nimblenet_tasklet::{Capability, NodeId, TaskletName};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::MAX_EXECUTORS;
use crate::host::Device;

/// A value that is written as text.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Text<T>(pub(super) T);

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(D::Error::custom)
    }
}

/// The id of a node.
pub(super) struct Id(pub(super) NodeId);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match NodeId(u16::deserialize(deserializer)?) {
            NodeId::EVERYONE => Err(D::Error::custom("an id is at most 65534")),
            id => Ok(Self(id)),
        }
    }
}

/// A capability by its name.
pub(super) struct CapabilityName(pub(super) Capability);

impl<'de> Deserialize<'de> for CapabilityName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let known = || Capability::ALL.map(Capability::name).join(", ");
        let unknown = || {
            D::Error::custom(format!(
                "there is no capability {name:?}; there are {}",
                known()
            ))
        };
        Capability::from_name(&name).map(Self).ok_or_else(unknown)
    }
}

/// An eviction policy by its name in the table.
pub(super) struct EvictionName(pub(super) &'static Eviction);

impl<'de> Deserialize<'de> for EvictionName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Eviction::named(&name).map(Self).ok_or_else(|| {
            let names: Vec<&str> = Eviction::ALL.iter().map(|policy| policy.name).collect();
            D::Error::custom(format!(
                "there is no eviction policy {name:?}; there are {}",
                names.join(", ")
            ))
        })
    }
}

/// A placement policy by its name in the table.
pub(super) struct PlacementName(pub(super) &'static Placement);

impl<'de> Deserialize<'de> for PlacementName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Placement::named(&name).map(Self).ok_or_else(|| {
            let names: Vec<&str> = Placement::ALL.iter().map(|policy| policy.name).collect();
            D::Error::custom(format!(
                "there is no placement policy {name:?}; there are {}",
                names.join(", ")
            ))
        })
    }
}

/// A number of executors that a node may have.
pub(super) struct Executors(pub(super) usize);

impl Default for Executors {
    fn default() -> Self {
        Self(1)
    }
}

impl<'de> Deserialize<'de> for Executors {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match usize::deserialize(deserializer)? {
            number @ 1..=MAX_EXECUTORS => Ok(Self(number)),
            number => Err(D::Error::custom(format!(
                "a node has 1 to {MAX_EXECUTORS} executors, not {number}"
            ))),
        }
    }
}

/// A native tasklet that there is a device for.
pub(super) struct Native(pub(super) TaskletName);

impl<'de> Deserialize<'de> for Native {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(name) = Text::<TaskletName>::deserialize(deserializer)?;
        let known = Device::of(&name).map(|_| Self(name));
        known.ok_or_else(|| {
            let devices = Device::names();
            D::Error::custom(format!("no device for {name}; there are {devices}"))
        })
    }
}
