//! Subscriptions: the catalogues of the node's namespaces, kept up to date.
//!
//! Neighbours say in their hellos which epochs they hold. The node fetches a newer one as a delta
//! from the neighbour that has it, has the signature checked, and applies the delta. If no
//! neighbour has a namespace, the node asks the namespace's registry.

mod chain;

use alloc::vec::Vec;
use core::time::Duration;

use nimblenet_tasklet::{
    Capabilities, Delta, Digest, Entry, Fault, Name, NamespaceId, NodeId, SIGNED_BYTES,
    TaskletName, TaskletRef, Work, signed_bytes,
};

use crate::cache::{Disk, SlotId};
use crate::catalogue::{BadDelta, Catalogue, CatalogueLimits};
use crate::config::NamespaceConfig;
use crate::counters::{DropReason, count};
use crate::job::Callee;
use crate::node::post::{FetchEnd, Order, Owner, Post, SOURCE_ASKS};
use crate::places::SubscriptionAt;
use crate::queue::Queue;
use crate::time::Instant;
use crate::wire::{EpochNote, Object};

/// Each failed try doubles the pause, up to this many times the timeout of a global search.
const LONGEST_PAUSE: u32 = 32;
/// By then a packet and all its copies have left the mesh.
const FLIGHT: Duration = Duration::from_secs(3);

/// The namespaces of a node.
#[derive(Debug)]
pub(in crate::node) struct Subscriptions {
    table: Vec<Subscription>,
    /// The delta whose signature is checked: for one subscription at a time.
    delta: Option<SlotId>,
    /// Subscriptions whose catalogue has changed and is not reported yet.
    news: Queue<SubscriptionAt>,
    /// Whether a catalogue has changed, or could not be had.
    renewed: bool,
}

/// One namespace of the node.
#[derive(Debug)]
struct Subscription {
    config: NamespaceConfig,
    catalogue: Catalogue,
    sync: Sync,
    /// The newest epoch that the node has held, also before it started; it takes none that is older.
    floor: u32,
    /// When the catalogue that is held came; none if it was there from the start.
    taken: Option<Instant>,
    /// Whom the node asked last.
    source: NodeId,
    /// When the node may ask the registry again, and the factor of the pause after that.
    retry: Option<(Instant, u32)>,
    /// When the node last asked for something newer and there was nothing.
    checked: Option<Instant>,
    /// How many tries have failed since the last success.
    failures: u8,
    /// Why the last try failed.
    fault: Fault,
    /// The bytes that the signature of the waiting delta must cover.
    signed: [u8; SIGNED_BYTES],
    signature: [u8; 64],
}

/// What a subscription is busy with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sync {
    Idle,
    Fetching,
    /// The delta is here, and its signature is not checked yet.
    Unverified,
    /// An executor checks the signature.
    Verifying,
}

/// Why a tasklet was not found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::node) enum Missing {
    /// The lookup needs a newer catalogue of this subscription first:
    /// [refresh](Subscriptions::refresh) it.
    Catalogue(SubscriptionAt),
    /// The tasklet does not exist, or its catalogue cannot be had.
    ForGood(Fault),
}

impl Subscriptions {
    /// Subscriptions to these namespaces, without any catalogue yet. Each has one of `regions` for
    /// its entries.
    pub(in crate::node) fn new(
        namespaces: &[NamespaceConfig],
        limits: CatalogueLimits,
        regions: impl IntoIterator<Item = Disk>,
    ) -> Self {
        let table = namespaces.iter().zip(regions);
        let table = table.map(|(namespace, region)| Subscription {
            config: *namespace,
            catalogue: Catalogue::on(region, namespace.name, limits),
            sync: Sync::Idle,
            floor: 0,
            taken: None,
            source: namespace.registry,
            retry: None,
            checked: None,
            failures: 0,
            fault: Fault::NoCatalogue,
            signed: [0; SIGNED_BYTES],
            signature: [0; 64],
        });
        Self {
            table: table.collect(),
            delta: None,
            news: Queue::with_capacity(namespaces.len()),
            renewed: false,
        }
    }

