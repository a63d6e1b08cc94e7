//! The tally of a run: what nodes sent and received, and how calls ended.

use std::collections::{BTreeMap, BTreeSet};

use core::str::FromStr;
use core::time::Duration;

use nimblenet_core::wire::{Frame, Holdings, Kind, Message, OVERHEAD, Page};
use nimblenet_core::{CallId, Event, Instant, Node, Step};
use nimblenet_tasklet::{Fault, NamespaceId, NodeId, Work};
use serde::{Deserialize, Serialize};

use crate::bound::Needs;
use crate::engine::{Observer, Passing};
use crate::followed::Follower;
use crate::run::UnknownName;

/// The length of one window of the tally.
pub const WINDOW: Duration = Duration::from_secs(10);

/// How bytes are counted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accounting {
    /// The payload that the paper's protocol needs for the same message: a search, an answer, a
    /// request for metadata or for a module is 8 bytes, metadata are 40, a module its length and 8,
    /// news of a cache 4 bytes and 2 for each module that came or left. Other messages have their encoded length.
    #[default]
    Nominal,
    /// The frame as it is sent, with counter and tag.
    Real,
}

impl Accounting {
    /// The names, in the order of the variants.
    pub const NAMES: [&'static str; 2] = ["nominal", "real"];
}

impl FromStr for Accounting {
    type Err = UnknownName;

    fn from_str(given: &str) -> Result<Self, UnknownName> {
        match given {
            "nominal" => Ok(Self::Nominal),
            "real" => Ok(Self::Real),
            _ => Err(UnknownName::new(given, &Self::NAMES)),
        }
    }
}

/// Bytes and packets, by both accountings.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Load {
    /// How many packets.
    pub packets: u64,
    /// Their nominal payload.
    pub nominal: u64,
    /// Their length as frames.
    pub real: u64,
}

/// What nodes have told of caches: the teller, the holder, the namespace and the number of the page,
/// and its bits.
type News = BTreeMap<(NodeId, NodeId, NamespaceId, u8), u32>;

/// The nominal payload of news of caches.
fn news(told: &mut News, teller: NodeId, holdings: &Holdings<'_>) -> u64 {
    let namespace = holdings.namespace;
    let mut changed = |holder, page: Page| {
        let key = (teller, holder, namespace, page.number);
        let before = told.insert(key, page.bits).unwrap_or(0);
        u64::from((before ^ page.bits).count_ones())
    };
    let own: u64 = holdings.own().map(|page| changed(teller, page)).sum();
    let mut bytes = 4 + 2 * own;
    for (holder, pages) in holdings.sections() {
        let ids: u64 = pages.map(|page| changed(holder.id, page)).sum();
        bytes += 4 + 2 * ids;
    }
    bytes
}

impl Load {
    fn of(passing: &Passing<'_>, told: &mut News) -> Self {
        // What seals a frame is in its overhead.
        let len = passing.frame.map_or(passing.bytes.len(), Frame::len);
        let real = len as u64;
        let nominal = passing.frame.map_or(real, |frame| match &frame.message {
            Message::Holdings(holdings) => news(told, frame.sender, holdings),
            Message::Search(_)
            | Message::Found(_)
            | Message::MetadataRequest(_)
            | Message::Fetch(_) => 8,
            Message::Metadata(_) => 40,
            Message::Data(data) => 8 + data.bytes.len() as u64,
            Message::Refuse(_)
            | Message::Hello(_)
            | Message::Call(_)
            | Message::Return(_)
            | Message::Move(_)
            | Message::Offer(_)
            | Message::Go(_)
            | Message::Load(_)
            | Message::Report(_)
            | Message::Ack(_)
            | Message::Flow(_) => real,
        });
        Self {
            packets: 1,
            nominal,
            real: real + OVERHEAD as u64,
        }
    }

    fn add(&mut self, other: Self) {
        self.packets += other.packets;
        self.nominal += other.nominal;
        self.real += other.real;
    }

    /// The bytes, with `header_bytes` for each packet.
    pub fn bytes(&self, accounting: Accounting, header_bytes: u32) -> u64 {
        let payload = match accounting {
            Accounting::Nominal => self.nominal,
            Accounting::Real => self.real,
        };
        payload + self.packets * u64::from(header_bytes)
    }
}

/// How a kind of message is named in tables of bytes; requests for metadata and their answers are
/// one.
pub const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Search => "req",
        Kind::Found => "rep",
        Kind::MetadataRequest | Kind::Metadata => "meta",
        Kind::Fetch => "get",
        Kind::Data => "data",
        Kind::Refuse
        | Kind::Hello
        | Kind::Holdings
        | Kind::Call
        | Kind::Return
        | Kind::Move
        | Kind::Offer
        | Kind::Go
        | Kind::Load
        | Kind::Report
        | Kind::Ack
        | Kind::Flow => kind.name(),
    }
}

/// A call that has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ended {
    /// When it ended.
    pub at: Instant,
    /// The node that took it.
    pub node: NodeId,
    /// The catalogue number of its tasklet; none if another node ran the call.
    pub number: Option<u16>,
    /// From the call to its end.
    pub took: Duration,
    /// The time in which it waited for modules.
    pub acquisition: Duration,
}

