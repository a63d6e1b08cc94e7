//! Who a board is: the record in its flash, so that all boards run one image and each is another
//! node (spec/board.md, section 2).

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use nimblenet_tasklet::{Capabilities, Digest, Name, NamespaceId, NodeId};

use nimblenet_core::{NamespaceConfig, Pace, Placement};

use crate::PLACES;

mod network;

use network::MAX_NEIGHBOURS;
pub use network::Network;

/// The most namespaces in one record.
const MAX_NAMESPACES: usize = 4;
const MAGIC: [u8; 4] = *b"NNPR";
const VERSION: u8 = 1;
/// Magic, version and length.
const HEAD_BYTES: usize = 7;
const CHECK_BYTES: usize = 8;
/// Bytes of the times that a board waits for others.
const PACE_BYTES: usize = 10;
/// Bytes of where its calls run.
const POLICY_BYTES: usize = 1;
/// Stands where a network would begin, if there is none and something follows.
const NO_NETWORK: u8 = 0;
/// The value of each byte of erased flash.
const ERASED: u8 = 0xff;

/// Where calls run that clients make at a board.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Policy {
    /// On the board.
    Here = 0,
    /// Where they will have ended first: on the board, or at a neighbour.
    LeastWork = 1,
}

impl Policy {
    /// Every policy, in the order of their numbers.
    pub const ALL: [Self; 2] = [Self::Here, Self::LeastWork];

    /// The policy of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.name() == name)
    }

    /// Its name in configurations.
    pub fn name(self) -> &'static str {
        self.placement().name
    }

    /// The same for a node.
    pub fn placement(self) -> &'static Placement {
        match self {
            Self::Here => Placement::HERE,
            Self::LeastWork => Placement::LEAST_WORK,
        }
    }
}

/// A node's id, the namespaces that it takes tasklets from, the network of its radio, how long it
/// waits for others, and where its calls run.
///
/// A node can be configured with every value of this type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Provision {
    id: NodeId,
    namespaces: Vec<NamespaceConfig>,
    network: Option<Network>,
    pace: Option<Pace>,
    policy: Option<Policy>,
}

impl Provision {
    /// Bytes of the longest record.
    pub const MAX_BYTES: usize = HEAD_BYTES
        + 3
        + MAX_NAMESPACES * (1 + 32 + 2 + 32 + 1)
        + Network::MAX_BYTES
        + PACE_BYTES
        + POLICY_BYTES
        + CHECK_BYTES;

    /// A node with these namespaces, at most four.
    ///
    /// # Errors
    /// [`ProvisionError`] names the part that is not possible for a node.
    pub fn new(id: NodeId, namespaces: Vec<NamespaceConfig>) -> Result<Self, ProvisionError> {
        if id == NodeId::EVERYONE {
            return Err(ProvisionError::Id);
        }
        if namespaces.len() > MAX_NAMESPACES {
            return Err(ProvisionError::TooManyNamespaces);
        }
        for (at, namespace) in namespaces.iter().enumerate() {
            if namespace.registry == NodeId::EVERYONE {
                return Err(ProvisionError::Registry);
            }
            if !Capabilities::ALL.covers(namespace.capabilities) {
                return Err(ProvisionError::Capabilities);
            }
            let id = NamespaceId::of(&namespace.name);
            let others = namespaces[..at].iter();
            if others
                .map(|it| NamespaceId::of(&it.name))
                .any(|it| it == id)
            {
                return Err(ProvisionError::NamespaceClash);
            }
        }
        Ok(Self {
            id,
            namespaces,
            network: None,
            pace: None,
            policy: None,
        })
    }

    /// The same with a radio that is on `network`.
    #[must_use]
    pub fn with_network(self, network: Network) -> Self {
        Self {
            network: Some(network),
            ..self
        }
    }

    /// The same for links on which a node waits for others as long as `pace` says, in milliseconds of
    /// at most 16 bits.
    ///
    /// # Errors
    /// [`ProvisionError::Pace`] if one of these times is zero or longer.
    pub fn with_pace(self, pace: Pace) -> Result<Self, ProvisionError> {
        let times = times(&pace);
        let good = times
            .iter()
            .all(|time| (1..=65_535).contains(&time.as_millis()));
        let pace = good.then_some(pace).ok_or(ProvisionError::Pace)?;
        Ok(Self {
            pace: Some(pace),
            ..self
        })
    }