    /// The subscription to the namespace with this name.
    pub(in crate::node) fn named(&self, name: &Name) -> Option<SubscriptionAt> {
        let at = self.table.iter().position(|held| held.config.name == *name);
        at.map(SubscriptionAt::new)
    }

    /// The subscription to the namespace with this id.
    pub(in crate::node) fn of(&self, id: NamespaceId) -> Option<SubscriptionAt> {
        let at = self.table.iter().position(|held| held.catalogue.id() == id);
        at.map(SubscriptionAt::new)
    }

    /// The catalogue of the namespace with this id.
    pub(in crate::node) fn catalogue(&self, id: NamespaceId) -> Option<&Catalogue> {
        self.of(id).map(|at| &self.at(at).catalogue)
    }

    /// The catalogue of the namespace with this name.
    pub(in crate::node) fn catalogue_named(&self, name: &Name) -> Option<&Catalogue> {
        self.named(name).map(|at| &self.at(at).catalogue)
    }

    /// All catalogues, in the order of the node's namespaces.
    pub(in crate::node) fn catalogues(&self) -> impl ExactSizeIterator<Item = &Catalogue> + Clone {
        self.table.iter().map(|held| &held.catalogue)
    }

    /// The epoch that the node holds of each namespace, 0 for none, with the namespace's registry.
    pub(in crate::node) fn held(&self) -> impl Iterator<Item = (NodeId, EpochNote)> + Clone {
        let notes = self.table.iter();
        notes.map(|held| (held.config.registry, EpochNote::of(&held.catalogue)))
    }

    /// What the node holds of a namespace; none if it holds nothing.
    pub(in crate::node) fn note(&self, id: NamespaceId) -> Option<EpochNote> {
        let note = EpochNote::of(self.catalogue(id)?);
        (note.epoch > 0).then_some(note)
    }

    /// The epoch that the node holds of each namespace that has this registry, or below which it takes
    /// none. A namespace whose catalogue has changed a moment ago is left out: what others said before
    /// is still on its way.
    pub(in crate::node) fn settled(
        &self,
        now: Instant,
        registry: NodeId,
    ) -> impl Iterator<Item = EpochNote> {
        let settled = move |held: &&Subscription| {
            let taken = held.taken.is_none_or(|taken| taken + FLIGHT <= now);
            taken && held.config.registry == registry
        };
        self.table.iter().filter(settled).map(Subscription::least)
    }

    /// The registry of the node's first namespace.
    pub(in crate::node) fn first_registry(&self) -> Option<NodeId> {
        self.table.first().map(|held| held.config.registry)
    }

    /// The registry of a namespace.
    pub(in crate::node) fn registry(&self, id: NamespaceId) -> Option<NodeId> {
        self.of(id).map(|at| self.at(at).config.registry)
    }

    /// The capabilities that tasklets of a namespace may have on this node.
    pub(in crate::node) fn granted(&self, id: NamespaceId) -> Capabilities {
        let held = self.of(id).map(|at| self.at(at).config.capabilities);
        held.unwrap_or(Capabilities::NONE)
    }

    /// Whether calls of a namespace's tasklets run on the node that takes them.
    pub(in crate::node) fn stays(&self, id: NamespaceId) -> bool {
        self.of(id).is_some_and(|at| self.at(at).config.stays)
    }

