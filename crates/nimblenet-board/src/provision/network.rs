//! How a board with a radio gets onto a network.

use alloc::vec::Vec;
use core::fmt;
use core::net::{Ipv4Addr, SocketAddrV4};

use super::{ProvisionError, Reader};

/// The longest name of a network (IEEE 802.11).
const MAX_NAME_BYTES: usize = 32;
/// A passphrase is 8 to 63 printable ASCII characters (IEEE 802.11i, annex H.4).
const MIN_PASSPHRASE_BYTES: usize = 8;
const MAX_PASSPHRASE_BYTES: usize = 63;
/// The most neighbours in one record.
pub(super) const MAX_NEIGHBOURS: usize = 4;
/// An address and a port.
const NEIGHBOUR_BYTES: usize = 6;

/// A WiFi network, and the board's neighbours on it. It needs no allocation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Network {
    name: Text<MAX_NAME_BYTES>,
    passphrase: Option<Passphrase>,
    neighbours: [Option<SocketAddrV4>; MAX_NEIGHBOURS],
}

/// A short text, padded with zeros.
#[derive(Clone, PartialEq, Eq)]
struct Text<const BYTES: usize> {
    bytes: [u8; BYTES],
    len: usize,
}

impl<const BYTES: usize> Text<BYTES> {
    /// Nothing for a text that is too long.
    fn new(text: &str) -> Option<Self> {
        let mut bytes = [0; BYTES];
        let len = text.len();
        bytes.get_mut(..len)?.copy_from_slice(text.as_bytes());
        Some(Self { bytes, len })
    }

    fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..self.len]).unwrap_or("")
    }
}

impl<const BYTES: usize> fmt::Debug for Text<BYTES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

/// A secret that is never printed.
#[derive(Clone, PartialEq, Eq)]
struct Passphrase(Text<MAX_PASSPHRASE_BYTES>);