    /// The same for a board whose image places calls, as `policy` says. It waits for others as on serial
    /// lines, unless it was said how.
    #[must_use]
    pub fn with_policy(self, policy: Policy) -> Self {
        Self {
            pace: Some(self.pace.unwrap_or(Pace::BOARD)),
            policy: Some(policy),
            ..self
        }
    }

    /// Reads the record at the beginning of `bytes`, and ignores what follows.
    ///
    /// # Errors
    /// [`ProvisionError::Absent`] for erased flash, others for bytes that are no whole record.
    pub fn decode(bytes: &[u8]) -> Result<Self, ProvisionError> {
        Self::decode_with(bytes, |fields| Network::decode(fields).map(Some))
    }

    /// The same for a board without a radio, which ignores the network.
    ///
    /// # Errors
    /// The same, but none of a network.
    pub fn decode_without_network(bytes: &[u8]) -> Result<Self, ProvisionError> {
        Self::decode_with(bytes, |fields| Network::skip(fields).map(|()| None))
    }

    fn decode_with(
        bytes: &[u8],
        network: impl FnOnce(&mut Reader<'_>) -> Result<Option<Network>, ProvisionError>,
    ) -> Result<Self, ProvisionError> {
        let mut reader = Reader(bytes);
        let magic = reader.array::<4>()?;
        if magic == [ERASED; 4] {
            return Err(ProvisionError::Absent);
        }
        if magic != MAGIC {
            return Err(ProvisionError::Damaged);
        }
        let version = reader.byte()?;
        if version != VERSION {
            return Err(ProvisionError::Version(version));
        }
        let length = usize::from(u16::from_be_bytes(reader.array()?));
        let mut fields = Reader(reader.take(length)?);
        if reader.array::<CHECK_BYTES>()? != check(&bytes[..HEAD_BYTES + length]) {
            return Err(ProvisionError::Damaged);
        }
        let id = NodeId(u16::from_be_bytes(fields.array()?));
        let count = usize::from(fields.byte()?);
        if count > MAX_NAMESPACES {
            return Err(ProvisionError::TooManyNamespaces);
        }
        let mut namespaces = Vec::with_capacity(count);
        for _ in 0..count {
            namespaces.push(fields.namespace()?);
        }
        let mut provision = Self::new(id, namespaces)?;
        match fields.0 {
            [] => return Ok(provision),
            [NO_NETWORK, rest @ ..] => fields.0 = rest,
            _ => {
                provision.network = network(&mut fields)?;
                if fields.0.is_empty() {
                    return Ok(provision);
                }
            }
        }
        provision.pace = Some(fields.pace()?);
        if PLACES && !fields.0.is_empty() {
            let number = usize::from(fields.byte()?);
            let policy = Policy::ALL.get(number).copied();
            provision.policy = Some(policy.ok_or(ProvisionError::Policy)?);
        }
        if !fields.0.is_empty() {
            return Err(ProvisionError::Damaged);
        }
        Ok(provision)
    }

    /// The record, at most [`Self::MAX_BYTES`].
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::MAX_BYTES);
        bytes.extend(MAGIC);
        bytes.extend([VERSION, 0, 0]);
        bytes.extend(self.id.0.to_be_bytes());
        bytes.push(self.namespaces.len() as u8);
        for namespace in &self.namespaces {
            let name = namespace.name.as_str().as_bytes();
            bytes.push(name.len() as u8);
            bytes.extend(name);
            bytes.extend(namespace.registry.0.to_be_bytes());
            bytes.extend(namespace.key);
            bytes.push(namespace.capabilities.0);
        }
        if let Some(network) = &self.network {
            network.encode(&mut bytes);
        }
        if let Some(pace) = &self.pace {
            if self.network.is_none() {
                bytes.push(NO_NETWORK);
            }
            for time in times(pace) {
                bytes.extend((time.as_millis() as u16).to_be_bytes());
            }
            bytes.extend(self.policy.map(|policy| policy as u8));
        }
        let length = (bytes.len() - HEAD_BYTES) as u16;
        bytes[HEAD_BYTES - 2..HEAD_BYTES].copy_from_slice(&length.to_be_bytes());
        let check = check(&bytes);
        bytes.extend(check);
        bytes
    }

    /// The node's id.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// The namespaces that it takes tasklets from.
    pub fn namespaces(&self) -> &[NamespaceConfig] {
        &self.namespaces
    }

    /// The same namespaces, without a copy.
    pub fn into_namespaces(self) -> Vec<NamespaceConfig> {
        self.namespaces
    }

    /// How long it waits for others, if the record says so.
    pub fn pace(&self) -> Option<Pace> {
        self.pace
    }

    /// Where its calls run, if the record says so.
    pub fn policy(&self) -> Option<Policy> {
        self.policy
    }

    /// The network of its radio, if it has one.
    pub fn network(&self) -> Option<&Network> {
        self.network.as_ref()
    }
}

