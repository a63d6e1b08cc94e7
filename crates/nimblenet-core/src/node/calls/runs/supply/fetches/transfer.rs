//! A transfer at its receiver: which parts are here, and which to ask for, at which source.
//!
//! The receiver asks for up to 32 parts at a time, and asks again for those that do not come. When
//! a source is lost, the same transfer goes on from another source at the offset reached.

use core::mem::replace;
use core::time::Duration;

use nimblenet_tasklet::NodeId;

use crate::time::Instant;
use crate::wire::{Data, Fetch, Object};

/// The most parts in one request.
const WINDOW: u32 = 32;

/// Parts are not made shorter than this many bytes because longer ones do not come.
const SHORTEST_PART: u16 = 160;

/// An object on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Transfer {
    object: Object,
    source: NodeId,
    request: u16,
    /// The request before that, whose parts may be late; the same number if there is none.
    former: u16,
    part: u16,
    /// Whether longer parts did not come, and none of these has come yet.
    shortened: bool,
    /// How many bytes from the start are here without a gap.
    prefix: u32,
    /// Bit n says whether the part n behind the prefix is here.
    behind: u32,
    /// Parts that were asked for and are not here yet.
    asked: u32,
    /// Length and version; none before the first part.
    shape: Option<(u32, u32)>,
    /// The length, if it is known beforehand.
    expected: Option<u32>,
    /// When the request and that before it were sent.
    sent: Instant,
    former_sent: Instant,
    /// Whether a part has come since then.
    answered: bool,
    deadline: Instant,
    patience: Duration,
    stalls: u8,
}

/// What a part means to the transfer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    /// It belongs to something else, or is here already.
    Unexpected,
    /// It must be written at its offset.
    Part,
    /// It must be written at its offset, and is the last.
    Complete,
    /// The object is another one than that of the first part: the transfer starts over.
    Changed,
}

/// What a transfer must do when it has waited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stall {
    /// Wait longer.
    Waiting,
    /// Ask again.
    Ask,
    /// Give the source up.
    Lost,
}

impl Transfer {
    /// Starts a transfer of `object`, of `expected` bytes if that is known.
    pub(super) fn new(object: Object, source: NodeId, part: u16, expected: Option<u32>) -> Self {
        Self {
            object,
            source,
            request: 0,
            former: 0,
            part: part.max(1),
            shortened: false,
            prefix: 0,
            behind: 0,
            asked: 0,
            shape: None,
            expected,
            sent: Instant::ZERO,
            former_sent: Instant::ZERO,
            answered: false,
            deadline: Instant::ZERO,
            patience: Duration::ZERO,
            stalls: 0,
        }
    }

    pub(super) fn object(&self) -> Object {
        self.object
    }

    pub(super) fn source(&self) -> NodeId {
        self.source
    }

    pub(super) fn request(&self) -> u16 {
        self.request
    }

    /// Whether a part that was sent for this request belongs here.
    pub(super) fn awaits(&self, request: u16) -> bool {
        request == self.request || request == self.former
    }

    /// How many bytes from the start are here without a gap.
    pub(super) fn prefix(&self) -> u32 {
        self.prefix
    }