    /// Looks a tasklet up for a call that was accepted at `accepted`, and checks that the
    /// catalogues of its whole chain are here.
    ///
    /// # Errors
    /// [`Missing`] says what is missing.
    pub(in crate::node) fn look_up(
        &self,
        post: &Post<'_>,
        at: SubscriptionAt,
        name: &Name,
        accepted: Instant,
    ) -> Result<Callee<'_>, Missing> {
        let held = self.at(at);
        let Some(entry) = held.catalogue.find(name) else {
            return Err(if let Some(fault) = held.unresolvable(post) {
                Missing::ForGood(fault)
            } else if held.is_dated(accepted) {
                // The tasklet may have been published a moment ago.
                Missing::Catalogue(at)
            } else {
                Missing::ForGood(Fault::UnknownTasklet)
            });
        };
        // Callees may be in namespaces whose catalogues are still on their way.
        let lacking = self.lacking((at, entry.number), &[]);
        let wanted = |at: &SubscriptionAt| {
            let held = self.at(*at);
            held.unresolvable(post).is_none() && held.is_dated(accepted)
        };
        match lacking.filter(wanted) {
            Some(lacking) => Err(Missing::Catalogue(lacking)),
            None => Ok(held.callee(entry)),
        }
    }

    /// Has the node ask the registry for a newer catalogue.
    pub(in crate::node) fn refresh(&mut self, post: &mut Post<'_>, at: SubscriptionAt) {
        let held = self.at(at);
        if held.sync == Sync::Idle && held.retry.is_none_or(|(due, _)| due <= post.now) {
            let registry = held.config.registry;
            self.fetch_from(post, at, registry);
        }
    }

    /// The entry with this number as it was at `epoch`.
    pub(in crate::node) fn callee(
        &self,
        at: SubscriptionAt,
        number: u16,
        epoch: u32,
    ) -> Option<Callee<'_>> {
        let held = self.at(at);
        let entry = held.catalogue.entry_at(number, epoch)?;
        Some(held.callee(entry))
    }

    /// The entry of `tasklet` for a job whose epochs are `epochs`.
    pub(in crate::node) fn callee_of(
        &self,
        tasklet: TaskletRef,
        epochs: &[u32],
    ) -> Option<Callee<'_>> {
        let at = self.of(tasklet.namespace)?;
        let newest = self.at(at).catalogue.epoch();
        let epoch = epochs.get(at.index()).copied().unwrap_or(newest);
        self.callee(at, tasklet.number, epoch)
    }

    /// Digest and length of the module of `tasklet`, if that is in a catalogue.
    pub(in crate::node) fn module_of(&self, tasklet: TaskletRef) -> Option<(Digest, u32)> {
        let at = self.of(tasklet.namespace)?;
        let epoch = self.at(at).catalogue.epoch();
        let callee = self.callee(at, tasklet.number, epoch)?;
        (callee.tasklet() == tasklet).then_some((callee.entry.digest, callee.entry.size))
    }

    /// Whether a tasklet has only capabilities that its namespace may have on this node.
    pub(in crate::node) fn may_run(&self, callee: &Callee<'_>) -> bool {
        let granted = self.granted(callee.namespace);
        granted.covers(callee.entry.terms.capabilities)
    }

    /// Takes a neighbour's note that it holds an epoch of a catalogue.
    pub(in crate::node) fn handle_epoch(
        &mut self,
        post: &mut Post<'_>,
        from: NodeId,
        note: EpochNote,
    ) {
        if let Some(at) = self.of(note.namespace)
            && self.at(at).takes(note.epoch)
            && self.at(at).sync == Sync::Idle
        {
            self.fetch_from(post, at, from);
        }
    }

    /// Takes the end of a delta's fetch.
    pub(in crate::node) fn handle_fetched(
        &mut self,
        post: &mut Post<'_>,
        at: SubscriptionAt,
        source: NodeId,
        end: FetchEnd,
    ) {
        match end {
            FetchEnd::Complete(slot) => {
                self.delta = slot;
                self.examine(post, at);
            }
            FetchEnd::Refused => {
                let held = self.at_mut(at);
                held.sync = Sync::Idle;
                // The source has nothing newer. If the source is the registry, nobody has.
                if source == held.config.registry {
                    held.checked = Some(post.now);
                    held.failures = 0;
                    held.retry = None;
                    self.renewed = true;
                }
            }
            FetchEnd::TooLong => self.failed(post, at, Fault::TooLarge),
            FetchEnd::NoRoom => self.failed(post, at, Fault::CacheFull),
            FetchEnd::Silent => self.failed(post, at, Fault::NoCatalogue),
            // The source got something newer meanwhile: there is more to have, and it is soon
            // asked for.
            FetchEnd::Changed => self.overtaken(post, at),
        }
    }

    pub(in crate::node) fn handle_timeout(&mut self, post: &mut Post<'_>) {
        for at in (0..self.table.len()).map(SubscriptionAt::new) {
            let held = self.at(at);
            if held.poll_timeout().is_some_and(|due| due <= post.now) {
                let registry = held.config.registry;
                self.fetch_from(post, at, registry);
            }
        }
    }

    pub(in crate::node) fn poll_timeout(&self) -> Option<Instant> {
        let held = self.table.iter();
        held.filter_map(Subscription::poll_timeout).min()
    }

    /// Whether a signature check waits for an executor.
    pub(in crate::node) fn has_verification(&self) -> bool {
        self.table.iter().any(|held| held.sync == Sync::Unverified)
    }

    /// The signature check that is due, if there is one.
    pub(in crate::node) fn poll_verification(&mut self) -> Option<SubscriptionAt> {
        let due = |held: &Subscription| held.sync == Sync::Unverified;
        let at = SubscriptionAt::new(self.table.iter().position(due)?);
        self.at_mut(at).sync = Sync::Verifying;
        Some(at)
    }

    /// The signature check of a subscription, as work.
    pub(in crate::node) fn verification(&self, at: SubscriptionAt) -> Work<'_> {
        let held = self.at(at);
        Work::Verify {
            ticket: at.index() as u32,
            key: held.config.key,
            message: &held.signed,
            signature: held.signature,
        }
    }

    /// Takes the result of a signature check. Replaced entries are kept if a job may need them.
    pub(in crate::node) fn handle_verified(
        &mut self,
        post: &mut Post<'_>,
        ticket: u32,
        good: bool,
        keep_replaced: bool,
    ) {
        let waits = |held: &Subscription| held.sync == Sync::Verifying;
        if !self.table.get(ticket as usize).is_some_and(waits) {
            post.counters.drop(DropReason::StaleOutcome);
            return;
        }
        let at = SubscriptionAt::new(ticket as usize);
        if !good {
            count(&mut post.counters.bad_signatures);
            self.failed(post, at, Fault::BadSignature);
            return;
        }
        let delta = self.delta.map(|slot| post.cache.code(slot));
        let delta = delta.and_then(|bytes| Delta::decode(bytes).ok());
        let root = signed_root(&self.table[at.index()].signed);
        let catalogue = &mut self.table[at.index()].catalogue;
        let applied = delta.map(|delta| catalogue.apply(&delta, &root, keep_replaced));
        let applied = applied.is_some_and(|applied| applied.is_ok());
        self.at_mut(at).sync = Sync::Idle;
        self.drop_delta(post);
        if applied {
            self.at_mut(at).taken = Some(post.now);
            self.note_newer(post, at);
        } else {
            self.failed(post, at, Fault::NoCatalogue);
        }
    }

    /// Applies a delta that the driver has checked.
    ///
    /// # Errors
    /// [`BadDelta`] if it does not fit, or the namespace is not one of the node's.
    pub(in crate::node) fn install(
        &mut self,
        post: &mut Post<'_>,
        delta: &Delta<'_>,
        keep_replaced: bool,
    ) -> Result<(), BadDelta> {
        let at = self.of(NamespaceId::of(&delta.namespace));
        let at = at.ok_or(BadDelta::OtherNamespace)?;
        let held = self.at_mut(at);
        if delta.to < held.floor {
            return Err(BadDelta::NotNewer);
        }
        let root = held.catalogue.root_after(delta)?;
        held.catalogue.apply(delta, &root, keep_replaced)?;
        self.note_newer(post, at);
        Ok(())
    }

    /// Has the node take no catalogue of a namespace that is older than `epoch`.
    pub(in crate::node) fn set_floor(&mut self, id: NamespaceId, epoch: u32) {
        if let Some(at) = self.of(id) {
            self.at_mut(at).floor = epoch;
        }
    }

    /// A namespace whose catalogue is newer than its floor, and its epoch, which is the floor now.
    pub(in crate::node) fn poll_floor(&mut self) -> Option<(NamespaceId, u32)> {
        let mut held = self.table.iter_mut();
        let risen = held.find(|held| held.floor < held.catalogue.epoch())?;
        risen.floor = risen.catalogue.epoch();
        Some((risen.catalogue.id(), risen.floor))
    }

    /// Whether a catalogue has changed, or could not be had, since this was last asked. If so, it
    /// is time to look again at the jobs that wait for one.
    pub(in crate::node) fn poll_renewed(&mut self) -> bool {
        core::mem::take(&mut self.renewed)
    }

    /// The catalogue that changed longest ago and is not reported yet.
    pub(in crate::node) fn poll_news(&mut self) -> Option<&Catalogue> {
        let at = self.news.pop_front()?;
        Some(&self.at(at).catalogue)
    }

    /// Forgets replaced entries that no job needs any more. `oldest` is the oldest epoch of the
    /// namespace that a job uses.
    pub(in crate::node) fn forget_replaced(
        &mut self,
        oldest: impl Fn(SubscriptionAt) -> Option<u32>,
    ) {
        for (at, held) in self.table.iter_mut().enumerate() {
            let oldest = oldest(SubscriptionAt::new(at));
            held.catalogue.forget_before(oldest.unwrap_or(u32::MAX));
        }
    }

    /// Checks what must hold between two inputs.
    pub(in crate::node) fn assert_invariants(&self) {
        let busy = self.table.iter().filter(|held| held.sync != Sync::Idle);
        debug_assert!(busy.clone().count() <= 1, "one delta at a time");
        let checked = busy.filter(|held| held.sync != Sync::Fetching).count();
        debug_assert_eq!(
            self.delta.is_some(),
            checked == 1,
            "a delta is held to be checked"
        );
        debug_assert!(!self.renewed, "news are carried on");
    }

    fn at(&self, at: SubscriptionAt) -> &Subscription {
        &self.table[at.index()]
    }

    fn at_mut(&mut self, at: SubscriptionAt) -> &mut Subscription {
        &mut self.table[at.index()]
    }

    /// Orders a delta from `source`, unless another delta is on its way.
    fn fetch_from(&mut self, post: &mut Post<'_>, at: SubscriptionAt, source: NodeId) {
        let busy = self.table.iter().any(|held| held.sync != Sync::Idle);
        let held = self.at_mut(at);
        if busy || source == post.config.id {
            let factor = held.retry.map_or(1, |(_, factor)| factor);
            held.retry = Some((post.now + post.config.pace.local_search, factor));
            return;
        }
        held.sync = Sync::Fetching;
        held.source = source;
        let mtu = post.mesh.mtu_between(post.now, source);
        post.order(Order {
            owner: Owner::Subscription(at),
            object: Object::Catalogue {
                namespace: held.catalogue.id(),
                since: held.catalogue.epoch(),
            },
            source,
            hops: None,
            part: post.mesh.part_from(post.now, source, mtu),
            expected: None,
            asks: SOURCE_ASKS,
            direct: false,
        });
    }

    /// Checks whether a complete delta fits, and computes the bytes that its signature must cover.
    fn examine(&mut self, post: &mut Post<'_>, at: SubscriptionAt) {
        let held = &mut self.table[at.index()];
        let bytes = self.delta.map(|slot| post.cache.code(slot));
        let delta = bytes.and_then(|bytes| Delta::decode(bytes).ok());
        let delta = delta.filter(|delta| held.takes(delta.to));
        let fits = delta.and_then(|delta| Some((delta, held.catalogue.root_after(&delta).ok()?)));
        match fits {
            Some((delta, root)) => {
                held.signed = signed_bytes(&root);
                held.signature = delta.signature;
                held.sync = Sync::Unverified;
            }
            None => self.failed(post, at, Fault::NoCatalogue),
        }
    }

    /// Notes that a catalogue is at a newer epoch.
    fn note_newer(&mut self, post: &mut Post<'_>, at: SubscriptionAt) {
        let held = self.at_mut(at);
        held.failures = 0;
        held.retry = None;
        if !self.news.contains(&at) {
            self.news.push_back(at);
        }
        post.mesh.speak_soon(post.now);
        self.renewed = true;
    }

    fn failed(&mut self, post: &mut Post<'_>, at: SubscriptionAt, fault: Fault) {
        self.drop_delta(post);
        let held = self.at_mut(at);
        held.sync = Sync::Idle;
        held.failures = held.failures.saturating_add(1);
        held.fault = fault;
        // A node that holds a catalogue uses it when nothing newer can be had, which a neighbour's
        // failure does not say.
        if held.catalogue.epoch() > 0 && held.source == held.config.registry {
            held.checked = Some(post.now);
        }
        held.pause(post.now, post.config.pace.global_search);
        self.renewed = true;
    }

    /// The source's catalogue changed while the delta was fetched.
    fn overtaken(&mut self, post: &mut Post<'_>, at: SubscriptionAt) {
        let held = self.at_mut(at);
        held.sync = Sync::Idle;
        held.pause(post.now, post.config.pace.local_search);
    }

    /// Frees the place of the delta.
    fn drop_delta(&mut self, post: &mut Post<'_>) {
        if let Some(slot) = self.delta.take() {
            post.cache.remove(slot);
        }
    }
}

