//! Acquisitions: how a missing module is found (spec/behaviour.md, section 6).
//!
//! An acquisition looks in the cache, then orders the module from the nearest holder that is known,
//! or from the registry. If none is known, or with the paper's profile, it searches as Algorithm 1
//! of the paper does: it asks the neighbours, the whole mesh and the registry, and orders the module
//! from whichever answers first. After a failure the next attempt begins with the cache again; the
//! parts that a source has sent stay.

mod absences;
mod searching;

use core::time::Duration;

use nimblenet_tasklet::{Digest, Fault, NodeId, TaskletName, TaskletRef};

use self::absences::Absences;
use self::searching::Scope;
use crate::cache::{Nearby, Origin, SlotId};
use crate::config::{Discovery, FULL};
use crate::counters::count;
use crate::event::ClientId;
use crate::holders;
use crate::job::{Callee, Source, Step};
use crate::node::post::{Ask, FetchEnd, Order, Owner, Post, SOURCE_ASKS};
use crate::places::AcquisitionAt;
use crate::queue::Queue;
use crate::repute::{FALSE_POINTS, SILENT_POINTS};
use crate::table::Table;
use crate::time::Instant;
use crate::wire::{Found, Message, Metadata, MetadataRequest, Object};

/// How many attempts go to sources that are known, before the others begin with a search.
const DIRECT_ATTEMPTS: u8 = 3;
/// How many of these may go to a holder that is not the registry.
const HOLDER_ATTEMPTS: u8 = 2;
/// How often a source that is known is asked in vain before another is.
const DIRECT_ASKS: u8 = 2;
/// How often the registry is asked in vain before others are searched for.
const REGISTRY_ASKS: u8 = 4;
/// How often the registry is asked in a search while it is silent.
const BRIEF_ASKS: u8 = 2;
/// So many sources may fail without costing an attempt.
const MISSES: u8 = 8;

/// The tasklet that is acquired.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::node) struct Wanted {
    pub(in crate::node) tasklet: TaskletRef,
    pub(in crate::node) digest: Digest,
    pub(in crate::node) size: u32,
    /// The only registry that the acquisition may ask.
    pub(in crate::node) registry: NodeId,
    /// The client for which it is wanted.
    pub(in crate::node) client: Option<ClientId>,
}

impl Wanted {
    /// How to acquire a tasklet for `client`; none if it has no module.
    pub(in crate::node) fn of(callee: &Callee<'_>, client: Option<ClientId>) -> Option<Self> {
        callee.entry.has_module().then(|| Self {
            tasklet: callee.tasklet(),
            digest: callee.entry.digest,
            size: callee.entry.size,
            registry: callee.registry,
            client,
        })
    }
}

/// A node that has the tasklet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Holder {
    id: NodeId,
    hops: u8,
    /// The smallest frame size on the route.
    mtu: u16,
}

/// The phase of an acquisition. The comments name the lines of Algorithm 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Lines 6 to 11: looks in the cache.
    Check,
    /// Line 12: has asked the neighbours.
    LocalSearch,
    /// Line 14: has asked the whole mesh.
    GlobalSearch,
    /// Line 17: has asked the registry.
    Fallback,
    /// Line 22: has asked the holder for metadata.
    Metadata(Holder),
    /// Line 29: has ordered the module from the holder.
    Fetch(Holder),
    /// Waits until it looks again for room in the cache.
    Room,
    /// Lines 10 and 32: the module is in the cache, and reserved for whoever polls this.
    Acquired(SlotId),
    /// Line 34: all attempts have failed.
    Failed(Fault),
}

/// How much an acquisition does to find a holder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Effort {
    /// All that it can.
    Whole,
    /// What it can at once: its registry was asked in vain.
    Less,
    /// That, and once only: its registry was away before it began.
    Once,
}