/// The times of a pace, in the order of the record.
fn times(pace: &Pace) -> [Duration; 5] {
    [
        pace.local_search,
        pace.global_search,
        pace.hop,
        pace.announce,
        pace.load,
    ]
}

fn check(bytes: &[u8]) -> [u8; CHECK_BYTES] {
    let Digest([a, b, c, d, e, f, g, h, ..]) = Digest::of(bytes);
    [a, b, c, d, e, f, g, h]
}

/// The bytes that are not read yet. A record that ends early is damaged.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], ProvisionError> {
        let (taken, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(ProvisionError::Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ProvisionError> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| ProvisionError::Damaged)
    }

    fn byte(&mut self) -> Result<u8, ProvisionError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    /// A text, which follows its length; nothing if it is not UTF-8.
    fn text(&mut self) -> Result<Option<&'a str>, ProvisionError> {
        let length = usize::from(self.byte()?);
        Ok(core::str::from_utf8(self.take(length)?).ok())
    }

    /// Not inlined, since a pace has five of them.
    #[inline(never)]
    fn millis(&mut self) -> Result<Duration, ProvisionError> {
        match u16::from_be_bytes(self.array()?) {
            0 => Err(ProvisionError::Pace),
            millis => Ok(Duration::from_millis(millis.into())),
        }
    }

    fn pace(&mut self) -> Result<Pace, ProvisionError> {
        Ok(Pace {
            local_search: self.millis()?,
            global_search: self.millis()?,
            hop: self.millis()?,
            announce: self.millis()?,
            load: self.millis()?,
        })
    }

    fn namespace(&mut self) -> Result<NamespaceConfig, ProvisionError> {
        let name = self.text()?;
        let name = name.and_then(|name| Name::new(name).ok());
        Ok(NamespaceConfig {
            name: name.ok_or(ProvisionError::Name)?,
            registry: NodeId(u16::from_be_bytes(self.array()?)),
            key: self.array()?,
            capabilities: Capabilities(self.byte()?),
            stays: false,
        })
    }
}

/// Why there is no record, or none that can start a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ProvisionError {
    /// The flash is erased there: nobody has provisioned the board.
    Absent,
    /// A record of another version, from tools that do not belong to this firmware.
    Version(u8),
    /// No record, or one whose bytes were cut off or changed.
    Damaged,
    /// The id is 0xFFFF, which is not a node.
    Id,
    /// More than four namespaces.
    TooManyNamespaces,
    /// A namespace's name is not valid.
    Name,
    /// A namespace's registry is 0xFFFF, which is not a node.
    Registry,
    /// A capability that does not exist.
    Capabilities,
    /// Two namespaces have the same identifier in frames.
    NamespaceClash,
    /// A network's name is empty or too long, is not UTF-8, or has control characters.
    NetworkName,
    /// A passphrase has a length or a character that no network allows.
    Passphrase,
    /// More than four neighbours.
    TooManyNeighbours,
    /// An address that no neighbour can have, or one that occurs twice.
    Neighbour,
    /// A time to wait for others is zero or too long.
    Pace,
    /// A number that is no policy's.
    Policy,
}

