//! Supply: the catalogues and modules that jobs need, and how they reach this node.
//!
//! The parent of [`subscriptions`], [`acquisitions`] and [`fetches`]. It carries values between
//! them: what acquisitions and subscriptions order is fetched, and what is fetched goes to the one
//! that ordered it.

mod acquisitions;
mod fetches;
mod subscriptions;

use alloc::vec::Vec;

use nimblenet_tasklet::{Digest, Fault, Module, NamespaceId, NodeId, TaskletRef};

use self::acquisitions::Acquisitions;
pub(super) use self::acquisitions::{Acquired, Wanted};
use self::fetches::Fetches;
pub(super) use self::subscriptions::Missing;
use self::subscriptions::Subscriptions;
use crate::cache::{Disk, SlotId};
use crate::config::Config;
use crate::earliest::Earliest;
use crate::event::{ClientId, Reason};
use crate::job::{Activation, Callee};
use crate::node::post::{FetchEnd, Owner, Post};
use crate::places::AcquisitionAt;
use crate::wire::{Data, Fetch, Found, Metadata};

/// The catalogues of a node, and its acquisitions and fetches.
pub(in crate::node) struct Supply {
    pub(in crate::node) subscriptions: Subscriptions,
    acquisitions: Acquisitions,
    fetches: Fetches,
}

/// What concerns jobs.
#[derive(Clone, Copy, Debug)]
pub(in crate::node) enum Supplied {
    /// An acquisition has ended.
    Module(Acquired),
    /// The fetch of the arriving job's record has ended.
    Record(FetchEnd),
    /// A catalogue has changed, or cannot be had.
    Catalogue,
}

impl Supply {
    /// The namespaces that the configuration names, without any catalogue yet. Each has one of
    /// `regions` for its entries.
    pub(in crate::node) fn new(config: &Config, regions: Vec<Disk>) -> Self {
        let limits = &config.limits;
        Self {
            subscriptions: Subscriptions::new(&config.namespaces, limits.catalogue, regions),
            acquisitions: Acquisitions::new(limits.acquisitions),
            // One for each acquisition, one for a delta, one for a record.
            fetches: Fetches::new(
                limits.acquisitions + 2,
                match config.acquisition.keep_passing {
                    true => limits.servings,
                    false => 0,
                },
            ),
        }
    }

