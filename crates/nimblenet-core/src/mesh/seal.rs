//! The seam between outbox and link: where frames are sealed when they leave and opened when they
//! come, before anything else reads them.
//!
//! Frames are sealed when a link takes them, not when they are queued: only then is their order
//! decided, which the counter of a sealed frame must follow. A node has no keys yet, so the seal of
//! every node is [`Plain`], which has a checksum where a link has none of its own. A tag does what it does
//! and more, and takes its place.
//!
//! ```text
//!  receive:   link --bytes--> open --header, body--> parse --> neighbours, duplicates, routes
//!  transmit:  link <--bytes-- seal <----frame------- outbox
//! ```

use super::Transmit;
use crate::config::{LinkAddress, LinkConfig, LinkId};
use crate::wire::{AUTHENTICATED, CHECKED, CHECKSUM_LEN, HEADER_LEN, check, checked};

/// A frame whose seal was checked and taken away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Opened<'a> {
    pub(crate) header: &'a [u8; HEADER_LEN],
    pub(crate) body: &'a [u8],
}

/// How frames look on links.
pub(crate) trait Seal {
    /// The bytes that a frame on a link has more when it is sealed, at most
    /// [`OVERHEAD`](crate::wire::OVERHEAD). The outbox leaves that room in the link's frame size.
    fn added(&self, link: &LinkConfig) -> usize;

    /// Seals the frame at the start of `out`, in place; returns its destination and its new length.
    fn seal(&mut self, link: &LinkConfig, frame: Transmit, out: &mut [u8]) -> Transmit;

    /// Opens a frame from an address on a link; none if the frame is to be dropped.
    fn open<'a>(
        &mut self,
        link: &LinkConfig,
        from: (LinkId, LinkAddress),
        bytes: &'a [u8],
    ) -> Option<Opened<'a>>;
}

/// No keys: frames are on links as they are, with a checksum if the link says so. Without that, or with a
/// wrong one, a frame of such a link is dropped. A frame that says that it is authenticated is dropped too,
/// as nothing can be said of its tag.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plain;

impl Seal for Plain {
    fn added(&self, link: &LinkConfig) -> usize {
        match link.checksum {
            true => CHECKSUM_LEN,
            false => 0,
        }
    }

    fn seal(&mut self, link: &LinkConfig, frame: Transmit, out: &mut [u8]) -> Transmit {
        let len = match link.checksum {
            true => check(out, frame.len),
            false => frame.len,
        };
        Transmit { len, ..frame }
    }

    fn open<'a>(
        &mut self,
        link: &LinkConfig,
        _: (LinkId, LinkAddress),
        bytes: &'a [u8],
    ) -> Option<Opened<'a>> {
        let (header, body) = match bytes.first()? & (AUTHENTICATED | CHECKED) {
            0 if !link.checksum => bytes.split_first_chunk(),
            CHECKED => checked(bytes),
            _ => None,
        }?;
        Some(Opened { header, body })
    }
}

#[cfg(test)]
mod tests {
    use nimblenet_tasklet::NodeId;

    use super::super::Mesh;
    use super::*;
    use crate::config::Config;
    use crate::counters::{Counters, DropReason};
    use crate::time::Instant;
    use crate::wire::{Data, Frame, MAX_TTL, Message};
    use alloc::vec::Vec;

    const LINK: LinkId = LinkId(0);
    const MTU: usize = 256;
    const COUNTER_LEN: usize = 4;
    const TAG_LEN: usize = 8;

    /// Seals as the specification lays it out: a counter before the body, a tag after it, which is
    /// no more than a sum and covers everything but the TTL.
    #[derive(Default)]
    struct Summed {
        sent: u32,
        newest: u32,
    }

    fn tag(frame: &[u8]) -> [u8; TAG_LEN] {
        let covered = frame.iter().enumerate().filter(|(at, _)| *at != 1);
        let sum = covered.fold(7u64, |sum, (_, byte)| {
            sum.rotate_left(9).wrapping_mul(31) ^ u64::from(*byte)
        });
        sum.to_be_bytes()
    }