    /// The object's length, once it is known.
    pub(super) fn total(&self) -> Option<u32> {
        self.shape.map(|(total, _)| total).or(self.expected)
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The length of the longest part that it waits for.
    pub(super) fn part_len(&self) -> u16 {
        let total = self
            .total()
            .map_or(u16::MAX, |total| total.min(u32::from(u16::MAX)) as u16);
        self.part.min(total)
    }

    /// Goes on from another source. If the route to it needs shorter parts, gives up the parts
    /// behind a gap.
    pub(super) fn resume_from(&mut self, source: NodeId, part: u16) {
        self.source = source;
        // What its former source took says nothing of this one.
        self.sent = Instant::ZERO;
        self.stalls = 0;
        self.asked = 0;
        self.cut(part.max(1));
    }

    /// Asks for parts half as long from now on, in case the longer ones are too long for a link.
    pub(super) fn shorten(&mut self) {
        if self.part > SHORTEST_PART {
            self.shortened = true;
            self.cut((self.part / 2).max(SHORTEST_PART));
        }
    }

    fn cut(&mut self, part: u16) {
        if part < self.part {
            self.part = part;
            self.behind = 0;
            // Late parts have another length.
            self.request = 0;
        }
    }

    /// The length of the parts, if longer ones did not come and the first of these has.
    pub(super) fn poll_shortened(&mut self) -> Option<u16> {
        replace(&mut self.shortened, false).then_some(self.part)
    }

    /// How often it was asked since the last part came, and no part has come.
    pub(super) fn stalls(&self) -> u8 {
        self.stalls
    }

    /// Takes the parts that another node asks for under the number `request`.
    pub(super) fn overhear(&mut self, request: u16) {
        if request != self.request {
            self.former = self.request;
            self.request = request;
        }
    }

    /// Asks for the parts that are lacking, and waits for `patience`.
    pub(super) fn ask(&mut self, now: Instant, request: u16, patience: Duration) -> Fetch {
        self.former = match self.request {
            0 => request,
            former => former,
        };
        self.request = request;
        self.former_sent = self.sent;
        self.sent = now;
        self.answered = false;
        self.patience = patience;
        self.deadline = now + patience;
        let left = self
            .total()
            .map_or(1, |total| total.saturating_sub(self.prefix));
        let parts = left.div_ceil(u32::from(self.part)).clamp(1, WINDOW);
        let window = u32::MAX >> (WINDOW - parts);
        self.asked = window & !self.behind;
        let (object, offset, part) = (self.object, self.prefix, self.part);
        Fetch {
            object,
            request,
            offset,
            part,
            wanted: self.asked,
            direct: false,
        }
    }

    /// Whether everything asked for is here, but not the whole object.
    pub(super) fn wants_more(&self) -> bool {
        self.asked == 0 && self.total().is_none_or(|total| self.prefix < total)
    }

    /// How long the present source has taken for its answer to `request`, if this is its first part.
    pub(super) fn poll_answered(&mut self, now: Instant, request: u16) -> Option<Duration> {
        if replace(&mut self.answered, true) {
            return None;
        }
        let asked = match request == self.request {
            true => self.sent,
            false => self.former_sent,
        };
        (asked != Instant::ZERO).then(|| now - asked)
    }

    /// Notes a part.
    pub(super) fn take(&mut self, now: Instant, data: &Data<'_>) -> Progress {
        if !self.awaits(data.request) {
            return Progress::Unexpected;
        }
        // The length that is known beforehand comes from a signed catalogue or an offer: a part that
        // contradicts it is no part of the object, whoever sends it.
        if self.expected.is_some_and(|expected| expected != data.total) {
            return Progress::Unexpected;
        }
        let shape = (data.total, data.version);
        if self.shape.is_some_and(|known| known != shape) {
            return Progress::Changed;
        }
        let part = u32::from(self.part);
        let Some(ahead) = data.offset.checked_sub(self.prefix) else {
            return Progress::Unexpected;
        };
        let index = ahead / part;
        let whole = data.bytes.len() as u32 == part.min(data.total - data.offset);
        if ahead % part != 0 || index >= WINDOW || !whole || self.behind >> index & 1 == 1 {
            return Progress::Unexpected;
        }
        self.shape = Some(shape);
        self.behind |= 1 << index;
        self.asked &= !(1 << index);
        self.stalls = 0;
        self.deadline = now + self.patience;
        while self.behind & 1 == 1 {
            self.behind >>= 1;
            self.asked >>= 1;
            self.prefix = (self.prefix + part).min(data.total);
        }
        if self.prefix == data.total {
            Progress::Complete
        } else {
            Progress::Part
        }
    }

    /// What to do now; waits until the patience has ended.
    pub(super) fn handle_timeout(&mut self, now: Instant, asks: u8) -> Stall {
        if now < self.deadline {
            return Stall::Waiting;
        }
        self.stalls += 1;
        if self.stalls < asks {
            Stall::Ask
        } else {
            Stall::Lost
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;
    use nimblenet_tasklet::NamespaceId;
    use proptest::prelude::*;

    const OBJECT: Object = Object::Catalogue {
        namespace: NamespaceId(1),
        since: 0,
    };

    fn serve<'a>(fetch: &Fetch, whole: &'a [u8]) -> Vec<Data<'a>> {
        let part = u32::from(fetch.part);
        let bits = (0..32).filter(|bit| fetch.wanted >> bit & 1 == 1);
        let offsets = bits.map(|bit| fetch.offset + bit * part);
        offsets
            .filter(|offset| (*offset as usize) < whole.len())
            .map(|offset| {
                let end = whole.len().min((offset + part) as usize);
                Data {
                    request: fetch.request,
                    version: 1,
                    total: whole.len() as u32,
                    offset,
                    bytes: &whole[offset as usize..end],
                }
            })
            .collect()
    }

    proptest! {
        #[test]
        fn whatever_is_lost_doubled_or_late_the_object_arrives_whole(
            len in 1usize..5000, part in 16u16..600, second_part in 16u16..600,
            known: bool, fates in proptest::collection::vec(0u8..6, 1..400),
        ) {
            let whole: Vec<u8> = (0..len).map(|at| (at * 7) as u8).collect();
            let expected = known.then_some(len as u32);
            let mut transfer = Transfer::new(OBJECT, NodeId(1), part, expected);
            let mut buffer = vec![0; len];
            let mut fates = fates.into_iter().cycle();
            let mut complete = false;
            for round in 0..2000u16 {
                if round == 3 {
                    transfer.resume_from(NodeId(2), second_part);
                }
                let fetch = transfer.ask(Instant::ZERO, round, Duration::ZERO);
                let mut parts = serve(&fetch, &whole);
                for at in 0..parts.len() {
                    match fates.next().unwrap() {
                        0 if round < 500 => parts[at].request ^= 0x8000,
                        1 => parts.push(parts[at]),
                        2 => { let last = parts.len() - 1; parts.swap(at, last) }
                        _ => {}
                    }
                }
                for data in parts {
                    let progress = transfer.take(Instant::ZERO, &data);
                    if matches!(progress, Progress::Part | Progress::Complete) {
                        let at = data.offset as usize;
                        buffer[at..at + data.bytes.len()].copy_from_slice(data.bytes);
                    }
                    complete |= progress == Progress::Complete;
                }
                if complete { break }
            }
            prop_assert!(complete);
            prop_assert_eq!(buffer, whole);
        }
    }

    #[test]
    fn att_36_a_part_of_another_length_is_not_taken_and_another_version_is_noticed() {
        let mut transfer = Transfer::new(OBJECT, NodeId(1), 100, Some(150));
        let fetch = transfer.ask(Instant::ZERO, 1, Duration::ZERO);
        let whole = [0; 250];
        let longer = serve(&fetch, &whole)[0];
        assert_eq!(transfer.take(Instant::ZERO, &longer), Progress::Unexpected);
        let good = serve(&fetch, &whole[..150]);
        assert_eq!(transfer.take(Instant::ZERO, &good[0]), Progress::Part);
        let newer = Data {
            version: 2,
            ..good[1]
        };
        assert_eq!(transfer.take(Instant::ZERO, &newer), Progress::Changed);
        let short = Data {
            bytes: &good[1].bytes[..20],
            ..good[1]
        };
        assert_eq!(transfer.take(Instant::ZERO, &short), Progress::Unexpected);
        assert_eq!(transfer.take(Instant::ZERO, &good[1]), Progress::Complete);
    }

    #[test]
    fn a_silent_source_is_lost_after_six_requests() {
        let mut transfer = Transfer::new(OBJECT, NodeId(1), 100, None);
        let patience = Duration::from_secs(1);
        let mut now = Instant::ZERO;
        let mut asked: u32 = 0;
        loop {
            transfer.ask(now, 1, patience);
            asked += 1;
            assert_eq!(transfer.handle_timeout(now, 6), Stall::Waiting);
            now += patience;
            if transfer.handle_timeout(now, 6) == Stall::Lost {
                break;
            }
        }
        assert_eq!(asked, 6);
    }
}
