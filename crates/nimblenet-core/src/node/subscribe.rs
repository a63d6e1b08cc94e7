//! Subscriptions: the catalogues of the node's namespaces, kept up to date.
//!
//! Neighbours say in their hellos which epochs they hold. A newer one is fetched as a delta from
//! whoever has it, checked by its signature, and applied. Without word from a neighbour the
//! namespace's registry is asked.

use nimblenet_tasklet::{Delta, Fault, NamespaceId, NodeId, SIGNED_BYTES, Work, signed_bytes};

use super::Node;
use crate::acquisition::patience;
use crate::catalogue::{BadDelta, Catalogue, CatalogueLimits};
use crate::config::NamespaceConfig;
use crate::mesh::Mesh;
use crate::time::Instant;
use crate::transfer::{Progress, Stall, Transfer};
use crate::wire::{Data, EpochNote, Message, Object};

/// Failed tries double the pause up to this many times the global search timeout.
const LONGEST_PAUSE: u32 = 32;

/// One namespace of the node.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) config: NamespaceConfig,
    catalogue: Catalogue,
    sync: Sync,
    /// When the registry may be asked again, and after how long a pause the time after that.
    retry: Option<(Instant, u32)>,
    /// When asking for something newer last came to nothing.
    checked: Option<Instant>,
    /// Tries that failed since the last success.
    failures: u8,
    /// Why the last try failed.
    fault: Fault,
    /// A delta that waits for the check of its signature.
    signed: [u8; SIGNED_BYTES],
    signature: [u8; 64],
}

/// What a subscription is busy with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sync {
    Idle,
    Fetching(Transfer),
    /// The signature is to be checked.
    Unverified,
    /// The signature is being checked.
    Verifying,
}

impl Subscription {
    pub(super) fn new(config: NamespaceConfig, limits: CatalogueLimits) -> Self {
        Self {
            config,
            catalogue: Catalogue::new(config.name, limits).preallocated(),
            sync: Sync::Idle,
            retry: None,
            checked: None,
            failures: 0,
            fault: Fault::NoCatalogue,
            signed: [0; SIGNED_BYTES],
            signature: [0; 64],
        }
    }

    pub(super) fn id(&self) -> NamespaceId {
        self.catalogue.id()
    }

    pub(super) fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.sync {
            Sync::Fetching(transfer) => Some(transfer.deadline()),
            Sync::Idle => self.retry.map(|(at, _)| at),
            Sync::Unverified | Sync::Verifying => None,
        }
    }
}

impl Node {
    /// Makes sure that the registry is asked for a newer catalogue of subscription `at`; false if
    /// it has said since `since` that there is none.
    pub(super) fn refresh(&mut self, now: Instant, at: usize, since: Instant) -> bool {
        let held = &mut self.subscriptions[at];
        if held.checked.is_some_and(|then| then >= since) {
            return false;
        }
        if held.sync == Sync::Idle && held.retry.is_none_or(|(due, _)| due <= now) {
            let registry = held.config.registry;
            self.subscribe_from(now, at, registry);
        }
        true
    }

    /// A neighbour holds an epoch of some catalogue.
    pub(super) fn hear_epoch(&mut self, now: Instant, from: NodeId, note: EpochNote) {
        let held = self
            .subscriptions
            .iter()
            .position(|held| held.id() == note.namespace);
        if let Some(at) = held
            && self.subscriptions[at].catalogue.epoch() < note.epoch
            && self.subscriptions[at].sync == Sync::Idle
        {
            self.subscribe_from(now, at, from);
        }
    }

