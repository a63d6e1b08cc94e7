//! Holders: what the nodes near this one have in their caches (spec/behaviour.md, section 7).
//!
//! A node tells its neighbours which modules it holds, as bits over the catalogue, and passes on
//! what its neighbours tell. So each node knows the caches within two links, without asking. What it
//! knows may be old: a holder that does not hold the module any more refuses, and is forgotten.

use alloc::vec::Vec;
use core::time::Duration;

use nimblenet_tasklet::{NamespaceId, NodeId, TaskletRef};

use crate::cache::{Cache, Nearby};
use crate::full::Full;
use crate::random::Random;
use crate::repute::BAD_POINTS;
use crate::time::{Instant, micros};
use crate::wire::{Holder, Holdings, HoldingsWriter, PAGE_ENTRIES, Page};

/// A node says soon what it has not said yet, after this part of the usual delay.
const SOON: u32 = 16;

/// Each module that comes from a peer takes this part off the bytes that all have sent.
const FORGETS: u32 = 64;

/// A node that holds a module.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Source {
    pub(crate) id: NodeId,
    /// Links to it.
    pub(crate) hops: u8,
    /// The smallest frame size on the route to it.
    pub(crate) mtu: u16,
}

/// What a node knows of the caches around it, and what it has told of its own.
#[derive(Debug)]
pub(crate) struct Holders {
    /// Pages of others, ordered by namespace, number and holder.
    pages: Vec<HeldPage>,
    /// The most pages of others.
    limit: usize,
    /// Nodes whose pages are held, ordered by id.
    peers: Vec<Peer>,
    /// Pages of this node's own cache, ordered by namespace and number.
    own: Vec<OwnPage>,
    /// How long a change waits, so that others go with it; none if the node tells nothing.
    delay: Option<Duration>,
    /// When to tell; none if there is nothing to tell.
    due: Option<Instant>,
    /// The changes of the cache that were noticed.
    noticed: u64,
    /// The own page that is told next although it has not changed, in case it was lost.
    refreshed: usize,
    /// The native tasklets that this node has, which are told of as modules are.
    natives: Full<Vec<TaskletRef>>,
    random: Random,
}

#[derive(Clone, Copy, Debug)]
struct HeldPage {
    namespace: NamespaceId,
    number: u8,
    holder: NodeId,
    bits: u32,
    /// Whether it is to be passed on.
    fresh: bool,
}

#[derive(Clone, Copy, Debug)]
struct OwnPage {
    namespace: NamespaceId,
    number: u8,
    bits: u32,
    /// What neighbours were told; none if they were told nothing.
    told: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Peer {
    id: NodeId,
    hops: u8,
    mtu: u16,
    /// The neighbour that told of it; itself if it is one.
    via: NodeId,
    sequence: u32,
    heard: Instant,
    /// Bytes of modules that it has sent to this node lately.
    sent: u32,
}

/// Where a tasklet's bit is.
fn place(tasklet: TaskletRef) -> Option<(u8, u32)> {
    let number = u8::try_from(tasklet.number / PAGE_ENTRIES).ok()?;
    Some((number, 1 << (tasklet.number % PAGE_ENTRIES)))
}

impl Holders {
    /// How many pages of others are held.
    pub(crate) fn pages(&self) -> usize {
        self.pages.len()
    }

    /// Room for `limit` pages of `peers` others; a node that tells of its own cache does so `delay`
    /// after a change.
    pub(crate) fn new(limit: usize, peers: usize, delay: Option<Duration>, random: Random) -> Self {
        Self {
            pages: Vec::with_capacity(limit),
            limit,
            peers: Vec::with_capacity(peers),
            own: Vec::with_capacity(limit / 3),
            delay,
            due: None,
            noticed: 0,
            refreshed: 0,
            natives: Full::new(Vec::new),
            random,
        }
    }