/// One acquisition.
#[derive(Clone, Copy, Debug)]
struct Acquisition {
    wanted: Wanted,
    phase: Phase,
    started: Instant,
    /// How many attempts were begun, besides those in which a source that is not the registry failed.
    attempts: u8,
    /// How many sources have failed at their own expense.
    misses: u8,
    /// The request number that an answer must have.
    request: u16,
    ask: Ask,
    /// The distance of its source in hops, 0 for the node's own cache.
    hops: u8,
    from_registry: bool,
    /// The last source that failed.
    avoid: Option<NodeId>,
    /// Whether the registry has failed.
    registry_failed: bool,
    /// How often the present search was widened.
    ring: u8,
    /// Whether no job has wanted it yet.
    ahead: bool,
    effort: Effort,
}

/// An acquisition that has ended.
#[derive(Clone, Copy, Debug)]
pub(in crate::node) struct Acquired {
    pub(in crate::node) at: AcquisitionAt,
    pub(in crate::node) tasklet: TaskletRef,
    pub(in crate::node) source: Source,
    /// The number of links to the source.
    pub(in crate::node) hops: u8,
    /// How many attempts were begun.
    pub(in crate::node) attempts: u8,
    /// Bytes that came over the mesh.
    pub(in crate::node) bytes: u32,
    pub(in crate::node) took: Duration,
    /// The module, whose reservation passes to whoever polls; or why it was not acquired.
    pub(in crate::node) result: Result<SlotId, Fault>,
}

/// The acquisitions of a node.
#[derive(Debug)]
pub(in crate::node) struct Acquisitions {
    table: Table<Acquisition>,
    /// The acquisitions that have ended, oldest first.
    ended: Queue<AcquisitionAt>,
    absences: Absences,
}

impl Acquired {
    /// The step in the explanation of a call; `name` is the tasklet's name.
    pub(in crate::node) fn step(&self, name: TaskletName) -> Step {
        let Self {
            tasklet,
            source,
            hops,
            attempts,
            bytes,
            took,
            ..
        } = *self;
        Step {
            tasklet,
            name,
            source,
            hops,
            attempts,
            bytes,
            took,
        }
    }
}

impl Acquisitions {
    /// Room for `places` acquisitions at a time.
    pub(in crate::node) fn new(places: usize) -> Self {
        Self {
            table: Table::new(places),
            ended: Queue::with_capacity(places),
            absences: Absences::new(places),
        }
    }

    /// Starts to acquire a tasklet, or joins an acquisition of the same tasklet.
    ///
    /// # Errors
    /// [`Fault::TooLarge`] if the module can never fit the cache, [`Fault::Busy`] at the limit,
    /// [`Fault::Unreachable`] if it was searched for in vain just now.
    pub(in crate::node) fn acquire(
        &mut self,
        post: &mut Post<'_>,
        wanted: Wanted,
    ) -> Result<AcquisitionAt, Fault> {
        if wanted.size as usize > post.cache.capacity() {
            return Err(Fault::TooLarge);
        }
        if let Some(at) = self.same(post, &wanted) {
            self.with(at, |held| held.ahead = false);
            return Ok(at);
        }
        if self.is_absent(post, &wanted) {
            return Err(Fault::Unreachable);
        }
        self.insert(post, wanted, false)
    }

    /// The acquisition of the same tasklet that another one would join.
    fn same(&self, post: &Post<'_>, wanted: &Wanted) -> Option<AcquisitionAt> {
        let same = |held: &Acquisition| held.wanted.tasklet == wanted.tasklet && !held.ended();
        let merges = post.config.acquisition.merge;
        merges.then(|| self.position(same)).flatten()
    }

    /// An acquisition for which no job waits yet, if all places are taken and `wanted` needs one: it
    /// may have that place.
    pub(in crate::node) fn dispensable(
        &self,
        post: &Post<'_>,
        wanted: &Wanted,
    ) -> Option<AcquisitionAt> {
        let full = self.table.iter().count() == self.table.len();
        let needs = full && self.same(post, wanted).is_none();
        let at = needs.then(|| self.position(|it| it.ahead && !it.ended()));
        at.flatten()
    }