    impl Seal for Summed {
        fn added(&self, _: &LinkConfig) -> usize {
            COUNTER_LEN + TAG_LEN
        }

        fn seal(&mut self, _: &LinkConfig, frame: Transmit, out: &mut [u8]) -> Transmit {
            self.sent += 1;
            let body = HEADER_LEN + COUNTER_LEN;
            out.copy_within(HEADER_LEN..frame.len, body);
            out[HEADER_LEN..body].copy_from_slice(&self.sent.to_be_bytes());
            out[0] |= AUTHENTICATED;
            let end = frame.len + COUNTER_LEN;
            let tag = tag(&out[..end]);
            out[end..end + TAG_LEN].copy_from_slice(&tag);
            Transmit {
                len: end + TAG_LEN,
                ..frame
            }
        }

        fn open<'a>(
            &mut self,
            _: &LinkConfig,
            _: (LinkId, LinkAddress),
            bytes: &'a [u8],
        ) -> Option<Opened<'a>> {
            let (covered, found) = bytes.split_last_chunk()?;
            let (header, rest) = covered.split_first_chunk()?;
            let (counter, body) = rest.split_first_chunk()?;
            let counter = u32::from_be_bytes(*counter);
            let good =
                *found == tag(covered) && header[0] & AUTHENTICATED != 0 && counter > self.newest;
            self.newest = self.newest.max(counter);
            good.then_some(Opened { header, body })
        }
    }

    fn mesh<S: Seal>(id: u16, seal: S) -> Mesh<S> {
        let mut config = Config::new(NodeId(id), MTU as u16);
        config.topology.hello = None;
        Mesh::with_seal(&config, seal)
    }

    fn data(bytes: &[u8]) -> Message<'_> {
        Message::Data(Data {
            request: 1,
            version: 1,
            total: bytes.len() as u32,
            offset: 0,
            bytes,
        })
    }

    fn sent<S: Seal>(mesh: &mut Mesh<S>) -> Vec<Vec<u8>> {
        let mut out = [0; MTU];
        let poll = || {
            mesh.poll_transmit(LINK, &mut out)
                .map(|it| out[..it.len].to_vec())
        };
        core::iter::from_fn(poll).collect()
    }

    #[test]
    fn a_plain_frame_is_on_the_link_as_it_was_written_and_a_flagged_one_is_dropped() {
        let mut counters = Counters::default();
        let (mut one, mut other) = (mesh(1, Plain), mesh(2, Plain));
        one.flood(Instant::ZERO, MAX_TTL, data(b"part"), &mut counters);
        let mut frame = sent(&mut one).remove(0);
        assert!(Frame::parse(&frame).is_ok_and(|it| it.message == data(b"part")));
        frame[0] |= AUTHENTICATED;
        assert_eq!(Frame::parse(&frame), Err(crate::wire::Malformed));
        let from = (LINK, LinkAddress(1));
        let delivery = other.receive(Instant::ZERO, from, &frame, &mut counters);
        assert_eq!(
            (delivery, counters.dropped(DropReason::Malformed)),
            (None, 1)
        );
    }

    #[test]
    fn a_link_that_says_so_has_checksums_and_takes_no_frame_without_the_right_one() {
        let mut counters = Counters::default();
        let checked = |id| {
            let mut config = Config::new(NodeId(id), MTU as u16);
            config.topology.hello = None;
            config.links[0].checksum = true;
            Mesh::with_seal(&config, Plain)
        };
        let (mut one, mut other, mut unaware) = (checked(1), checked(2), mesh(3, Plain));
        let (now, from) = (Instant::ZERO, (LINK, LinkAddress(1)));
        one.flood(now, MAX_TTL, data(b"part"), &mut counters);
        let good = sent(&mut one).remove(0);
        assert_eq!(counters.sent_bytes(), good.len() as u64);
        assert!(Frame::parse(&good).is_ok_and(|it| it.message == data(b"part")));
        for bit in 0..8 * good.len() {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(other.receive(now, from, &bad, &mut counters).is_none());
            assert!(Frame::parse(&bad).is_err());
        }
        let dropped = counters.dropped(DropReason::Malformed);
        assert_eq!(dropped, 8 * good.len() as u64);
        for reader in [&mut other, &mut unaware] {
            let delivery = reader.receive(now, from, &good, &mut counters);
            assert!(delivery.is_some_and(|it| it.frame.message == data(b"part")));
        }
        unaware.flood(now, MAX_TTL, data(b"part"), &mut counters);
        let bare = sent(&mut unaware).remove(0);
        assert!(other.receive(now, from, &bare, &mut counters).is_none());
        assert!(
            mesh(4, Plain)
                .receive(now, from, &bare, &mut counters)
                .is_some()
        );
    }

    #[test]
    fn sealed_frames_use_the_room_that_is_left_for_them_and_are_sealed_anew_at_each_hop() {
        let mut counters = Counters::default();
        let [mut one, mut middle, mut last] = [1, 2, 3].map(|id| mesh(id, Summed::default()));
        let longest = [7; MTU];
        let longest = &longest[..usize::from(Mesh::part_len(MTU as u16))];
        let (now, from) = (Instant::ZERO, (LINK, LinkAddress(1)));
        for part in [&longest[1..], longest, &longest[2..]] {
            one.flood(now, MAX_TTL, data(part), &mut counters);
        }
        let first = sent(&mut one);
        let lengths = [1, 0, 2].map(|less| MTU - less);
        assert!(first.iter().map(Vec::len).eq(lengths));
        for frame in &first {
            let delivery = middle.receive(now, from, frame, &mut counters);
            assert!(delivery.is_some_and(|it| it.frame.origin == NodeId(1)));
        }
        let second = sent(&mut middle);
        assert!(second.iter().map(Vec::len).eq(lengths));
        assert_ne!(second, first);
        let delivery = last.receive(now, from, &second[0], &mut counters);
        let delivery = delivery.map(|it| (it.frame.origin, it.frame.hops, it.frame.message));
        assert_eq!(delivery, Some((NodeId(1), 2, data(&longest[1..]))));
        assert_eq!(counters.dropped(DropReason::TooLong), 0);
    }

    #[test]
    fn what_a_seal_refuses_is_dropped_before_anything_is_learnt_from_it() {
        let mut counters = Counters::default();
        let (mut one, mut other) = (mesh(1, Summed::default()), mesh(2, Summed::default()));
        let (now, from) = (Instant::ZERO, (LINK, LinkAddress(1)));
        one.flood(now, MAX_TTL, data(b"part"), &mut counters);
        let good = sent(&mut one).remove(0);
        let plain = {
            let mut plain = mesh(1, Plain);
            plain.flood(now, MAX_TTL, data(b"part"), &mut counters);
            sent(&mut plain).remove(0)
        };
        let changes = (0..good.len()).filter(|at| *at != 1).map(|at| {
            let mut bad = good.clone();
            bad[at] ^= 1;
            bad
        });
        let mut dropped = 0;
        for bad in changes.chain([plain, Vec::new(), good[..20].to_vec()]) {
            other.seal.newest = 0;
            assert!(other.receive(now, from, &bad, &mut counters).is_none());
            dropped += 1;
        }
        assert_eq!(counters.dropped(DropReason::Malformed), dropped);
        assert_eq!(other.neighbours().count(), 0);
        other.seal.newest = 0;
        assert!(other.receive(now, from, &good, &mut counters).is_some());
        assert!(other.receive(now, from, &good, &mut counters).is_none());
        assert_eq!(
            counters.dropped(DropReason::Malformed),
            dropped + 1,
            "replayed"
        );
    }
}