    /// A part of a delta; false if no subscription waits for it.
    pub(super) fn handle_delta_part(&mut self, now: Instant, data: &Data<'_>) -> bool {
        let Some((at, mut transfer)) = self.fetching(data.request) else {
            return false;
        };
        if data.total as usize > self.config.limits.delta_bytes {
            self.sync_failed(now, at, Fault::TooLarge);
            return true;
        }
        match transfer.take(now, data) {
            Progress::Unexpected => return false,
            Progress::Changed => {
                self.sync_failed(now, at, Fault::NoCatalogue);
                return true;
            }
            progress @ (Progress::Part | Progress::Complete) => {
                let slot = match self.delta {
                    Some(slot) => Ok(slot),
                    None => self.cache.begin_object(data.total as usize, now),
                };
                let Ok(slot) = slot else {
                    self.sync_failed(now, at, Fault::CacheFull);
                    return true;
                };
                self.delta = Some(slot);
                self.cache.write(slot, data.offset as usize, data.bytes);
                self.subscriptions[at].sync = Sync::Fetching(transfer);
                if progress == Progress::Complete {
                    self.examine(now, at);
                } else if transfer.wants_more() {
                    self.ask_delta(now, at, transfer);
                }
            }
        }
        true
    }

    pub(super) fn handle_delta_refusal(&mut self, now: Instant, request: u16) {
        if let Some((at, transfer)) = self.fetching(request) {
            self.drop_delta();
            let held = &mut self.subscriptions[at];
            held.sync = Sync::Idle;
            // Nothing newer there. From the registry that is the last word.
            if transfer.source() == held.config.registry {
                held.checked = Some(now);
                held.failures = 0;
                held.retry = None;
                self.resolve_waiting(now);
            }
        }
    }

    pub(super) fn subscription_timeouts(&mut self, now: Instant) {
        for at in 0..self.subscriptions.len() {
            let held = &mut self.subscriptions[at];
            match held.sync {
                Sync::Idle => {
                    if held.retry.is_some_and(|(due, _)| due <= now) {
                        let registry = held.config.registry;
                        self.subscribe_from(now, at, registry);
                    }
                }
                Sync::Fetching(mut transfer) => match transfer.handle_timeout(now) {
                    Stall::Waiting => {}
                    Stall::Ask => self.ask_delta(now, at, transfer),
                    Stall::Lost => {
                        self.mesh.doubt(transfer.source());
                        self.sync_failed(now, at, Fault::NoCatalogue);
                    }
                },
                Sync::Unverified | Sync::Verifying => {}
            }
        }
    }

    /// The signature check that is due, if there is one.
    pub(super) fn next_verification(&mut self) -> Option<usize> {
        let at = self
            .subscriptions
            .iter()
            .position(|held| held.sync == Sync::Unverified)?;
        self.subscriptions[at].sync = Sync::Verifying;
        Some(at)
    }