    /// Starts to acquire a tasklet that no job has called yet, unless it is here or on its way, or
    /// more would be on its way than sources bring in time.
    pub(in crate::node) fn acquire_ahead(&mut self, post: &mut Post<'_>, wanted: Wanted) {
        let coming = self.table.iter().filter(|it| it.ahead && !it.ended());
        let bytes: u32 = coming.map(|it| it.wanted.size).sum();
        let same = |held: &Acquisition| held.wanted.tasklet == wanted.tasklet && !held.ended();
        let known = post.cache.find(wanted.tasklet).is_some() || self.position(same).is_some();
        let fits = wanted.size as usize <= post.cache.capacity()
            && (!post.config.acquisition.adapt
                || bytes.saturating_add(wanted.size) <= post.latency.window());
        if fits && !known && !self.is_absent(post, &wanted) {
            // If it cannot be had now, it is acquired when it is called.
            let _ = self.insert(post, wanted, true);
        }
    }

    /// Whether a tasklet is neither here nor to be searched for now.
    fn is_absent(&mut self, post: &Post<'_>, wanted: &Wanted) -> bool {
        FULL && knows(post)
            && post.cache.find(wanted.tasklet).is_none()
            && self.absences.forbid(post, wanted)
    }

    fn insert(
        &mut self,
        post: &mut Post<'_>,
        wanted: Wanted,
        ahead: bool,
    ) -> Result<AcquisitionAt, Fault> {
        let away = FULL && knows(post) && self.absences.is_away(post, wanted.registry);
        let place = self.table.insert(Acquisition {
            wanted,
            phase: Phase::Check,
            started: post.now,
            attempts: 0,
            misses: 0,
            request: 0,
            ask: Ask::new(post.now),
            hops: 0,
            from_registry: false,
            avoid: None,
            registry_failed: away,
            ring: 0,
            ahead,
            effort: match away {
                true => Effort::Once,
                false => Effort::Whole,
            },
        });
        let at = AcquisitionAt::new(place.ok_or(Fault::Busy)?);
        self.with(at, |acquisition| acquisition.begin_attempt(post, at));
        Ok(at)
    }

    /// Takes the answer of a holder to a search.
    pub(in crate::node) fn handle_found(
        &mut self,
        post: &mut Post<'_>,
        origin: NodeId,
        hops: u8,
        found: Found,
    ) {
        let Some(at) = self.awaiting(found.request) else {
            post.unexpected();
            return;
        };
        let holder = Holder {
            id: origin,
            hops,
            mtu: found.mtu,
        };
        self.with(at, |acquisition| {
            let may_answer = match acquisition.phase {
                Phase::LocalSearch | Phase::GlobalSearch => !post.repute.is_bad(post.now, origin),
                Phase::Fallback => origin == acquisition.wanted.registry,
                Phase::Check
                | Phase::Metadata(_)
                | Phase::Fetch(_)
                | Phase::Room
                | Phase::Acquired(_)
                | Phase::Failed(_) => false,
            };
            if may_answer && acquisition.avoid != Some(origin) {
                acquisition.approach(post, at, holder);
            }
        });
    }

    /// Takes a holder's description of the module.
    pub(in crate::node) fn handle_metadata(&mut self, post: &mut Post<'_>, metadata: Metadata<'_>) {
        let Some(at) = self.awaiting(metadata.request) else {
            post.unexpected();
            return;
        };
        self.with(at, |acquisition| {
            let Phase::Metadata(holder) = acquisition.phase else {
                return;
            };
            let wanted = acquisition.wanted;
            if (metadata.size, metadata.digest()) == (wanted.size, wanted.digest) {
                acquisition.fetch(post, at, holder);
            } else {
                acquisition.misled(post, at, holder.id);
            }
        });
    }