    /// The nearest node that holds a module, except `avoid` and those with as many [points](crate::repute)
    /// as are bad; a point is as bad as a link. Of equally near ones it is the one that has sent the
    /// least to this node lately, so that the load is shared.
    pub(crate) fn nearest(
        &self,
        tasklet: TaskletRef,
        avoid: Option<NodeId>,
        points: impl Fn(NodeId) -> u8,
    ) -> Option<Source> {
        let holders = self.holders_of(tasklet).filter(|it| Some(it.id) != avoid);
        let holders = holders.map(|peer| (points(peer.id), peer));
        let holders = holders.filter(|(points, _)| *points < BAD_POINTS);
        let nearest = holders.min_by_key(|(points, peer)| (peer.hops + points, peer.sent, peer.id));
        let (_, nearest) = nearest?;
        Some(Source {
            id: nearest.id,
            hops: nearest.hops,
            mtu: nearest.mtu,
        })
    }

    /// Notes that a module of `bytes` bytes has come from a node.
    pub(crate) fn note_source(&mut self, source: NodeId, bytes: u32) {
        for peer in &mut self.peers {
            peer.sent -= peer.sent / FORGETS;
            if peer.id == source {
                peer.sent = peer.sent.saturating_add(bytes);
            }
        }
    }

    /// Whether a node near this one holds a module, as far as this node knows.
    pub(crate) fn holds(&self, holder: NodeId, tasklet: TaskletRef) -> bool {
        place(tasklet).is_some_and(|(number, bit)| {
            let page = self.find(tasklet.namespace, number, holder);
            page.is_ok_and(|at| self.pages[at].bits & bit != 0)
        })
    }

    /// What is known of the copies of a module besides the node's own; `registry_hops` is the
    /// distance of the registry, which always has it.
    pub(crate) fn nearby(&self, tasklet: TaskletRef, registry_hops: Option<u8>) -> Nearby {
        let (mut copies, mut hops) = (0_u8, registry_hops);
        for peer in self.holders_of(tasklet) {
            copies = copies.saturating_add(1);
            hops = Some(hops.map_or(peer.hops, |hops| hops.min(peer.hops)));
        }
        Nearby {
            copies: Some(copies),
            hops,
        }
    }

    /// Notes that a node near this one has a module, or will have it soon.
    pub(crate) fn note(&mut self, holder: NodeId, tasklet: TaskletRef) {
        let near = self.peer(holder).is_some();
        if let Some((number, bit)) = place(tasklet).filter(|_| near) {
            match self.find(tasklet.namespace, number, holder) {
                Ok(at) => self.pages[at].bits |= bit,
                Err(at) if self.pages.len() < self.limit => self.pages.insert(
                    at,
                    HeldPage {
                        namespace: tasklet.namespace,
                        number,
                        holder,
                        bits: bit,
                        fresh: false,
                    },
                ),
                Err(_) => {}
            }
        }
    }

    /// Notes that a node does not have a module any more.
    pub(crate) fn forget(&mut self, holder: NodeId, tasklet: TaskletRef) {
        if let Some((number, bit)) = place(tasklet)
            && let Ok(at) = self.find(tasklet.namespace, number, holder)
        {
            self.pages[at].bits &= !bit;
        }
    }

    /// Takes the neighbours that are left; forgets the others, and what they told. Tells everything
    /// again if there is a new one.
    pub(crate) fn handle_neighbours(&mut self, is_neighbour: impl Fn(NodeId) -> bool) {
        self.peers.retain(|peer| is_neighbour(peer.via));
        let Self { pages, peers, .. } = self;
        pages.retain(|page| peers.iter().any(|peer| peer.id == page.holder));
    }

    /// There is a new neighbour, which knows nothing yet.
    pub(crate) fn handle_newcomer(&mut self, now: Instant) {
        for page in &mut self.own {
            page.told = None;
        }
        for page in &mut self.pages {
            page.fresh = true;
        }
        let natives = self.natives.get().is_some_and(|own| !own.is_empty());
        if !self.own.is_empty() || !self.pages.is_empty() || natives {
            self.tell(now, SOON);
        }
    }

