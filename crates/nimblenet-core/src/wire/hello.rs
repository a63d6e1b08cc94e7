//! Hello: a node tells its neighbours about itself (spec/wire.md, section 8).

use nimblenet_tasklet::{NamespaceId, NodeId};

use super::{Malformed, Reader, Writer};
use crate::catalogue::Catalogue;

/// A hello carries at most this many notes of each kind.
pub const MAX_NOTES: usize = 8;

/// A hello asks at most this many neighbours whether they hear its sender, and answers as many.
pub const MAX_LISTED: usize = 8;

/// The most bytes of the one list and of the other.
pub const LISTED_BYTES: usize = MAX_LISTED * ID_LEN;

/// The most bytes that the notes of a hello take.
pub const HELLO_BYTES: usize = MAX_NOTES * (REGISTRY_LEN + EPOCH_LEN);

const ID_LEN: usize = 2;
const REGISTRY_LEN: usize = 10;
/// The bytes of an epoch note.
pub const EPOCH_LEN: usize = 12;

/// How far a registry is from the sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RegistryNote {
    /// The registry.
    pub registry: NodeId,
    /// The number of the registry's packet that the note goes back to; newer is fresher.
    pub sequence: u32,
    /// Links between the registry and the sender; 0 if the sender is the registry.
    pub hops: u8,
    /// How long ago the registry sent that packet, in seconds. It grows from node to node, so that
    /// old notes die out on every path.
    pub age_s: u8,
    /// The smallest frame size between the registry and the sender; the largest number if the
    /// sender is the registry.
    pub mtu: u16,
}

/// Which epoch of a catalogue the sender holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochNote {
    /// The namespace.
    pub namespace: NamespaceId,
    /// The epoch.
    pub epoch: u32,
    /// The first four bytes of the epoch's root (spec/catalogue.md, section 4). Without
    /// any epoch it is 0.
    pub root: u32,
}

impl EpochNote {
    /// The note of who holds this catalogue.
    pub(crate) fn of(catalogue: &Catalogue) -> Self {
        Self {
            namespace: catalogue.id(),
            epoch: catalogue.epoch(),
            root: catalogue.root(),
        }
    }
}

/// Sent to the neighbours at intervals set by Trickle. It never travels further than one link.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Hello<'a> {
    registries: &'a [u8],
    epochs: &'a [u8],
    asked: Listed<'a>,
    answered: Listed<'a>,
}

/// Neighbours that a hello lists.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Listed<'a>(&'a [u8]);

impl<'a> Listed<'a> {
    /// The first [`MAX_LISTED`] of these, kept in `space`.
    pub fn new(ids: impl Iterator<Item = NodeId>, space: &'a mut [u8; LISTED_BYTES]) -> Self {
        let mut writer = Writer { out: space, at: 0 };
        ids.take(MAX_LISTED).for_each(|id| writer.u16(id.0));
        let end = writer.at;
        Self(&space[..end])
    }

    /// Bytes of both lists in a hello.
    pub fn len_of(asked: Self, answered: Self) -> usize {
        let listed = asked.0.len() + answered.0.len();
        usize::from(listed > 0) + listed
    }

    fn count(self) -> u8 {
        (self.0.len() / ID_LEN) as u8
    }

    fn iter(self) -> impl Iterator<Item = NodeId> + use<'a> {
        let ids = self.0.chunks_exact(ID_LEN);
        ids.map_while(|id| Some(NodeId(Reader(id).u16().ok()?)))
    }
}

impl<'a> Hello<'a> {
    /// A hello with these notes, kept in `space`, of which registries may have five ninths. If not all
    /// fit, or there are more than [`MAX_NOTES`] of a kind, it begins with another one at each `turn`.
    pub fn new(
        registries: impl Iterator<Item = RegistryNote> + Clone,
        epochs: impl Iterator<Item = EpochNote> + Clone,
        turn: u8,
        space: &'a mut [u8],
    ) -> Self {
        let len = space.len();
        let mut writer = Writer { out: space, at: 0 };
        for note in turned(registries, len * 5 / 9 / REGISTRY_LEN, turn) {
            writer.u16(note.registry.0);
            writer.u32(note.sequence);
            writer.u8(note.hops);
            writer.u8(note.age_s);
            writer.u16(note.mtu);
        }
        let middle = writer.at;
        for note in turned(epochs, (len - middle) / EPOCH_LEN, turn) {
            write_epoch(&mut writer, note);
        }
        let end = writer.at;
        let (registries, epochs) = space[..end].split_at(middle);
        Self {
            registries,
            epochs,
            asked: Listed::default(),
            answered: Listed::default(),
        }
    }