impl Passphrase {
    fn new(secret: &str) -> Option<Self> {
        let printable = secret.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if secret.len() < MIN_PASSPHRASE_BYTES || !printable {
            return None;
        }
        Text::new(secret).map(Self)
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

impl Network {
    /// Bytes of the longest network in a record.
    pub(super) const MAX_BYTES: usize =
        1 + MAX_NAME_BYTES + 1 + MAX_PASSPHRASE_BYTES + 1 + MAX_NEIGHBOURS * NEIGHBOUR_BYTES;

    /// The network `name`, an open one if there is no passphrase, with at most four neighbours.
    /// Without any, a node says hello to everyone on the network and learns who answers.
    ///
    /// # Errors
    /// [`ProvisionError`] names the part that is not possible for a network.
    pub fn new(
        name: &str,
        passphrase: Option<&str>,
        neighbours: &[SocketAddrV4],
    ) -> Result<Self, ProvisionError> {
        if name.is_empty() || name.contains(char::is_control) {
            return Err(ProvisionError::NetworkName);
        }
        let name = Text::new(name).ok_or(ProvisionError::NetworkName)?;
        let passphrase = match passphrase {
            Some(secret) => Some(Passphrase::new(secret).ok_or(ProvisionError::Passphrase)?),
            None => None,
        };
        if neighbours.len() > MAX_NEIGHBOURS {
            return Err(ProvisionError::TooManyNeighbours);
        }
        for (at, neighbour) in neighbours.iter().enumerate() {
            let address = neighbour.ip();
            let anyone = address.is_unspecified() || address.is_broadcast();
            if anyone
                || address.is_multicast()
                || neighbour.port() == 0
                || neighbours[..at].contains(neighbour)
            {
                return Err(ProvisionError::Neighbour);
            }
        }
        let mut held = [None; MAX_NEIGHBOURS];
        for (place, neighbour) in held.iter_mut().zip(neighbours) {
            *place = Some(*neighbour);
        }
        Ok(Self {
            name,
            passphrase,
            neighbours: held,
        })
    }

    /// The network's name.
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// The passphrase, unless the network is open.
    pub fn passphrase(&self) -> Option<&str> {
        let secret = self.passphrase.as_ref();
        secret.map(|Passphrase(secret)| secret.as_str())
    }

    /// The configured neighbours; if there are none, whoever answers is a neighbour.
    pub fn neighbours(&self) -> impl Iterator<Item = SocketAddrV4> {
        self.neighbours.iter().flatten().copied()
    }

    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        for text in [self.name(), self.passphrase().unwrap_or("")] {
            bytes.push(text.len() as u8);
            bytes.extend(text.bytes());
        }
        bytes.push(self.neighbours().count() as u8);
        for neighbour in self.neighbours() {
            bytes.extend(neighbour.ip().octets());
            bytes.extend(neighbour.port().to_be_bytes());
        }
    }

    /// Reads over a network, for a board that has no use for it.
    pub(super) fn skip(fields: &mut Reader<'_>) -> Result<(), ProvisionError> {
        for _ in 0..2 {
            let text = fields.byte()?;
            fields.take(text.into())?;
        }
        let count = usize::from(fields.byte()?);
        fields.take(count * NEIGHBOUR_BYTES)?;
        Ok(())
    }

    pub(super) fn decode(fields: &mut Reader<'_>) -> Result<Self, ProvisionError> {
        let name = fields.text()?.ok_or(ProvisionError::NetworkName)?;
        let passphrase = fields.text()?.ok_or(ProvisionError::Passphrase)?;
        let count = usize::from(fields.byte()?);
        if count > MAX_NEIGHBOURS {
            return Err(ProvisionError::TooManyNeighbours);
        }
        let mut neighbours = [SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0); MAX_NEIGHBOURS];
        for neighbour in &mut neighbours[..count] {
            let address = Ipv4Addr::from(fields.array::<4>()?);
            let port = u16::from_be_bytes(fields.array()?);
            *neighbour = SocketAddrV4::new(address, port);
        }
        let passphrase = Some(passphrase).filter(|secret| !secret.is_empty());
        Self::new(name, passphrase, &neighbours[..count])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::vec;

    fn neighbour(last: u8) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, last), 4000)
    }

    #[test]
    fn what_no_network_can_have_is_refused() {
        let long = "x".repeat(64);
        let five: Vec<_> = (1..=5).map(neighbour).collect();
        let everyone = SocketAddrV4::new(Ipv4Addr::BROADCAST, 4000);
        let nowhere = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 0);
        let good = Some("correct horse");
        for (name, passphrase, neighbours, error) in [
            ("", good, vec![], ProvisionError::NetworkName),
            (&long[..33], good, vec![], ProvisionError::NetworkName),
            ("a\nb", good, vec![], ProvisionError::NetworkName),
            ("shop", Some("seven77"), vec![], ProvisionError::Passphrase),
            ("shop", Some(&long), vec![], ProvisionError::Passphrase),
            (
                "shop",
                Some("newline\n"),
                vec![],
                ProvisionError::Passphrase,
            ),
            ("shop", good, five, ProvisionError::TooManyNeighbours),
            ("shop", None, vec![everyone], ProvisionError::Neighbour),
            ("shop", None, vec![nowhere], ProvisionError::Neighbour),
            (
                "shop",
                None,
                vec![neighbour(1); 2],
                ProvisionError::Neighbour,
            ),
        ] {
            let refused = Network::new(name, passphrase, &neighbours);
            assert_eq!(refused, Err(error), "{name:?}");
        }
    }

    #[test]
    fn the_passphrase_is_not_printed() {
        let network = Network::new("shop", Some("correct horse"), &[]).unwrap();
        assert_eq!(network.passphrase(), Some("correct horse"));
        let printed = format!("{network:?}");
        assert!(
            printed.contains("shop") && !printed.contains("horse"),
            "{printed}"
        );
    }
}
