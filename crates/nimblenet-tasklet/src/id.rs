//! Short identifiers that travel in frames and index tables.

use core::fmt;

use crate::{Digest, Name};

/// A node of the mesh. 0xFFFF is no node's id: it addresses every node in reach.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u16);

impl NodeId {
    /// Addresses every node in reach.
    pub const EVERYONE: Self = Self(0xffff);
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

/// A namespace as it appears in frames: the first four bytes of the SHA-256 of its name, big
/// endian. A node refuses to be configured with two namespaces that share one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NamespaceId(pub u32);

impl NamespaceId {
    /// The identifier of the namespace called `name`.
    pub fn of(name: &Name) -> Self {
        let Digest([a, b, c, d, ..]) = Digest::of(name.as_str().as_bytes());
        Self(u32::from_be_bytes([a, b, c, d]))
    }
}

/// A reference to one version of one tasklet, in eight bytes, as frames and caches hold it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TaskletRef {
    /// The namespace.
    pub namespace: NamespaceId,
    /// The entry's number in the namespace's catalogue; it never changes.
    pub number: u16,
    /// The entry's sequence number: rises by one with each published version.
    pub sequence: u16,
}

/// One activation of one tasklet: a run from its start to its result. A node uses each identifier
/// once while it runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ActivationId(pub u32);
