//! An intruder: it hears every frame, and puts frames of its own on a link.

use std::collections::{BTreeMap, VecDeque};

use nimblenet_core::MIN_MTU;
use nimblenet_core::wire::{
    Answer, CHECKSUM_LEN, Found, Frame, Go, GoNumber, HELLO_BYTES, HOLDINGS_BYTES, Hello,
    HoldingsWriter, MAX_TTL, Message, Move, Offer, Page, Return, Search, check,
};
use nimblenet_tasklet::{Digest, NamespaceId, NodeId, TaskletRef};
use rand::{Rng as _, RngExt as _};
use rand_chacha::ChaCha8Rng;

use super::trial::Lie;

/// The first id of nodes that do not exist; each search or flood has one more.
const NOBODY: u16 = 9000;
/// How many nodes hold everything.
const HOLDERS: u16 = 5;
/// How many frames, calls and searches it remembers.
const REMEMBERED: usize = 16;
/// A result that no call has: they give back numbers.
const FALSE_RESULT: &[u8] = &[0x81, 0x00];

/// What was heard.
#[derive(Default)]
pub(super) struct Tap {
    /// The newest packet number of each origin.
    newest: BTreeMap<NodeId, u32>,
    /// Calls: caller, request, callee.
    calls: VecDeque<(NodeId, u32, NodeId)>,
    /// Searches: who searches, request, the tasklet's namespace.
    searches: VecDeque<(NodeId, u16)>,
    namespace: Option<NamespaceId>,
    frames: VecDeque<Vec<u8>>,
}

fn remember<T>(list: &mut VecDeque<T>, item: T) {
    if list.len() == REMEMBERED {
        list.pop_front();
    }
    list.push_back(item);
}

impl Tap {
    /// Hears a frame.
    pub(super) fn hear(&mut self, frame: &Frame<'_>, bytes: &[u8]) {
        self.newest.insert(frame.origin, frame.sequence);
        if let Message::Call(call) = frame.message {
            let call = (frame.origin, call.request, frame.destination);
            remember(&mut self.calls, call);
        }
        if let Message::Search(search) = frame.message {
            remember(&mut self.searches, (frame.origin, search.request));
        }
        if let Message::Holdings(holdings) = frame.message {
            self.namespace = Some(holdings.namespace);
        }
        remember(&mut self.frames, bytes.to_vec());
    }

    /// The frames that tell the node `to` a lie in the place of its neighbour `from`: those of the
    /// turn number `turn`, by so many origins.
    pub(super) fn forge(
        &self,
        lie: Lie,
        (from, to): (NodeId, NodeId),
        (turn, origins): (u32, u16),
        random: &mut ChaCha8Rng,
    ) -> Vec<Vec<u8>> {
        let place = Spoken { from, to };
        match lie {
            Lie::Holders => self.holders(&place, turn),
            Lie::Numbers => {
                let newest = self.newest.get(&from).copied().unwrap_or(1);
                let leap = random.random_range(1 << 20..1 << 30);
                vec![place.hello(from, newest.wrapping_add(leap))]
            }
            Lie::Results => {
                let calls = self.calls.iter().filter(|(caller, ..)| *caller == to);
                let results = calls.map(|(_, request, callee)| {
                    let newest = self.newest.get(callee).copied().unwrap_or(1);
                    place.result(*callee, newest.wrapping_add(100 + turn), *request)
                });
                results.collect()
            }
            Lie::Floods => {
                let names = (0..origins).map(|at| NodeId(NOBODY + at));
                names.map(|name| place.search(name, turn + 1)).collect()
            }
            Lie::Mutants => self
                .heard(random)
                .map(|frame| mutate(frame, random))
                .into_iter()
                .collect(),
            Lie::Replays => self.heard(random).into_iter().collect(),
            Lie::Offers => self.offers(&place, turn),
        }
    }

    /// The neighbour offers a job that it does not have, says go for it, and orders that calls move.
    fn offers(&self, place: &Spoken, turn: u32) -> Vec<Vec<u8>> {
        let from = place.from;
        let newest = self.newest.get(&from).copied().unwrap_or(1);
        let mut sequence = newest.wrapping_add(100 + turn * (2 + REMEMBERED as u32));
        let request = sequence;
        let offer = Message::Offer(Offer {
            request,
            deadline_ms: 60_000,
            caller: self
                .calls
                .back()
                .map_or((NodeId::EVERYONE, 0), |call| (call.0, call.1)),
            mtu: u16::MAX,
            size: SIZE_OF_NOBODY,
            digest: Digest::of(FALSE_RESULT),
        });
        let number = GoNumber::new(turn + 1);
        let go = number.map(|number| Message::Go(Go { request, number }));
        let moves = self.calls.iter().map(|(_, request, _)| {
            let to = NodeId(NOBODY);
            Message::Move(Move {
                request: *request,
                to,
            })
        });
        let messages = [offer].into_iter().chain(go).chain(moves);
        let frames = messages.map(|message| {
            sequence = sequence.wrapping_add(1);
            place.frame(from, place.to, sequence, message)
        });
        frames.collect()
    }