    /// The same hello, which asks the neighbours `asked` whether they hear its sender, and tells those of
    /// `answered` that it hears them.
    #[must_use]
    pub fn with_listed(self, asked: Listed<'a>, answered: Listed<'a>) -> Self {
        Self {
            asked,
            answered,
            ..self
        }
    }

    /// An announcement, kept in `space`: a hello for the registry of the note's namespace.
    pub fn announcement(note: EpochNote, space: &'a mut [u8; EPOCH_LEN]) -> Self {
        write_epoch(&mut Writer { out: space, at: 0 }, note);
        Self {
            registries: &[],
            epochs: space,
            asked: Listed::default(),
            answered: Listed::default(),
        }
    }

    /// Registries that the sender has a route to.
    pub fn registries(&self) -> impl Iterator<Item = RegistryNote> + use<'a> {
        self.registries
            .chunks_exact(REGISTRY_LEN)
            .map_while(|note| {
                let mut reader = Reader(note);
                Some(RegistryNote {
                    registry: NodeId(reader.u16().ok()?),
                    sequence: reader.u32().ok()?,
                    hops: reader.u8().ok()?,
                    age_s: reader.u8().ok()?,
                    mtu: reader.u16().ok()?,
                })
            })
    }

    /// Catalogues that the sender holds.
    pub fn epochs(&self) -> impl Iterator<Item = EpochNote> + use<'a> {
        self.epochs.chunks_exact(EPOCH_LEN).map_while(|note| {
            let mut reader = Reader(note);
            let namespace = NamespaceId(reader.u32().ok()?);
            Some(EpochNote {
                namespace,
                epoch: reader.u32().ok()?,
                root: reader.u32().ok()?,
            })
        })
    }

    /// The neighbours that the sender asks whether they hear it.
    pub fn asked(&self) -> impl Iterator<Item = NodeId> + use<'a> {
        self.asked.iter()
    }

    /// The neighbours that have asked, and that the sender hears.
    pub fn answered(&self) -> impl Iterator<Item = NodeId> + use<'a> {
        self.answered.iter()
    }

    pub(super) fn len(&self) -> usize {
        let notes = self.registries.len() + self.epochs.len();
        1 + notes + Listed::len_of(self.asked, self.answered)
    }

    pub(super) fn parse(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let counts = reader.u8()?;
        let (registries, epochs) = (usize::from(counts >> 4), usize::from(counts & 0x0f));
        if registries > MAX_NOTES || epochs > MAX_NOTES {
            return Err(Malformed);
        }
        let registries = reader.take(registries * REGISTRY_LEN)?;
        let epochs = reader.take(epochs * EPOCH_LEN)?;
        let counts = match reader.0 {
            [] => 0,
            // Who lists nobody has no lists.
            [0, ..] => return Err(Malformed),
            _ => reader.u8()?,
        };
        let (asked, answered) = (usize::from(counts >> 4), usize::from(counts & 0x0f));
        if asked > MAX_LISTED || answered > MAX_LISTED {
            return Err(Malformed);
        }
        Ok(Self {
            registries,
            epochs,
            asked: Listed(reader.take(asked * ID_LEN)?),
            answered: Listed(reader.take(answered * ID_LEN)?),
        })
    }

    pub(super) fn emit(&self, writer: &mut Writer<'_>) {
        let registries = self.registries.len() / REGISTRY_LEN;
        let epochs = self.epochs.len() / EPOCH_LEN;
        writer.u8((registries as u8) << 4 | epochs as u8);
        writer.bytes(self.registries);
        writer.bytes(self.epochs);
        let (asked, answered) = (self.asked.count(), self.answered.count());
        if asked + answered > 0 {
            writer.u8(asked << 4 | answered);
            writer.bytes(self.asked.0);
            writer.bytes(self.answered.0);
        }
    }
}

fn write_epoch(writer: &mut Writer<'_>, note: EpochNote) {
    writer.u32(note.namespace.0);
    writer.u32(note.epoch);
    writer.u32(note.root);
}

/// As many of `all` as there is `room` for; if that is not all, those whose turn it is.
fn turned<I: Iterator + Clone>(all: I, room: usize, turn: u8) -> impl Iterator<Item = I::Item> {
    let (room, count) = (room.min(MAX_NOTES), all.clone().count());
    let first = match count > room {
        true => usize::from(turn) % count,
        false => 0,
    };
    let before = all.clone().take(first);
    all.skip(first).chain(before).take(room)
}
