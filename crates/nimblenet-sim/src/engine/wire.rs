//! Wires: the links of the mesh, each with two directions that have faults of their own.

use core::time::Duration;

use nimblenet_core::{Instant, LinkId};
use nimblenet_tasklet::NodeId;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{Balance, Fates, PlaceAt};
use crate::link::{Arrival, Fate, LinkModel};

/// Where a wire is in the list of the engine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct WireAt(pub(super) u32);

/// One direction of a wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LaneAt(pub(super) WireAt, pub(super) usize);

/// One end of a wire, as the node there sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) wire: WireAt,
    /// Which of the wire's two lanes leads away from here.
    pub(super) lane: usize,
    /// The link of the node's configuration that the wire belongs to.
    pub(super) link: LinkId,
    pub(super) peer: PlaceAt,
    pub(super) peer_id: NodeId,
}

/// A link between two nodes: the direction away from the one with the lower id, and the other.
pub(super) type Wire = [Lane; 2];

/// One direction of a link, which treats frames as its [`LinkModel`] says. It has random numbers of
/// its own.
#[derive(Debug)]
pub struct Lane {
    pub(super) model: LinkModel,
    pub(super) up: bool,
    pub(super) balance: Balance,
    /// Whether it is in a burst of losses.
    bad: bool,
    /// Until when earlier frames leave.
    busy_until: Instant,
    /// The latest arrival, to notice overtaking.
    latest: Instant,
    random: ChaCha8Rng,
}

impl Lane {
    /// The direction from one node to another; what it does at random follows from `seed` and these.
    pub fn new(seed: u64, model: LinkModel, (from, to): (NodeId, NodeId)) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(1 << 32 | u64::from(from.0) << 16 | u64::from(to.0));
        Self {
            model,
            up: true,
            balance: Balance::default(),
            bad: false,
            busy_until: Instant::ZERO,
            latest: Instant::ZERO,
            random,
        }
    }

    /// Puts a frame of `len` bytes on the lane, at `at` or as soon as earlier ones have left.
    /// Returns the moments at which it arrives, each with the number of its wrong bit.
    pub fn carry(
        &mut self,
        at: Instant,
        len: usize,
        fates: &mut Fates,
    ) -> [Option<(Instant, Option<u32>)>; 2] {
        let arrivals = self.pass(at, len, fates);
        let (len, copies) = (len as u64, arrivals.iter().flatten().count() as u64);
        self.balance.sent += len;
        self.balance.on_way += len * copies;
        match copies {
            0 => self.balance.lost += len,
            more => self.balance.doubled += len * (more - 1),
        }
        arrivals
    }

    /// The bytes that it has carried.
    pub fn balance(&self) -> Balance {
        self.balance
    }

    /// A frame of `len` bytes has come to the end of the lane: it is given to a node, or lost.
    pub fn arrived(&mut self, len: usize, delivered: bool) {
        let Balance {
            delivered: given,
            lost,
            on_way,
            ..
        } = &mut self.balance;
        *on_way -= len as u64;
        *if delivered { given } else { lost } += len as u64;
    }

    fn pass(
        &mut self,
        at: Instant,
        len: usize,
        fates: &mut Fates,
    ) -> [Option<(Instant, Option<u32>)>; 2] {
        fates.sent += 1;
        if !self.up {
            fates.dead += 1;
            return [None; 2];
        }
        let mut left = at;
        if let Some(bandwidth) = self.model.bandwidth {
            let wait = self.busy_until - at;
            if bandwidth.is_full(wait) {
                fates.overflowed += 1;
                return [None; 2];
            }
            left = at + wait + bandwidth.transmission(len);
            self.busy_until = left;
        }
        match self.model.fate(len, &mut self.bad, &mut self.random) {
            Fate::Lost => fates.lost += 1,
            Fate::TooLong => fates.too_long += 1,
            Fate::Arrives(arrivals) => {
                fates.doubled += u64::from(arrivals[1].is_some());
                return arrivals.map(|arrival| Some(self.arrive(left, arrival?, fates)));
            }
        }
        [None; 2]
    }

    fn arrive(
        &mut self,
        left: Instant,
        arrival: Arrival,
        fates: &mut Fates,
    ) -> (Instant, Option<u32>) {
        let at = left + arrival.after;
        fates.overtaken += u64::from(at < self.latest);
        fates.corrupted += u64::from(arrival.wrong.is_some());
        self.latest = at.max(self.latest);
        (at, arrival.wrong)
    }
}

/// The air that a node shares with its neighbours: one of them transmits at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Air {
    pub(super) free_from: Instant,
}

impl Air {
    pub(super) const QUIET: Self = Self {
        free_from: Instant::ZERO,
    };

    /// How long a transmission of `duration` that begins as soon as all of `airs` are free lasts
    /// from `now` to its end; they are taken until then.
    pub(super) fn transmit<'a>(
        now: Instant,
        duration: Duration,
        airs: impl Iterator<Item = &'a mut Self> + 'a,
    ) -> Instant {
        let mut airs: Vec<&mut Self> = airs.collect();
        let begin = airs.iter().map(|air| air.free_from).max();
        let end = begin.unwrap_or(now).max(now) + duration;
        for air in &mut airs {
            air.free_from = end;
        }
        end
    }
}