    /// Takes the refusal of a node that does not have what it was asked for.
    pub(in crate::node) fn handle_refusal(&mut self, post: &mut Post<'_>, request: u16) {
        if let Some(at) = self.awaiting(request) {
            self.with(at, |acquisition| acquisition.source_lost(post, at, false));
        }
    }

    /// Takes the end of a fetch that an acquisition ordered.
    pub(in crate::node) fn handle_fetched(
        &mut self,
        post: &mut Post<'_>,
        at: AcquisitionAt,
        (source, hops): (NodeId, u8),
        end: FetchEnd,
    ) {
        self.with(at, |acquisition| match (acquisition.phase, end) {
            (Phase::Fetch(_), FetchEnd::Complete(Some(slot))) => {
                acquisition.finish(post, at, slot, (source, hops));
            }
            (Phase::Fetch(_), FetchEnd::Changed | FetchEnd::Complete(None)) => {
                acquisition.blame(post, source, SILENT_POINTS);
                acquisition.retry(post, at, Fault::DigestMismatch, Some(source));
            }
            (Phase::Fetch(_), FetchEnd::NoRoom | FetchEnd::TooLong) => {
                acquisition.wait_for_room(post, at);
            }
            (Phase::Fetch(_), FetchEnd::Refused | FetchEnd::Silent) => {
                post.holders.forget(source, acquisition.wanted.tasklet);
                if end == FetchEnd::Silent {
                    acquisition.blame(post, source, SILENT_POINTS);
                }
                acquisition.registry_failed |= source == acquisition.wanted.registry;
                acquisition.retry(post, at, Fault::Unreachable, Some(source));
            }
            _ => debug_assert!(false, "a fetch ends for the acquisition that ordered it"),
        });
    }

    pub(in crate::node) fn handle_timeout(&mut self, post: &mut Post<'_>) {
        let mut silent = None;
        for at in self.table.places().map(AcquisitionAt::new) {
            self.with(at, |acquisition| {
                if acquisition.poll_timeout().is_none_or(|due| due > post.now) {
                    return;
                }
                match acquisition.phase {
                    Phase::LocalSearch => acquisition.widen(post, at),
                    Phase::GlobalSearch => acquisition.search(post, Scope::Registry),
                    Phase::Fallback => {
                        post.mesh.doubt(post.now, acquisition.wanted.registry);
                        if acquisition.has_asked() {
                            silent = Some(acquisition.wanted.registry);
                            acquisition.retry(post, at, Fault::Unreachable, None);
                        } else {
                            acquisition.search(post, Scope::Registry);
                        }
                    }
                    Phase::Metadata(_) => acquisition.source_lost(post, at, true),
                    Phase::Room => acquisition.retry(post, at, Fault::CacheFull, None),
                    Phase::Check | Phase::Fetch(_) | Phase::Acquired(_) | Phase::Failed(_) => {}
                }
            });
        }
        if let Some(silent) = silent.filter(|_| FULL && knows(post))
            && self.absences.note_silent(post, silent)
        {
            for other in self.table.iter_mut() {
                if other.wanted.registry == silent && other.effort == Effort::Whole {
                    other.effort = Effort::Less;
                }
            }
        }
    }

    pub(in crate::node) fn poll_timeout(&self) -> Option<Instant> {
        let held = self.table.iter();
        held.filter_map(Acquisition::poll_timeout).min()
    }

    /// The acquisition that ended longest ago; frees its place.
    pub(in crate::node) fn poll_ended(&mut self, now: Instant) -> Option<Acquired> {
        while let Some(at) = self.ended.pop_front() {
            let held = self.table.get(at.index());
            let Some(held) = held.filter(|it| it.ended()) else {
                continue;
            };
            let (acquired, wanted) = (held.report(at, now), held.wanted);
            self.table.take(at.index());
            match acquired.result {
                Ok(_) => self.absences.forget(wanted.tasklet),
                Err(Fault::Unreachable) => self.absences.note(now, &wanted),
                Err(_) => {}
            }
            return Some(acquired);
        }
        None
    }