/// What a run has led to.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Tasklets with lower catalogue numbers are chains.
    chains: u16,
    /// The nodes by id: their place in the lists.
    at: Vec<u16>,
    ids: Vec<NodeId>,
    /// What each node has sent.
    sent: Vec<Load>,
    /// What each node has received, duplicates included.
    received: Vec<Load>,
    /// How long executors of each node have run tasklets.
    ran: Vec<Duration>,
    /// What was sent of each kind.
    by_kind: [Load; Kind::ALL.len()],
    /// Messages of each kind at their origin.
    originated: [u64; Kind::ALL.len()],
    /// What was sent and received in each window.
    windows: Vec<Load>,
    /// Bytes of modules and catalogues that reached the nodes that had asked for them.
    module_bytes: u64,
    /// What was told of caches before.
    told: News,
    /// The last news of each node: those who hear it receive as much as it has sent.
    news: BTreeMap<NodeId, (u32, Load)>,
    /// Calls that ended with a result.
    pub(crate) ended: Vec<Ended>,
    /// Calls that ended without one, by the code of their fault.
    pub(crate) failed: BTreeMap<&'static str, u64>,
    /// The modules that nodes have started.
    pub(crate) needs: Needs,
    /// The call that is followed.
    pub(crate) follower: Follower,
    /// What became of robots' results since it was last looked at; none if nobody looks.
    pub(crate) results: Option<Vec<Told>>,
    /// What became of calls since it was last looked at; none if nobody looks.
    pub(crate) ends: Option<Vec<Told>>,
    /// Whether what ends now is no call, but a question for a result.
    pub(crate) claims: bool,
    claimed: Claimed,
}

/// A call, or a question for a result, that has ended at a node.
pub(crate) type Told = (Instant, (NodeId, CallId), Result<(), Fault>);

/// Questions for results.
#[derive(Clone, Default, Debug)]
struct Claimed {
    /// Those in progress at each node.
    calls: BTreeSet<(NodeId, CallId)>,
    /// Their request numbers between nodes.
    requests: BTreeSet<(NodeId, u32)>,
    /// What they and their answers were.
    load: Load,
    /// Questions at their origin.
    originated: u64,
}

impl Tally {
    /// An empty tally of these nodes, for a run of `duration`. The tasklets with catalogue numbers below
    /// `chains` are chains.
    pub fn new(ids: impl Iterator<Item = NodeId>, duration: Duration, chains: u16) -> Self {
        let ids: Vec<NodeId> = ids.collect();
        let last = ids.iter().map(|id| usize::from(id.0)).max().unwrap_or(0);
        let mut at = vec![0; last + 1];
        for (place, id) in ids.iter().enumerate() {
            at[usize::from(id.0)] = place as u16;
        }
        let windows = duration.as_micros().div_ceil(WINDOW.as_micros()) as usize;
        Self {
            chains,
            at,
            sent: vec![Load::default(); ids.len()],
            received: vec![Load::default(); ids.len()],
            ran: vec![Duration::ZERO; ids.len()],
            ids,
            by_kind: [Load::default(); Kind::ALL.len()],
            originated: [0; Kind::ALL.len()],
            windows: vec![Load::default(); windows + 1],
            module_bytes: 0,
            told: News::new(),
            news: BTreeMap::new(),
            ended: Vec::new(),
            failed: BTreeMap::new(),
            needs: Needs::default(),
            follower: Follower::default(),
            results: None,
            ends: None,
            claims: false,
            claimed: Claimed::default(),
        }
    }

    /// Notes that a question for a result is in progress, unless it has ended.
    pub(crate) fn note_claim(&mut self, node: NodeId, call: CallId) {
        self.claimed.calls.insert((node, call));
    }

    /// What questions for results, and their answers, were.
    pub fn claimed(&self) -> Load {
        self.claimed.load
    }

    /// Questions for results that nodes have sent to others.
    pub fn questions(&self) -> u64 {
        self.claimed.originated
    }

    /// Whether a frame has to do with a question for a result.
    fn is_claim(&mut self, frame: &Frame<'_>) -> bool {
        if let Message::Call(call) = &frame.message
            && call.passes.is_claim()
        {
            self.claimed.requests.insert((frame.origin, call.request));
            return true;
        }
        let Message::Return(answer) = &frame.message else {
            return false;
        };
        let request = (frame.destination, answer.request);
        self.claimed.requests.contains(&request)
    }

