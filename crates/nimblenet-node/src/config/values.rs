//! The types of values in configuration files.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::str::FromStr;
use std::net::ToSocketAddrs as _;
use std::path::PathBuf;

use nimblenet_core::{Eviction, Placement};
use nimblenet_tasklet::{Capability, NodeId, TaskletName};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::device::Device;

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
        let id = Within::<0, { NodeId::EVERYONE.0 as u64 - 1 }>::deserialize(deserializer)?;
        Ok(Self(NodeId(id.number() as u16)))
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

/// A number from `LEAST` to `MOST`.
#[derive(Clone, Copy)]
pub(super) struct Within<const LEAST: u64, const MOST: u64>(u64);

impl<const LEAST: u64, const MOST: u64> Within<LEAST, MOST> {
    /// A number from the code, which must be in the range.
    pub(super) const fn new(number: u64) -> Self {
        assert!(LEAST <= number && number <= MOST);
        Self(number)
    }

    pub(super) fn number(self) -> u64 {
        self.0
    }

    /// The number as a count of bytes or of things in memory.
    pub(super) fn size(self) -> usize {
        // A number beyond any memory fails where it is allocated.
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl<'de, const LEAST: u64, const MOST: u64> Deserialize<'de> for Within<LEAST, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = i64::deserialize(deserializer)?;
        let within = u64::try_from(number).ok();
        let within = within.filter(|number| (LEAST..=MOST).contains(number));
        within.map(Self).ok_or_else(|| {
            D::Error::custom(format!("from {LEAST} to {MOST} is possible, not {number}"))
        })
    }
}

/// The address of a socket: an IP address or a host's name, and a port.
#[derive(Clone, Copy)]
pub(super) struct Socket(pub(super) SocketAddr);

impl<'de> Deserialize<'de> for Socket {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        look_up(&text).map(Self).map_err(D::Error::custom)
    }
}

/// The address that a text is, or that the name in it stands for.
fn look_up(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let named = text.to_socket_addrs();
    let named =
        named.map_err(|error| format!("{text:?} is no HOST:PORT that has an address: {error}"))?;
    let mut found: Vec<SocketAddr> = named.collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    let first = found.first().copied();
    first.ok_or_else(|| format!("{text:?} has no address"))
}

/// Stands for the address of a neighbour whose name has none yet; nothing can be sent to it.
pub(crate) const UNKNOWN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

fn is_address(text: &str) -> bool {
    text.parse::<SocketAddr>().is_ok()
}

/// Whether a text could be the name of a host and a port.
fn is_host_and_port(text: &str) -> bool {
    let of_name = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let port: Option<u16> = port.parse().ok();
        !host.is_empty() && host.chars().all(of_name) && port.is_some_and(|port| port != 0)
    })
}

/// The addresses of neighbours: each that of one node, none twice.
#[derive(Default)]
pub(super) struct Neighbours {
    pub(super) addresses: Vec<SocketAddr>,
    /// The places of those that are given by name, and the names with their ports.
    pub(super) names: Vec<(usize, String)>,
}

impl<'de> Deserialize<'de> for Neighbours {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let mut neighbours: Vec<SocketAddr> = Vec::new();
        let mut names = Vec::new();
        for text in texts {
            let address = match look_up(&text) {
                Err(_) if is_host_and_port(&text) => UNKNOWN,
                address => address.map_err(D::Error::custom)?,
            };
            let is_named = names.iter().any(|(_, name)| *name == text);
            let wrong = match address {
                it if it == UNKNOWN && !is_address(&text) => is_named.then_some("is there twice"),
                it if it.port() == 0 => Some("has port 0, at which nobody listens"),
                it if it.ip().is_multicast() => Some("is a multicast address; name each node"),
                it if it.ip().is_unspecified() => Some("is no address of one node"),
                it => neighbours.contains(&it).then_some("is there twice"),
            };
            if let Some(wrong) = wrong {
                let shown = if address == UNKNOWN {
                    text
                } else {
                    address.to_string()
                };
                return Err(D::Error::custom(format!("{shown} {wrong}")));
            }
            if !is_address(&text) {
                names.push((neighbours.len(), text));
            }
            neighbours.push(address);
        }
        Ok(Self {
            addresses: neighbours,
            names,
        })
    }
}

/// A directory.
pub(super) struct Dir(pub(super) PathBuf);

impl<'de> Deserialize<'de> for Dir {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let path = PathBuf::deserialize(deserializer)?;
        if path.as_os_str().is_empty() {
            return Err(D::Error::custom("the path of a directory is expected"));
        }
        Ok(Self(path))
    }
}

/// A native tasklet for which the node has a simulated device.
pub(super) struct Native(pub(super) TaskletName);

impl<'de> Deserialize<'de> for Native {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(name) = Text::<TaskletName>::deserialize(deserializer)?;
        let known = Device::of(&name).map(|_| Self(name));
        known.ok_or_else(|| {
            let devices = Device::names(&name.namespace);
            D::Error::custom(format!("no device for {name}; there are {devices}"))
        })
    }
}