    /// Drops an acquisition that nothing waits for any more.
    pub(in crate::node) fn abandon(&mut self, post: &mut Post<'_>, at: AcquisitionAt) {
        self.ended.retain(|held| *held != at);
        let dropped = self.table.take(at.index());
        if let Some(Phase::Acquired(slot)) = dropped.map(|acquisition| acquisition.phase) {
            post.cache.release(slot);
        }
    }

    /// Checks what must hold between two inputs.
    pub(in crate::node) fn assert_invariants(&self) {
        self.table.assert_invariants();
        for acquisition in self.table.iter() {
            debug_assert!(!acquisition.ended(), "ended acquisitions are polled");
            debug_assert!(acquisition.phase != Phase::Check, "a check ends at once");
        }
    }

    /// Lets `happen` act on the acquisition at `at`, and notes if that has ended it.
    fn with(&mut self, at: AcquisitionAt, happen: impl FnOnce(&mut Acquisition)) {
        let Some(acquisition) = self.table.get_mut(at.index()) else {
            return;
        };
        if acquisition.ended() {
            return;
        }
        happen(acquisition);
        if acquisition.ended() {
            self.ended.push_back(at);
        }
    }

    fn position(&self, is: impl Fn(&Acquisition) -> bool) -> Option<AcquisitionAt> {
        self.table.position(is).map(AcquisitionAt::new)
    }

    fn awaiting(&self, request: u16) -> Option<AcquisitionAt> {
        self.position(|held| held.awaits() && held.request == request)
    }
}

impl Acquisition {
    /// Whether it does less than it could.
    fn is_brief(&self) -> bool {
        FULL && self.effort != Effort::Whole
    }

    /// Whether the registry was asked often enough in a search.
    fn has_asked(&self) -> bool {
        match self.effort {
            Effort::Less if FULL => self.ask.unanswered() >= BRIEF_ASKS,
            Effort::Once if FULL => true,
            Effort::Whole | Effort::Less | Effort::Once => self.ask.is_exhausted(),
        }
    }

    fn ended(&self) -> bool {
        matches!(self.phase, Phase::Acquired(_) | Phase::Failed(_))
    }