    fn heard(&self, random: &mut ChaCha8Rng) -> Option<Vec<u8>> {
        let at = (!self.frames.is_empty()).then(|| random.random_range(0..self.frames.len()))?;
        self.frames.get(at).cloned()
    }

    /// Nobodies say that they hold everything, and that they have what is searched.
    fn holders(&self, place: &Spoken, turn: u32) -> Vec<Vec<u8>> {
        let nobodies = (0..HOLDERS).map(|at| NodeId(NOBODY + at));
        let mut frames = Vec::new();
        for nobody in nobodies {
            let sequence = turn * (1 + REMEMBERED as u32);
            if let Some(namespace) = self.namespace {
                frames.push(place.holdings(nobody, sequence, namespace));
            }
            for (number, (searcher, request)) in self.searches.iter().enumerate() {
                let sequence = sequence + 1 + number as u32;
                frames.push(place.found(nobody, sequence, (*searcher, *request)));
            }
        }
        frames
    }
}

/// A link on which an intruder speaks.
struct Spoken {
    from: NodeId,
    to: NodeId,
}

impl Spoken {
    fn frame(&self, origin: NodeId, to: NodeId, sequence: u32, message: Message<'_>) -> Vec<u8> {
        let everyone = to == NodeId::EVERYONE;
        let frame = Frame {
            ttl: MAX_TTL - 1,
            sender: self.from,
            receiver: if everyone { to } else { self.to },
            origin,
            destination: to,
            sequence,
            hops: 1,
            unanswered: false,
            message,
        };
        let mut out = vec![0; frame.len() + CHECKSUM_LEN];
        frame
            .emit_checked(&mut out)
            .expect("it has the frame's length");
        out
    }

    fn hello(&self, origin: NodeId, sequence: u32) -> Vec<u8> {
        let mut space = [0; HELLO_BYTES];
        let hello = Hello::new([].into_iter(), [].into_iter(), 0, &mut space);
        self.frame(origin, NodeId::EVERYONE, sequence, Message::Hello(hello))
    }

    fn result(&self, callee: NodeId, sequence: u32, request: u32) -> Vec<u8> {
        let answer = Answer::Done(FALSE_RESULT);
        let message = Message::Return(Return { request, answer });
        self.frame(callee, self.to, sequence, message)
    }

    fn search(&self, origin: NodeId, sequence: u32) -> Vec<u8> {
        let tasklet = TaskletRef {
            namespace: NamespaceId(0),
            number: 0,
            sequence: 0,
        };
        let (request, mtu) = (sequence as u16, u16::MAX);
        let search = Search {
            tasklet,
            request,
            mtu,
        };
        self.frame(origin, NodeId::EVERYONE, sequence, Message::Search(search))
    }

    /// A stranger speaks for itself here, as a neighbour that nobody knows yet.
    fn holdings(&self, nobody: NodeId, sequence: u32, namespace: NamespaceId) -> Vec<u8> {
        let mut space = [0; HOLDINGS_BYTES];
        let mut writer = HoldingsWriter::new(&mut space);
        writer.own(Page {
            number: 0,
            bits: u32::MAX,
        });
        let message = Message::Holdings(writer.finish(namespace));
        let stranger = Self {
            from: nobody,
            to: self.to,
        };
        stranger.frame(nobody, NodeId::EVERYONE, sequence, message)
    }

    fn found(&self, nobody: NodeId, sequence: u32, to: (NodeId, u16)) -> Vec<u8> {
        let (searcher, request) = to;
        let (mtu, size) = (MTU_OF_NOBODY, SIZE_OF_NOBODY);
        let found = Found { request, mtu, size };
        self.frame(nobody, searcher, sequence, Message::Found(found))
    }
}

/// What nobodies say of their links and modules.
const MTU_OF_NOBODY: u16 = MIN_MTU;
const SIZE_OF_NOBODY: u32 = 120;

/// The same frame with one to three wrong bytes, and the checksum that it has with them.
fn mutate(mut frame: Vec<u8>, random: &mut ChaCha8Rng) -> Vec<u8> {
    frame.truncate(frame.len() - CHECKSUM_LEN);
    for _ in 0..random.random_range(1..=3) {
        let at = random.random_range(0..frame.len());
        frame[at] = random.next_u32() as u8;
    }
    let len = frame.len();
    frame.resize(len + CHECKSUM_LEN, 0);
    check(&mut frame, len);
    frame
}