/// The root in the bytes that a signature covers.
fn signed_root(signed: &[u8; SIGNED_BYTES]) -> Digest {
    let root = signed.last_chunk();
    Digest(*root.expect("the root is the end of what is signed"))
}

impl Subscription {
    /// Whether a catalogue of this epoch may replace the one that is held.
    fn takes(&self, epoch: u32) -> bool {
        self.catalogue.epoch() < epoch && self.floor <= epoch
    }

    /// What is held; or, if that is older, the epoch that the node has held before.
    fn least(&self) -> EpochNote {
        let mut note = EpochNote::of(&self.catalogue);
        if note.epoch < self.floor {
            (note.epoch, note.root) = (self.floor, 0);
        }
        note
    }

    /// Why calls into the namespace cannot be resolved, if its tries are used up.
    fn unresolvable(&self, post: &Post<'_>) -> Option<Fault> {
        (self.failures >= post.config.acquisition.attempts).then_some(self.fault)
    }

    /// Whether there may be a newer catalogue: since `since` nobody has said that there is none.
    fn is_dated(&self, since: Instant) -> bool {
        self.checked.is_none_or(|then| then < since)
    }

    /// Asks the registry again after this pause, which doubles each time up to a bound.
    fn pause(&mut self, now: Instant, pause: Duration) {
        let factor = self
            .retry
            .map_or(1, |(_, factor)| (factor * 2).min(LONGEST_PAUSE));
        self.retry = Some((now + pause * factor, factor));
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self.sync {
            Sync::Idle => self.retry.map(|(at, _)| at),
            Sync::Fetching | Sync::Unverified | Sync::Verifying => None,
        }
    }

    fn callee<'c>(&self, entry: Entry<'c>) -> Callee<'c> {
        Callee {
            name: TaskletName {
                namespace: self.config.name,
                name: entry.name,
            },
            namespace: self.catalogue.id(),
            registry: self.config.registry,
            entry,
        }
    }
}

#[cfg(test)]
mod tests;