    /// Whether it waits for a message.
    fn awaits(&self) -> bool {
        match self.phase {
            Phase::LocalSearch | Phase::GlobalSearch | Phase::Fallback | Phase::Metadata(_) => true,
            Phase::Check
            | Phase::Room
            | Phase::Fetch(_)
            | Phase::Acquired(_)
            | Phase::Failed(_) => false,
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let waits = self.awaits() || self.phase == Phase::Room;
        waits.then_some(self.ask.due())
    }

    /// Looks in the cache, then begins to search.
    fn begin_attempt(&mut self, post: &mut Post<'_>, at: AcquisitionAt) {
        self.attempts += 1;
        if let Some(slot) = post.cache.find(self.wanted.tasklet) {
            // It came before any job has called it: the first job to use it has it from there.
            if let Some(origin) = post.cache.origin(slot) {
                self.hops = origin.hops;
                self.from_registry = origin.registry;
            }
            self.acquired(post, slot);
            return;
        }
        if !knows(post) {
            self.ring = 0;
            self.search(post, Scope::Neighbours);
            return;
        }
        // Whatever others say, the registry has it.
        if self.is_last(post) && self.attempts > 1 {
            match self.registry(post) {
                Some(registry) => self.fetch(post, at, registry),
                None => self.search(post, Scope::Registry),
            }
            return;
        }
        match self.source(post) {
            Some(holder) => self.fetch(post, at, holder),
            None => {
                self.ring = 0;
                self.search(post, Scope::Neighbours);
            }
        }
    }

    /// The source to ask without a search: the nearest holder that is known, else the registry; none
    /// if they have failed.
    fn source(&self, post: &Post<'_>) -> Option<Holder> {
        let begun = self.attempts + self.misses;
        if begun > DIRECT_ATTEMPTS {
            return None;
        }
        let nearest = post.nearest(self.wanted.tasklet, self.avoid);
        let nearest = nearest.filter(|_| begun <= HOLDER_ATTEMPTS);
        let registry = self.registry(post);
        let nearer = nearest.filter(|it| registry.is_none_or(|other| it.hops <= other.hops));
        if let Some(holders::Source { id, hops, mtu }) = nearer {
            return Some(Holder { id, hops, mtu });
        }
        registry.filter(|_| !self.registry_failed)
    }

    /// The registry as a source, if there is a way to it.
    fn registry(&self, post: &Post<'_>) -> Option<Holder> {
        let id = self.wanted.registry;
        let hops = post.mesh.hops(post.now, id)?;
        let mtu = post.mesh.mtu_between(post.now, id);
        Some(Holder { id, hops, mtu })
    }

    /// Whether this attempt is the last one.
    fn is_last(&self, post: &Post<'_>) -> bool {
        self.attempts >= post.config.acquisition.attempts
    }

    /// A source has failed: it has points for that, unless it is the registry, which has no other.
    fn blame(&self, post: &mut Post<'_>, source: NodeId, points: u8) {
        if source != self.wanted.registry {
            post.repute.blame(post.now, source, points);
        }
    }

    /// Goes on with the registry after a source has sent what is not the module.
    fn misled(&mut self, post: &mut Post<'_>, at: AcquisitionAt, source: NodeId) {
        count(&mut post.counters.digest_mismatches);
        self.blame(post, source, FALSE_POINTS);
        if knows(post) {
            self.misses = self.misses.max(HOLDER_ATTEMPTS - 1);
        }
        self.retry(post, at, Fault::DigestMismatch, Some(source));
    }

    /// Ends this attempt: begins the next, or fails the acquisition.
    fn retry(
        &mut self,
        post: &mut Post<'_>,
        at: AcquisitionAt,
        fault: Fault,
        avoid: Option<NodeId>,
    ) {
        // A registry that has failed is asked again, since there is no other.
        self.avoid = avoid.filter(|id| *id != self.wanted.registry);
        self.ask = Ask::new(post.now);
        if self.avoid.is_some() && knows(post) && self.misses < MISSES {
            self.misses += 1;
            self.attempts -= 1;
        }
        let in_vain = FULL && self.effort == Effort::Once && self.phase == Phase::Fallback;
        if self.attempts < post.config.acquisition.attempts && !in_vain {
            self.phase = Phase::Check;
            self.begin_attempt(post, at);
        } else {
            self.phase = Phase::Failed(fault);
        }
    }

    /// Waits for room in the cache, which jobs that end leave.
    fn wait_for_room(&mut self, post: &mut Post<'_>, at: AcquisitionAt) {
        let last = self.attempts >= post.config.acquisition.attempts;
        if last || !post.config.acquisition.adapt {
            self.retry(post, at, Fault::CacheFull, None);
            return;
        }
        self.phase = Phase::Room;
        let wait = post.config.pace.local_search * (1 << (self.attempts - 1).min(5));
        self.ask.answered(post.now, wait);
    }

    /// Asks a holder for metadata, or orders the module from it at once.
    fn approach(&mut self, post: &mut Post<'_>, at: AcquisitionAt, holder: Holder) {
        if !post.config.acquisition.ask_metadata {
            self.fetch(post, at, holder);
            return;
        }
        self.phase = Phase::Metadata(holder);
        self.request = post.new_request();
        self.ask.answered(post.now, post.patience(holder.hops));
        let request = MetadataRequest {
            tasklet: self.wanted.tasklet,
            request: self.request,
        };
        post.send(holder.id, Message::MetadataRequest(request));
    }

    fn fetch(&mut self, post: &mut Post<'_>, at: AcquisitionAt, holder: Holder) {
        self.phase = Phase::Fetch(holder);
        post.order(Order {
            owner: Owner::Acquisition(at),
            object: Object::Module(self.wanted.tasklet),
            source: holder.id,
            hops: Some(holder.hops),
            part: post.mesh.part_from(post.now, holder.id, holder.mtu),
            expected: Some(self.wanted.size),
            direct: self.attempts + self.misses > 1,
            asks: match post.config.acquisition.discovery {
                Discovery::Flood => SOURCE_ASKS,
                // There is not much left to try.
                Discovery::Known if self.is_last(post) => SOURCE_ASKS,
                // A search has found it, or nobody else is known who has it for sure.
                Discovery::Known
                    if self.attempts + self.misses > DIRECT_ATTEMPTS
                        || holder.id == self.wanted.registry =>
                {
                    REGISTRY_ASKS
                }
                Discovery::Known => DIRECT_ASKS,
            },
        });
    }

    /// Checks the digest, now that all bytes are here.
    fn finish(
        &mut self,
        post: &mut Post<'_>,
        at: AcquisitionAt,
        slot: SlotId,
        (source, links): (NodeId, u8),
    ) {
        let hops = Some(links);
        post.cache.set_nearby(slot, Nearby { copies: None, hops });
        post.holders.note_source(source, self.wanted.size);
        // Without merging another acquisition may have brought the module meanwhile.
        let held = post.cache.find(self.wanted.tasklet);
        if held.is_some() {
            post.cache.remove(slot);
        }
        if held.is_some() || post.cache.finish(slot, &self.wanted.digest) {
            self.hops = links;
            self.from_registry = source == self.wanted.registry;
            let slot = held.unwrap_or(slot);
            let (hops, registry) = (links, self.from_registry);
            post.cache.set_origin(slot, Origin { hops, registry });
            post.cache.note_user(slot, self.wanted.client);
            post.repute.forgive(post.now, source);
            self.acquired(post, slot);
        } else {
            self.misled(post, at, source);
        }
    }

    fn acquired(&mut self, post: &mut Post<'_>, slot: SlotId) {
        post.cache.reserve(slot);
        self.phase = Phase::Acquired(slot);
    }

    /// Goes on after the node that was asked has refused or fallen silent.
    fn source_lost(&mut self, post: &mut Post<'_>, at: AcquisitionAt, silent: bool) {
        let source = match self.phase {
            Phase::Metadata(holder) => holder.id,
            Phase::Fallback => self.wanted.registry,
            Phase::Check
            | Phase::LocalSearch
            | Phase::GlobalSearch
            | Phase::Room
            | Phase::Fetch(_)
            | Phase::Acquired(_)
            | Phase::Failed(_) => return,
        };
        if silent {
            post.mesh.doubt(post.now, source);
            self.blame(post, source, SILENT_POINTS);
        }
        self.retry(post, at, Fault::Unreachable, Some(source));
    }

    fn report(&self, at: AcquisitionAt, now: Instant) -> Acquired {
        let source = match (self.hops, self.from_registry) {
            (0, _) => Source::Local,
            (_, true) => Source::Registry,
            (1, false) => Source::Neighbour,
            (_, false) => Source::Global,
        };
        Acquired {
            at,
            tasklet: self.wanted.tasklet,
            source,
            hops: self.hops,
            attempts: self.attempts + self.misses,
            bytes: if source == Source::Local {
                0
            } else {
                self.wanted.size
            },
            took: now - self.started,
            result: match self.phase {
                Phase::Acquired(slot) => Ok(slot),
                Phase::Failed(fault) => Err(fault),
                Phase::Check
                | Phase::LocalSearch
                | Phase::GlobalSearch
                | Phase::Fallback
                | Phase::Metadata(_)
                | Phase::Room
                | Phase::Fetch(_) => Err(Fault::Stopped),
            },
        }
    }
}

/// Whether acquisitions ask sources that are known, and note how they behave.
fn knows(post: &Post<'_>) -> bool {
    post.config.acquisition.discovery == Discovery::Known
}

#[cfg(test)]
mod tests;