    /// What each node has sent, and what it has received.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, Load, Load)> {
        let loads = self.sent.iter().zip(&self.received);
        let nodes = self.ids.iter().zip(loads);
        nodes.map(|(id, (sent, received))| (*id, *sent, *received))
    }

    /// How long executors of each node have run tasklets.
    pub fn ran(&self) -> impl Iterator<Item = (NodeId, Duration)> {
        self.ids.iter().copied().zip(self.ran.iter().copied())
    }

    /// Notes that an executor of a node has run a tasklet for so long.
    pub fn note_ran(&mut self, node: NodeId, time: Duration) {
        let at = self.place(node);
        self.ran[at] += time;
    }

    /// Each kind of message with what was sent of it, and how many nodes originated.
    pub fn kinds(&self) -> impl Iterator<Item = (Kind, Load, u64)> {
        let loads = self.by_kind.iter().zip(self.originated);
        let kinds = Kind::ALL.iter().zip(loads);
        kinds.map(|(kind, (load, originated))| (*kind, *load, originated))
    }

    /// Everything that was sent.
    pub fn air(&self) -> Load {
        let mut air = Load::default();
        self.sent.iter().for_each(|load| air.add(*load));
        air
    }

    /// What was sent and received up to the end of each window; the first is of no length.
    pub fn cumulative(&self) -> impl Iterator<Item = Load> {
        self.windows.iter().scan(Load::default(), |sum, load| {
            sum.add(*load);
            Some(*sum)
        })
    }

    fn load(&mut self, passing: &Passing<'_>) -> Load {
        let Some(frame) = passing.frame else {
            return Load::of(passing, &mut self.told);
        };
        if !matches!(frame.message, Message::Holdings(_)) {
            return Load::of(passing, &mut self.told);
        }
        if let Some((sequence, load)) = self.news.get(&frame.sender)
            && *sequence == frame.sequence
        {
            return *load;
        }
        let load = Load::of(passing, &mut self.told);
        self.news.insert(frame.sender, (frame.sequence, load));
        load
    }

    /// Bytes of modules and catalogues that reached the nodes that had asked for them.
    pub fn module_bytes(&self) -> u64 {
        self.module_bytes
    }

    /// Calls that ended with a result.
    pub fn ended(&self) -> &[Ended] {
        &self.ended
    }

    /// Notes that a node has started the module with this catalogue number.
    pub fn started(&mut self, node: NodeId, number: u16) {
        self.needs.add(node, number);
    }

    /// The chain among what a call has acquired; it is not the first if all of it was preloaded.
    fn chain(&self, steps: &[Step]) -> Option<u16> {
        let numbers = steps.iter().map(|step| step.tasklet.number);
        numbers.into_iter().find(|number| *number < self.chains)
    }

    fn window(&mut self, now: Instant, load: Load) {
        let at = now.as_micros().div_ceil(WINDOW.as_micros() as u64);
        let last = self.windows.len() - 1;
        self.windows[last.min(at as usize)].add(load);
    }

    fn place(&self, id: NodeId) -> usize {
        usize::from(self.at[usize::from(id.0)])
    }
}

impl Observer for Tally {
    fn sent(&mut self, now: Instant, passing: Passing<'_>) {
        self.follower.sent(&passing);
        let load = self.load(&passing);
        let at = self.place(passing.node);
        self.sent[at].add(load);
        if let Some(frame) = passing.frame {
            if self.is_claim(frame) {
                self.claimed.load.add(load);
                let asks = matches!(frame.message, Message::Call(_));
                self.claimed.originated += u64::from(asks && frame.origin == passing.node);
            }
            let kind = frame.message.kind() as usize - 1;
            self.by_kind[kind].add(load);
            // Each node that passes a flood on originates a message; a packet for one node has one
            // origin.
            let originates = frame.origin == passing.node || frame.destination == NodeId::EVERYONE;
            self.originated[kind] += u64::from(originates);
        }
        self.window(now, load);
    }

    fn received(&mut self, now: Instant, passing: Passing<'_>) {
        self.follower.received(&passing);
        let load = self.load(&passing);
        let at = self.place(passing.node);
        self.received[at].add(load);
        if let Some(frame) = passing.frame
            && let Message::Data(data) = &frame.message
            && frame.destination == passing.node
        {
            self.module_bytes += data.bytes.len() as u64;
        }
        self.window(now, load);
    }

    fn worked(&mut self, now: Instant, node: NodeId, work: &Work<'_>, time: Duration) {
        // A device has its native tasklets without a transfer.
        if let Some(start) = work.begin().filter(|start| start.entry.has_module()) {
            self.started(node, start.entry.number);
        }
        if matches!(work, Work::Start(_) | Work::Resume { .. }) {
            self.note_ran(node, time);
        }
        self.follower.worked(now, node, work, time);
    }

    fn rested(&mut self, now: Instant, node: &Node) {
        self.follower.rested(now, node);
    }

    fn event(&mut self, now: Instant, node: NodeId, event: &Event<'_>) {
        self.follower.event(now, node, event);
        if let Event::Finished {
            call,
            result,
            steps,
            took,
            ..
        } = event
        {
            let listening = [&mut self.results, &mut self.ends];
            for told in listening.into_iter().flatten() {
                told.push((now, (node, *call), result.map(drop)));
            }
            if self.claims || self.claimed.calls.remove(&(node, *call)) {
                return;
            }
            match result {
                Ok(_) => self.ended.push(Ended {
                    at: now,
                    node,
                    number: self.chain(steps),
                    took: *took,
                    acquisition: steps.iter().map(|step| step.took).sum(),
                }),
                Err(fault) => *self.failed.entry(fault.code()).or_default() += 1,
            }
        }
    }
}