    /// The tasklet with this number in a namespace, for a job whose epochs are `epochs`.
    ///
    /// # Errors
    /// [`Fault`] if the node does not have it.
    pub(in crate::node) fn callee(
        &self,
        namespace: NamespaceId,
        number: u16,
        epochs: &[u32],
    ) -> Result<Callee<'_>, Fault> {
        let held = self.subscriptions.of(namespace);
        let held = held.ok_or(Fault::UnknownNamespace)?;
        let epoch = epochs.get(held.index()).copied();
        let callee = epoch.and_then(|epoch| self.subscriptions.callee(held, number, epoch));
        callee.ok_or(Fault::UnknownTasklet)
    }

    /// The digest of a tasklet's module, if the catalogue has just this version.
    pub(in crate::node) fn published(&self, tasklet: TaskletRef) -> Option<Digest> {
        let catalogue = self.subscriptions.catalogue(tasklet.namespace)?;
        let entry = catalogue.entry(tasklet.number)?;
        (entry.sequence == tasklet.sequence).then_some(entry.digest)
    }

    /// How to acquire the module of an activation, for `client`.
    ///
    /// # Errors
    /// [`Fault::UnknownNamespace`] if the node has no registry to ask for it.
    pub(in crate::node) fn wanted(
        &self,
        activation: &Activation,
        client: Option<ClientId>,
    ) -> Result<Wanted, Fault> {
        let tasklet = activation.tasklet;
        let Module { digest, size, .. } = activation.module();
        let registry = self.subscriptions.registry(tasklet.namespace);
        Ok(Wanted {
            tasklet,
            digest,
            size,
            registry: registry.ok_or(Fault::UnknownNamespace)?,
            client,
        })
    }

    /// Starts to acquire a tasklet, or joins an acquisition of the same tasklet.
    ///
    /// # Errors
    /// [`Fault::TooLarge`] if the module can never fit the cache, [`Fault::Busy`] at the limit.
    pub(in crate::node) fn acquire(
        &mut self,
        post: &mut Post<'_>,
        wanted: Wanted,
    ) -> Result<AcquisitionAt, Fault> {
        if let Some(at) = self.acquisitions.dispensable(post, &wanted) {
            self.abandon(post, at);
        }
        self.acquisitions.acquire(post, wanted)
    }

    /// Starts to acquire the first tasklet of a preload list, from `item` on, that can be acquired.
    /// Returns its number in the list; none if there is no such tasklet.
    pub(in crate::node) fn preload(
        &mut self,
        post: &mut Post<'_>,
        (list, item): (&[(TaskletRef, Option<SlotId>)], usize),
        epochs: &[u32],
        client: Option<ClientId>,
    ) -> Option<(usize, AcquisitionAt)> {
        let items = list.iter().enumerate().skip(item);
        items.into_iter().find_map(|(item, (tasklet, _))| {
            let callee = self.subscriptions.callee_of(*tasklet, epochs);
            let wanted = callee
                .as_ref()
                .and_then(|callee| Wanted::of(callee, client))?;
            let acquisition = self.acquisitions.acquire(post, wanted).ok()?;
            Some((item, acquisition))
        })
    }

    /// Starts to acquire what a tasklet may call, except what is here; no job waits for it.
    pub(in crate::node) fn prefetch(
        &mut self,
        post: &mut Post<'_>,
        list: &[(TaskletRef, Option<SlotId>)],
        epochs: &[u32],
        client: Option<ClientId>,
    ) {
        for (tasklet, _) in list {
            let callee = self.subscriptions.callee_of(*tasklet, epochs);
            let wanted = callee
                .as_ref()
                .and_then(|callee| Wanted::of(callee, client));
            if let Some(wanted) = wanted {
                self.acquisitions.acquire_ahead(post, wanted);
            }
        }
    }

    /// Drops an acquisition that no job waits for any more.
    pub(in crate::node) fn abandon(&mut self, post: &mut Post<'_>, acquisition: AcquisitionAt) {
        self.fetches.abandon(post, Owner::Acquisition(acquisition));
        self.acquisitions.abandon(post, acquisition);
    }

    /// Gives the fetch of the arriving job's record up.
    pub(in crate::node) fn abandon_record(&mut self, post: &mut Post<'_>) {
        self.fetches.abandon(post, Owner::Arrival);
    }

    /// Takes a part of an object; false if nothing waits for it.
    pub(in crate::node) fn handle_data(
        &mut self,
        post: &mut Post<'_>,
        from: (NodeId, u8),
        data: &Data<'_>,
    ) -> bool {
        self.fetches.handle_data(post, from, data)
    }

    /// Notes a request for a module that this node passes on.
    pub(in crate::node) fn note_passing(&mut self, origin: NodeId, fetch: &Fetch) {
        self.fetches.note_passing(origin, fetch);
    }

    /// Takes a part of an object that is on its way to another node.
    pub(in crate::node) fn handle_passing(
        &mut self,
        post: &mut Post<'_>,
        to: NodeId,
        data: &Data<'_>,
    ) {
        let Self {
            subscriptions,
            fetches,
            ..
        } = self;
        let described = |tasklet| subscriptions.module_of(tasklet);
        fetches.handle_passing(post, to, data, described);
    }

    /// Takes the answer of a holder to a search.
    pub(in crate::node) fn handle_found(
        &mut self,
        post: &mut Post<'_>,
        origin: NodeId,
        hops: u8,
        found: Found,
    ) {
        self.acquisitions.handle_found(post, origin, hops, found);
    }

    /// Takes a holder's description of a module.
    pub(in crate::node) fn handle_metadata(&mut self, post: &mut Post<'_>, metadata: Metadata<'_>) {
        self.acquisitions.handle_metadata(post, metadata);
    }

    /// Takes the refusal of a node to serve an object.
    pub(in crate::node) fn handle_refusal(
        &mut self,
        post: &mut Post<'_>,
        from: NodeId,
        request: u16,
    ) {
        self.acquisitions.handle_refusal(post, request);
        self.fetches.handle_refusal(post, from, request);
    }

    /// Asks again where no answer came.
    pub(in crate::node) fn handle_timeout(&mut self, post: &mut Post<'_>) {
        self.acquisitions.handle_timeout(post);
        self.fetches.handle_timeout(post);
        self.subscriptions.handle_timeout(post);
    }

    pub(in crate::node) fn note_timeouts(&self, earliest: &mut Earliest) {
        earliest.note(self.acquisitions.poll_timeout(), Reason::Acquisition);
        self.fetches.note_timeouts(earliest);
        earliest.note(self.subscriptions.poll_timeout(), Reason::Catalogue);
    }

    /// What concerns jobs next, after everything that the parts say to one another first.
    ///
    /// The order is fixed. Acquired modules come first, so that jobs reserve them before a fetch
    /// takes their room. New fetches come after fetches that have ended; catalogues come last,
    /// since the jobs that wait for them may order more.
    pub(in crate::node) fn poll(&mut self, post: &mut Post<'_>) -> Option<Supplied> {
        loop {
            if let Some(acquired) = self.acquisitions.poll_ended(post.now) {
                self.fetches.abandon(post, Owner::Acquisition(acquired.at));
                return Some(Supplied::Module(acquired));
            } else if let Some(ended) = self.fetches.poll_ended() {
                let (source, end) = (ended.source, ended.end);
                match ended.owner {
                    Owner::Acquisition(at) => {
                        let from = (source, ended.hops);
                        self.acquisitions.handle_fetched(post, at, from, end);
                    }
                    Owner::Subscription(at) => {
                        self.subscriptions.handle_fetched(post, at, source, end);
                    }
                    Owner::Arrival => return Some(Supplied::Record(end)),
                }
            } else if let Some(order) = post.next_order() {
                self.fetches.begin(post, order);
            } else {
                let renewed = self.subscriptions.poll_renewed();
                return renewed.then_some(Supplied::Catalogue);
            }
        }
    }

    /// Checks what must hold between two inputs.
    pub(in crate::node) fn assert_invariants(&self) {
        self.subscriptions.assert_invariants();
        self.acquisitions.assert_invariants();
        self.fetches.assert_invariants();
    }
}

#[cfg(test)]
mod tests;