impl fmt::Display for ProvisionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("the board is not provisioned"),
            Self::Version(version) => write!(
                f,
                "the record has version {version}, this program reads version {VERSION}"
            ),
            Self::Damaged => f.write_str("the record is damaged"),
            Self::Id => f.write_str("65535 cannot be a node's id"),
            Self::TooManyNamespaces => {
                write!(f, "a board takes at most {MAX_NAMESPACES} namespaces")
            }
            Self::Name => f.write_str("a namespace's name is damaged"),
            Self::Registry => f.write_str("65535 cannot be a registry's id"),
            Self::Capabilities => f.write_str("the record grants a capability that does not exist"),
            Self::NamespaceClash => {
                f.write_str("two namespaces share an identifier; rename one of them")
            }
            Self::NetworkName => {
                f.write_str("a network's name has 1 to 32 bytes and no control characters")
            }
            Self::Passphrase => {
                f.write_str("a network's passphrase has 8 to 63 printable ASCII characters")
            }
            Self::TooManyNeighbours => {
                write!(f, "a board takes at most {MAX_NEIGHBOURS} neighbours")
            }
            Self::Neighbour => {
                f.write_str("a neighbour has one host's address and a port, and is named once")
            }
            Self::Pace => f.write_str("times to wait for others are 1 to 65535 milliseconds"),
            Self::Policy => f.write_str("the record names a placement that does not exist"),
        }
    }
}

impl core::error::Error for ProvisionError {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use core::net::SocketAddrV4;
    use proptest::prelude::*;

    fn namespace(name: &str) -> NamespaceConfig {
        NamespaceConfig {
            name: Name::new(name).unwrap(),
            registry: NodeId(65534),
            key: [7; 32],
            capabilities: Capabilities(0b1001),
            stays: false,
        }
    }