    /// Takes what a neighbour tells. `packet` is the number of its packet, `mtu` the frame size of
    /// the link to it.
    pub(crate) fn handle(
        &mut self,
        now: Instant,
        (own_id, from): (NodeId, NodeId),
        (packet, mtu): (u32, u16),
        holdings: &Holdings<'_>,
    ) {
        let neighbour = Peer {
            id: from,
            hops: 1,
            mtu,
            via: from,
            sequence: packet,
            heard: now,
            sent: 0,
        };
        let mut news = false;
        if self.know(neighbour) {
            for page in holdings.own() {
                news |= self.keep(holdings.namespace, page, from, true);
            }
        }
        for (holder, pages) in holdings.sections() {
            let second = Peer {
                id: holder.id,
                hops: 2,
                mtu: mtu.min(holder.mtu),
                via: from,
                sequence: holder.sequence,
                heard: now,
                sent: 0,
            };
            if holder.id != own_id && self.know(second) {
                for page in pages {
                    self.keep(holdings.namespace, page, holder.id, false);
                }
            }
        }
        if news {
            self.tell(now, 1);
        }
    }

    /// Notices changes of the node's own cache.
    pub(crate) fn notice(&mut self, now: Instant, cache: &Cache) {
        if self.delay.is_some() && self.noticed != cache.changes() {
            self.noticed = cache.changes();
            self.tell(now, 1);
        }
    }

    /// Takes the native tasklets that this node has.
    pub(crate) fn set_natives(&mut self, now: Instant, natives: Vec<TaskletRef>) {
        if let Some(own) = self.natives.get_mut().filter(|own| **own != natives) {
            *own = natives;
            self.tell(now, SOON);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// What to tell now, if it is time.
    pub(crate) fn poll<'s>(
        &mut self,
        now: Instant,
        cache: &Cache,
        space: &'s mut [u8],
    ) -> Option<Holdings<'s>> {
        if self.due.is_none_or(|due| due > now) {
            return None;
        }
        self.due = None;
        self.look(cache);
        let unsaid = |page: &OwnPage| page.told != Some(page.bits);
        let own = self.own.iter().find(|page| unsaid(page));
        let namespace = own.map(|page| page.namespace);
        let others = || self.pages.iter().filter(|page| self.passes_on(page));
        let namespace = namespace.or_else(|| others().next().map(|page| page.namespace))?;
        let mut writer = HoldingsWriter::new(space);
        let mut full = false;
        for page in self
            .own
            .iter_mut()
            .filter(|page| page.namespace == namespace)
        {
            if page.told != Some(page.bits) {
                let (number, bits) = (page.number, page.bits);
                if !writer.own(Page { number, bits }) {
                    full = true;
                    break;
                }
                page.told = Some(bits);
            }
        }
        let own = self.own.len();
        if let Some(page) = self.own.get(self.refreshed % own.max(1))
            && page.namespace == namespace
            && !full
        {
            let (number, bits) = (page.number, page.bits);
            full = !writer.own(Page { number, bits });
            self.refreshed = (self.refreshed + 1) % own;
        }
        for at in 0..self.peers.len() {
            let peer = self.peers[at];
            let mut open = false;
            for page in &mut self.pages {
                let passes = page.fresh && page.holder == peer.id && page.namespace == namespace;
                if !passes || full {
                    continue;
                }
                if peer.hops > 1 {
                    page.fresh = false;
                    continue;
                }
                let holder = Holder {
                    id: peer.id,
                    sequence: peer.sequence,
                    age_s: (now - peer.heard).as_secs().min(u64::from(u8::MAX)) as u8,
                    mtu: peer.mtu,
                };
                open = open || writer.section(holder);
                let (number, bits) = (page.number, page.bits);
                if open && writer.page(Page { number, bits }) {
                    page.fresh = false;
                } else {
                    full = true;
                }
            }
        }
        let left = full || self.own.iter().any(unsaid) || self.pages.iter().any(|it| it.fresh);
        if left {
            self.tell(now, SOON);
        }
        (!writer.is_empty()).then(|| writer.finish(namespace))
    }