    pub(super) fn verification(&self, at: usize) -> Work<'_> {
        let held = &self.subscriptions[at];
        Work::Verify {
            ticket: at as u32,
            key: &held.config.key,
            message: &held.signed,
            signature: &held.signature,
        }
    }

    pub(super) fn handle_verified(&mut self, now: Instant, ticket: u32, good: bool) {
        let at = ticket as usize;
        let waits = self
            .subscriptions
            .get(at)
            .is_some_and(|held| held.sync == Sync::Verifying);
        if !waits {
            self.counters
                .drop(crate::counters::DropReason::StaleOutcome);
            return;
        }
        if !good {
            self.counters.bad_signatures += 1;
            self.sync_failed(now, at, Fault::BadSignature);
            return;
        }
        self.subscriptions[at].sync = Sync::Idle;
        let needed = self.jobs.iter().any(|job| job.depth() > 0);
        let delta = self.delta.map(|slot| self.cache.code(slot));
        let delta = delta.and_then(|bytes| Delta::decode(bytes).ok());
        let catalogue = &mut self.subscriptions[at].catalogue;
        let applied = delta.is_some_and(|delta| catalogue.apply(&delta, needed).is_ok());
        self.drop_delta();
        if applied {
            self.renewed(now, at);
        } else {
            self.sync_failed(now, at, Fault::NoCatalogue);
        }
    }

    /// Applies a checked delta to subscription `at`.
    pub(super) fn renew(
        &mut self,
        now: Instant,
        at: usize,
        delta: &Delta<'_>,
    ) -> Result<(), BadDelta> {
        let needed = self.jobs.iter().any(|job| job.depth() > 0);
        self.subscriptions[at].catalogue.apply(delta, needed)?;
        self.renewed(now, at);
        Ok(())
    }

    /// Subscription `at` is at a newer epoch.
    fn renewed(&mut self, now: Instant, at: usize) {
        let held = &mut self.subscriptions[at];
        held.failures = 0;
        held.retry = None;
        if !self.news.contains(&at) {
            self.news.push_back(at);
        }
        self.mesh.speak_soon(now);
        self.resolve_waiting(now);
    }

    /// Gives the place of the delta back that was on its way.
    fn drop_delta(&mut self) {
        if let Some(slot) = self.delta.take() {
            self.cache.remove(slot);
        }
    }

    /// Forgets replaced entries that no job needs any more.
    pub(super) fn forget_replaced(&mut self) {
        for (at, held) in self.subscriptions.iter_mut().enumerate() {
            let jobs = self.jobs.iter().filter(|job| job.depth() > 0);
            let oldest = jobs.filter_map(|job| job.epochs.get(at)).min();
            held.catalogue
                .forget_before(oldest.copied().unwrap_or(u32::MAX));
        }
    }

    /// Why calls of subscription `at` cannot be resolved, once tries have been used up.
    pub(super) fn unresolvable(&self, at: usize) -> Option<Fault> {
        let held = &self.subscriptions[at];
        (held.failures >= self.config.attempts).then_some(held.fault)
    }

    fn fetching(&self, request: u16) -> Option<(usize, Transfer)> {
        self.subscriptions
            .iter()
            .enumerate()
            .find_map(|(at, held)| {
                let Sync::Fetching(transfer) = held.sync else {
                    return None;
                };
                (transfer.request() == request).then_some((at, transfer))
            })
    }

    /// Starts to fetch a delta from `source`, unless another delta is on its way.
    fn subscribe_from(&mut self, now: Instant, at: usize, source: NodeId) {
        let busy = self
            .subscriptions
            .iter()
            .any(|held| held.sync != Sync::Idle);
        if busy || source == self.config.id {
            let held = &mut self.subscriptions[at];
            let factor = held.retry.map_or(1, |(_, factor)| factor);
            held.retry = Some((now + self.config.local_search, factor));
            return;
        }
        let part = Mesh::part_len(self.mesh.mtu_between(now, source));
        let held = &self.subscriptions[at];
        let object = Object::Catalogue {
            namespace: held.id(),
            since: held.catalogue.epoch(),
        };
        self.drop_delta();
        self.ask_delta(now, at, Transfer::new(object, source, part, None));
    }

    fn ask_delta(&mut self, now: Instant, at: usize, mut transfer: Transfer) {
        let request = self.new_request();
        let hops = self.mesh.hops(now, transfer.source());
        let wait = hops.map_or(self.config.global_search, |hops| {
            patience(&self.config, hops)
        });
        let fetch = transfer.ask(now, request, wait);
        self.subscriptions[at].sync = Sync::Fetching(transfer);
        self.mesh.send(
            now,
            transfer.source(),
            Message::Fetch(fetch),
            &mut self.counters,
        );
    }

    /// A delta is complete: does it fit, and what must its signature cover?
    fn examine(&mut self, now: Instant, at: usize) {
        let held = &mut self.subscriptions[at];
        let bytes = self.delta.map(|slot| self.cache.code(slot));
        let delta = bytes.and_then(|bytes| Delta::decode(bytes).ok());
        let fits = delta.and_then(|delta| Some((delta, held.catalogue.root_after(&delta).ok()?)));
        match fits {
            Some((delta, root)) => {
                held.signed = signed_bytes(&root);
                held.signature = delta.signature;
                held.sync = Sync::Unverified;
            }
            None => self.sync_failed(now, at, Fault::NoCatalogue),
        }
    }

    fn sync_failed(&mut self, now: Instant, at: usize, fault: Fault) {
        self.drop_delta();
        let held = &mut self.subscriptions[at];
        held.sync = Sync::Idle;
        held.failures = held.failures.saturating_add(1);
        held.fault = fault;
        // Who holds a catalogue goes by it when nothing newer can be had.
        if held.catalogue.epoch() > 0 {
            held.checked = Some(now);
        }
        let factor = held
            .retry
            .map_or(1, |(_, factor)| (factor * 2).min(LONGEST_PAUSE));
        held.retry = Some((now + self.config.global_search * factor, factor));
        self.resolve_waiting(now);
    }
}