    /// The record with a new checksum, as from a writer that checks less.
    fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
        bytes.truncate(bytes.len() - CHECK_BYTES);
        let check = check(&bytes);
        bytes.extend(check);
        bytes
    }

    fn any_namespace() -> impl Strategy<Value = NamespaceConfig> {
        let name = "[a-z0-9_-][a-z0-9._-]{0,31}";
        (
            name,
            0..u16::MAX,
            any::<[u8; 32]>(),
            0..=Capabilities::ALL.0,
        )
            .prop_map(|(name, registry, key, capabilities)| NamespaceConfig {
                name: Name::new(&name).unwrap(),
                registry: NodeId(registry),
                key,
                capabilities: Capabilities(capabilities),
                stays: false,
            })
    }

    fn any_provision() -> impl Strategy<Value = Provision> {
        let namespaces = proptest::collection::vec(any_namespace(), 0..=MAX_NAMESPACES);
        let plain = (0..u16::MAX, namespaces)
            .prop_filter_map("a clash of names", |(id, namespaces)| {
                Provision::new(NodeId(id), namespaces).ok()
            });
        let network = proptest::option::of(any_network());
        let policy = proptest::option::of(prop::sample::select(&Policy::ALL[..]));
        let rest = (proptest::option::of(any_pace()), policy);
        (plain, network, rest).prop_map(|(plain, network, (pace, policy))| {
            let provision = match network {
                Some(network) => plain.with_network(network),
                None => plain,
            };
            let provision = match pace {
                Some(pace) => provision.with_pace(pace).unwrap(),
                None => provision,
            };
            match policy.filter(|_| PLACES) {
                Some(policy) => provision.with_policy(policy),
                None => provision,
            }
        })
    }

    fn any_pace() -> impl Strategy<Value = Pace> {
        any::<[core::num::NonZeroU16; 5]>().prop_map(|times| {
            let [local_search, global_search, hop, announce, load] =
                times.map(|time| Duration::from_millis(time.get().into()));
            Pace {
                local_search,
                global_search,
                hop,
                announce,
                load,
            }
        })
    }

    fn any_network() -> impl Strategy<Value = Network> {
        let name = "[ -~]{1,32}";
        let passphrase = proptest::option::of("[ -~]{8,63}");
        let neighbour = (1..=223_u8, any::<[u8; 3]>(), 1..=u16::MAX);
        let neighbours = proptest::collection::hash_set(neighbour, 0..=MAX_NEIGHBOURS);
        (name, passphrase, neighbours).prop_map(|(name, passphrase, neighbours)| {
            let neighbours: Vec<_> = neighbours
                .into_iter()
                .map(|(a, [b, c, d], port)| SocketAddrV4::new([a, b, c, d].into(), port))
                .collect();
            Network::new(&name, passphrase.as_deref(), &neighbours).unwrap()
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_and_nothing_else_does(
            provision in any_provision(),
            padding in 0..20_usize,
            cut: prop::sample::Index,
            flip: prop::sample::Index,
        ) {
            let bytes = provision.encode();
            prop_assert!(bytes.len() <= Provision::MAX_BYTES);
            let mut sector = bytes.clone();
            sector.extend(vec![ERASED; padding]);
            let ignored = Provision { network: None, ..provision.clone() };
            prop_assert_eq!(Provision::decode_without_network(&sector), Ok(ignored));
            prop_assert_eq!(Provision::decode(&sector), Ok(provision));
            let cut = cut.index(bytes.len());
            for decode in [Provision::decode, Provision::decode_without_network] {
                prop_assert_eq!(decode(&bytes[..cut]), Err(ProvisionError::Damaged));
            }
            let flip = flip.index(bytes.len() * 8);
            let mut flipped = bytes;
            flipped[flip / 8] ^= 1 << (flip % 8);
            prop_assert!(Provision::decode(&flipped).is_err());
        }

        #[test]
        fn random_bytes_never_panic(mut bytes: Vec<u8>, sealed_too: bool) {
            if sealed_too {
                let mut record = MAGIC.to_vec();
                record.push(VERSION);
                record.extend((bytes.len() as u16).to_be_bytes());
                record.append(&mut bytes);
                let check = check(&record);
                record.extend(check);
                bytes = record;
            }
            let _ = Provision::decode(&bytes);
            let _ = Provision::decode_without_network(&bytes);
        }
    }

    #[test]
    fn the_longest_record_has_the_length_that_is_promised() {
        let namespaces = ["a", "b", "c", "d"].map(|letter| namespace(&letter.repeat(32)));
        let provision = Provision::new(NodeId(1), namespaces.to_vec()).unwrap();
        let neighbours = [1, 2, 3, 4].map(|last| SocketAddrV4::new([10, 0, 0, last].into(), 4000));
        let (name, passphrase) = ("n".repeat(32), "p".repeat(63));
        let network = Network::new(&name, Some(&passphrase), &neighbours).unwrap();
        let provision = provision
            .with_network(network)
            .with_pace(Pace::PAPER)
            .unwrap()
            .with_policy(Policy::Here);
        assert_eq!(provision.encode().len(), Provision::MAX_BYTES);
    }

    #[test]
    fn erased_flash_other_versions_and_damage_are_told_apart() {
        let good = Provision::new(NodeId(7), vec![namespace("shop")]).unwrap();
        let mut bytes = good.encode();
        assert_eq!(
            Provision::decode(&[ERASED; 4096]),
            Err(ProvisionError::Absent)
        );
        assert_eq!(Provision::decode(&[0; 4096]), Err(ProvisionError::Damaged));
        bytes[4] = 2;
        assert_eq!(Provision::decode(&bytes), Err(ProvisionError::Version(2)));
    }

    #[test]
    fn content_that_no_node_can_have_is_refused_when_it_is_made_and_when_it_is_read() {
        let shop = namespace("shop");
        let mut nowhere = shop;
        nowhere.registry = NodeId::EVERYONE;
        let mut mighty = shop;
        mighty.capabilities = Capabilities(0x40);
        let five = ["a", "b", "c", "d", "e"].map(namespace).to_vec();
        for (id, namespaces, error) in [
            (0xffff, vec![], ProvisionError::Id),
            (7, five, ProvisionError::TooManyNamespaces),
            (7, vec![nowhere], ProvisionError::Registry),
            (7, vec![mighty], ProvisionError::Capabilities),
            (7, vec![shop, shop], ProvisionError::NamespaceClash),
        ] {
            let id = NodeId(id);
            assert_eq!(Provision::new(id, namespaces.clone()), Err(error));
            let network = None;
            let forged = Provision {
                id,
                namespaces,
                network,
                pace: None,
                policy: None,
            };
            assert_eq!(Provision::decode(&forged.encode()), Err(error));
        }
        let good = Provision::new(NodeId(7), vec![shop]).unwrap();
        let mut shouting = good.encode();
        shouting[HEAD_BYTES + 4] = b'S';
        assert_eq!(
            Provision::decode(&sealed(shouting)),
            Err(ProvisionError::Name)
        );
        let mut longer = good.encode();
        longer[HEAD_BYTES + 2] = 0;
        assert_eq!(
            Provision::decode(&sealed(longer)),
            Err(ProvisionError::Damaged)
        );
    }

    #[test]
    fn a_network_that_cannot_be_is_refused_when_it_is_read() {
        let neighbour = SocketAddrV4::new([192, 168, 1, 2].into(), 4000);
        let network = Network::new("shop", Some("correct horse"), &[neighbour]).unwrap();
        let good = Provision::new(NodeId(7), vec![]).unwrap();
        let good = good.with_network(network).encode();
        let name = HEAD_BYTES + 3;
        let passphrase = name + 1 + 4;
        let count = passphrase + 1 + 13;
        for (at, value, error) in [
            (name + 1, 0xff, ProvisionError::NetworkName),
            (passphrase + 1, 0xff, ProvisionError::Passphrase),
            (passphrase + 1, b'\n', ProvisionError::Passphrase),
            (count, 5, ProvisionError::TooManyNeighbours),
            (count, 2, ProvisionError::Damaged),
            (count, 0, ProvisionError::Damaged),
            (count + 1, 224, ProvisionError::Neighbour),
        ] {
            let mut forged = good.clone();
            forged[at] = value;
            assert_eq!(Provision::decode(&sealed(forged)), Err(error), "{at}");
        }
    }

    /// The specification's vector with this number.
    fn vector(number: usize) -> Vec<u8> {
        let spec = include_str!("../../../spec/board.md");
        let block = spec.split("```hex\n").nth(number).unwrap();
        let block = block.split("```").next().unwrap();
        let digits: Vec<u8> = block
            .bytes()
            .filter_map(|c| (c as char).to_digit(16))
            .map(|digit| digit as u8)
            .collect();
        digits
            .chunks(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect()
    }

    #[test]
    fn the_specification_s_vectors_hold() {
        let plain = Provision::new(NodeId(7), vec![namespace("shop")]).unwrap();
        let neighbour = SocketAddrV4::new([192, 168, 1, 2].into(), 4000);
        let network = Network::new("shop floor", Some("correct horse"), &[neighbour]).unwrap();
        let networked = plain.clone().with_network(network);
        for (number, provision) in [(1, plain), (2, networked)] {
            let bytes = vector(number);
            assert_eq!(provision.encode(), bytes);
            assert_eq!(Provision::decode(&bytes), Ok(provision));
        }
    }

    #[test]
    fn a_pace_stands_behind_the_network_or_in_its_place_and_has_no_zero() {
        let plain = Provision::new(NodeId(7), vec![namespace("shop")]).unwrap();
        let paced = plain.clone().with_pace(Pace::PAPER).unwrap();
        let bytes = paced.encode();
        assert_eq!(bytes.len(), plain.encode().len() + 1 + PACE_BYTES);
        let read = Provision::decode(&bytes).unwrap();
        assert_eq!(read.pace(), Some(Pace::PAPER));
        let mut still = bytes.clone();
        let hop = bytes.len() - CHECK_BYTES - PACE_BYTES + 4;
        still[hop..hop + 2].fill(0);
        let refused = Provision::decode(&sealed(still));
        assert_eq!(refused, Err(ProvisionError::Pace));
        let long = Pace {
            announce: Duration::from_secs(66),
            ..Pace::PAPER
        };
        assert_eq!(plain.with_pace(long), Err(ProvisionError::Pace));
    }

    #[test]
    fn a_placement_stands_behind_a_pace_and_only_for_images_that_place_calls() {
        let plain = Provision::new(NodeId(7), vec![namespace("shop")]).unwrap();
        for policy in Policy::ALL {
            assert_eq!(Policy::named(policy.name()), Some(policy));
            let placing = plain.clone().with_policy(policy);
            assert_eq!(placing.pace(), Some(Pace::BOARD));
            let bytes = placing.encode();
            let read = Provision::decode(&bytes);
            if !PLACES {
                assert_eq!(read, Err(ProvisionError::Damaged));
                continue;
            }
            assert_eq!(read, Ok(placing));
            let mut other = bytes;
            let at = other.len() - CHECK_BYTES - POLICY_BYTES;
            other[at] = Policy::ALL.len() as u8;
            let refused = Provision::decode(&sealed(other));
            assert_eq!(refused, Err(ProvisionError::Policy));
        }
    }
}