    fn passes_on(&self, page: &HeldPage) -> bool {
        page.fresh && self.peer(page.holder).is_some_and(|peer| peer.hops == 1)
    }

    /// Compares the pages of the node's own cache with the cache.
    fn look(&mut self, cache: &Cache) {
        for page in &mut self.own {
            page.bits = 0;
        }
        let natives = self.natives.get().into_iter().flatten().copied();
        for tasklet in cache.modules().map(|module| module.tasklet).chain(natives) {
            let Some((number, bit)) = place(tasklet) else {
                continue;
            };
            let key = (tasklet.namespace, number);
            let at = self
                .own
                .binary_search_by_key(&key, |page| (page.namespace, page.number));
            match at {
                Ok(at) => self.own[at].bits |= bit,
                Err(at) if self.own.len() < self.own.capacity() => self.own.insert(
                    at,
                    OwnPage {
                        namespace: tasklet.namespace,
                        number,
                        bits: bit,
                        told: None,
                    },
                ),
                Err(_) => {}
            }
        }
    }

    /// Lets the node tell in the usual time, or a part of it.
    fn tell(&mut self, now: Instant, part: u32) {
        let Some(delay) = self.delay else {
            return;
        };
        let half = delay / part / 2;
        let within = Duration::from_micros(self.random.below(micros(half).max(1)));
        let due = now + half + within;
        self.due = Some(self.due.map_or(due, |held| held.min(due)));
    }

    /// Notes a peer; false if a nearer route to it is known, or there is no room.
    fn know(&mut self, peer: Peer) -> bool {
        match self.peers.binary_search_by_key(&peer.id, |held| held.id) {
            Ok(at) => {
                let held = &mut self.peers[at];
                if held.hops < peer.hops {
                    return false;
                }
                let sent = held.sent;
                *held = Peer { sent, ..peer };
                true
            }
            Err(at) => {
                let room = self.peers.len() < self.peers.capacity();
                if room {
                    self.peers.insert(at, peer);
                }
                room
            }
        }
    }

    /// Keeps a page; true if it says something new.
    fn keep(&mut self, namespace: NamespaceId, page: Page, holder: NodeId, pass_on: bool) -> bool {
        let Page { number, bits } = page;
        match self.find(namespace, number, holder) {
            Ok(at) => {
                let held = &mut self.pages[at];
                let news = held.bits != bits;
                held.bits = bits;
                held.fresh |= news && pass_on;
                news
            }
            Err(at) => {
                let room = self.pages.len() < self.limit && bits != 0;
                if room {
                    let page = HeldPage {
                        namespace,
                        number,
                        holder,
                        bits,
                        fresh: pass_on,
                    };
                    self.pages.insert(at, page);
                }
                room
            }
        }
    }

    fn holders_of(&self, tasklet: TaskletRef) -> impl Iterator<Item = &Peer> {
        let (number, bit) = place(tasklet).unwrap_or((0, 0));
        let key = (tasklet.namespace, number);
        let from = self
            .pages
            .partition_point(|page| (page.namespace, page.number) < key);
        let pages = self.pages[from..].iter();
        let pages = pages.take_while(move |page| (page.namespace, page.number) == key);
        let pages = pages.filter(move |page| page.bits & bit != 0);
        pages.filter_map(|page| self.peer(page.holder))
    }

    fn peer(&self, id: NodeId) -> Option<&Peer> {
        let at = self.peers.binary_search_by_key(&id, |peer| peer.id).ok()?;
        Some(&self.peers[at])
    }

    fn find(&self, namespace: NamespaceId, number: u8, holder: NodeId) -> Result<usize, usize> {
        let key = (namespace, number, holder);
        self.pages
            .binary_search_by_key(&key, |page| (page.namespace, page.number, page.holder))
    }
}

#[cfg(test)]
mod tests;
