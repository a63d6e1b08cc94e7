//! The node: the parent that carries values between its parts.
//!
//! Each part owns its fields and sees neither the node nor another part. It has the shape of the
//! whole: it is told what happened (`handle_*`), says what follows (`poll_*`), and says when it
//! must be called again (`poll_timeout`). All send through one [`Post`](post::Post). The parts are
//!
//! - [`calls`]: jobs wherever they run; the parent of three more:
//!   - `runs`: jobs on this node, from the call to the result; the parent of another six:
//!     - `jobs`: calls, and the activations that each runs;
//!     - `bench`: what executors have to do next;
//!     - `shelf`: what waits for room in an executor;
//!     - `subscriptions`: the catalogues of the node's namespaces;
//!     - `acquisitions`: Algorithm 1;
//!     - `fetches`: objects on their way to this node;
//!   - `exchanges`: calls between nodes;
//!   - `placing`: the work that waits around this node, and where calls run;
//!   - `moves`: running jobs that go to another node or come from one;
//! - [`servings`]: objects on their way from this node;
//! - [`reports`]: crashes, reported to the registry;
//! - [`announcements`]: the epochs that nodes hold, announced to registries;
//! - [`contradictions`]: nodes that hold what cannot be;
//! - [`flows`]: items on their way from sources to sinks, and the operators on them.
//!
//! No part gives anything to another part. `Calls::carry` takes what one part says, and tells the
//! next part what follows from it, until nothing is left.

mod announcements;
mod calls;
mod contradictions;
mod flows;
mod occupancy;
mod post;
mod reports;
mod servings;
#[cfg(test)]
mod stage;

use alloc::vec::Vec;
use core::time::Duration;

use nimblenet_tasklet::{
    ActivationId, Delta, Digest, Fault, NamespaceId, NodeId, TaskletName, TaskletRef, Work,
};

pub use self::calls::{Abilities, RESULTS_KEPT};
pub use self::occupancy::Occupancy;

use self::announcements::Announcements;
use self::calls::{Calls, Moved};
use self::contradictions::{Contradiction, Contradictions};
use self::flows::{Applicable, Arrived, Flows, Newest, Order, Tasklets};
use self::post::{Ground, Post};
use self::reports::Reports;
use self::servings::{Holding, Servings};
use crate::archive::Archive;
use crate::cache::{Buffer, Cache, Disk};
use crate::catalogue::{BadDelta, Catalogue};
use crate::config::FULL;
use crate::config::{Config, ConfigError, ExecutorId, LinkId};
use crate::counters::{Counters, count};
use crate::earliest::Earliest;
use crate::event::{Awaited, CallKey, CallRequest, Event, Input, Priority, Progress, Reason};
use crate::flow::{FlowError, FlowId, FlowPlan, FlowStatus, OperatorStatus, SinkStatus};
use crate::full::Full;
use crate::job::CallId;
use crate::mesh::{Delivery, Mesh, Reach, Transmit};
use crate::time::Instant;
use crate::wire::{EpochNote, Fetch, Frame, HOLDINGS_BYTES, Holdings, Message, Object, Report};

/// The objects for which a node's disk has room besides its modules: a delta that comes and a delta
/// that goes.
const OBJECTS: usize = 2;

/// A NimbleNet node without input, output, clock or thread.
///
/// # The contract
/// There are four kinds of method:
///
/// - getters change nothing;
/// - [`handle`](Self::handle) tells what happened; it cannot fail;
/// - commands ([`call`](Self::call), [`call_here`](Self::call_here), [`begin_flow`](Self::begin_flow),
///   [`take_flow`](Self::take_flow), [`end_flow`](Self::end_flow), [`give`](Self::give),
///   [`call_at`](Self::call_at), [`move_call`](Self::move_call), [`stop`](Self::stop),
///   [`publish`](Self::publish), [`install`](Self::install), [`drain`](Self::drain)) ask for something
///   and may be refused;
/// - `poll_*` say what to do: [`poll_floor`](Self::poll_floor) gives what must be kept before anything
///   else, [`poll_transmit`](Self::poll_transmit) frames for links,
///   [`poll_work`](Self::poll_work) work for the executor, [`poll_event`](Self::poll_event) news
///   for the user, [`poll_timeout`](Self::poll_timeout) when to call again.
///
/// After every `handle` or command the driver drains the `poll_*` methods in that order; the
/// function [`pump`](crate::pump) does exactly this, and every driver uses it. Time only moves
/// forward. [`new`](Self::new) allocates all memory; only the archive of a registry may grow, and
/// [`begin_flow`](Self::begin_flow) allocates a list of the items that its source keeps.
pub struct Node {
    ground: Ground,
    calls: Calls,
    servings: Servings,
    reports: Reports,
    announcements: Announcements,
    contradictions: Full<Contradictions>,
    flows: Full<Flows>,
}

impl Node {
    /// A node with the configuration `config`.
    ///
    /// # Errors
    /// [`ConfigError`] if the parts of the configuration do not fit each other.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        config.check()?;
        let limits = &config.limits;
        let objects = OBJECTS * limits.delta_bytes + limits.shelf_bytes;
        let modules = Disk::allocate(limits.cache_bytes + objects);
        let catalogue = |_: &_| Disk::allocate(limits.catalogue.bytes);
        let catalogues = config.namespaces.iter().map(catalogue).collect();
        let image = Disk::allocate(limits.image_bytes);
        Ok(Self::on(config, modules, catalogues, image))
    }

    /// A node that keeps everything on `disk`. The last [`image_bytes`](crate::Limits::image_bytes)
    /// of the disk are the image buffer, for a job on its way; the entries of each namespace's
    /// [catalogue](crate::Limits::catalogue) are before that. Modules and objects on their way
    /// share the rest; modules take at most [`cache_bytes`](crate::Limits::cache_bytes) of it. So
    /// if the disk is no longer than all these together, objects have only the room that modules
    /// leave.
    ///
    /// # Panics
    /// If [`Config::check`] refuses the configuration: a driver with a disk of its own checks it
    /// beforehand. An error would have to drop the configuration, whose code a board needs for
    /// nothing else.
    pub fn with_disk(config: Config, mut disk: Disk) -> Self {
        config.check().expect("the configuration was checked");
        let limits = &config.limits;
        let mut last = |bytes: usize| disk.split_off(disk.len().saturating_sub(bytes));
        let image = last(limits.image_bytes);
        let catalogue = |_: &_| last(limits.catalogue.bytes);
        let catalogues = config.namespaces.iter().map(catalogue).collect();
        Self::on(config, disk, catalogues, image)
    }

    /// A node with a region for modules and objects on their way, one for each namespace's entries,
    /// and one for a job on its way.
    // Not inlined, so that the node is built in place instead of field by field.
    #[inline(never)]
    fn on(mut config: Config, modules: Disk, catalogues: Vec<Disk>, image: Disk) -> Self {
        let limits = config.limits;
        let policy = config.eviction.make;
        let mesh = Mesh::new(&config);
        let cache = Cache::new(modules, limits.cache_bytes, limits.cache_entries, policy);
        let cache = cache.with_clients(limits.clients);
        let archive = config.role.take_archive();
        Self {
            calls: Calls::new(&config, catalogues),
            reports: Reports::new(archive.is_some()),
            announcements: Announcements::new(archive.is_some()),
            contradictions: Full::new(|| {
                Contradictions::new(archive.is_some(), config.namespaces.len())
            }),
            servings: Servings::new(archive, limits.servings),
            flows: Full::new(|| Flows::new(&limits)),
            ground: Ground::new(config, mesh, cache, Buffer::new(image)),
        }
    }

    /// The node's id.
    pub fn id(&self) -> NodeId {
        self.config().id
    }

    /// Its configuration; the archive of a registry is empty here.
    pub fn config(&self) -> &Config {
        &self.ground.config
    }

    /// The number of its next packet, and the best number to go on with after a restart: see
    /// [`Config::first_sequence`].
    pub fn next_sequence(&self) -> u32 {
        self.ground.mesh.next_sequence()
    }

    /// Its counters.
    pub fn counters(&self) -> &Counters {
        &self.ground.counters
    }

    /// Its cache.
    pub fn cache(&self) -> &Cache {
        &self.ground.cache
    }

    /// The archive that it serves as a registry.
    pub fn archive(&self) -> Option<&Archive> {
        self.servings.archive()
    }

    /// The catalogue of a namespace that the node holds.
    pub fn catalogue(&self, namespace: NamespaceId) -> Option<&Catalogue> {
        let archived = self
            .archive()
            .and_then(|archive| archive.catalogue(namespace));
        archived.or_else(|| self.calls.runs.supply.subscriptions.catalogue(namespace))
    }

    /// Ids of the nodes in direct reach.
    pub fn neighbours(&self) -> impl Iterator<Item = NodeId> {
        self.ground.mesh.neighbours()
    }

    /// The neighbours over which long frames seem to vanish, and the longest ones that come from there, in
    /// bytes without counter, tag or checksum.
    pub fn narrow(&self, now: Instant) -> impl Iterator<Item = (NodeId, u16)> {
        self.ground.mesh.narrow(now)
    }

    /// How many jobs run or wait; those that only wait to be reported count too.
    pub fn jobs(&self) -> usize {
        self.calls.runs.execution.jobs.count()
    }

    /// How full each table is.
    pub fn occupancy(&self) -> [Occupancy; 9] {
        let jobs = (self.jobs(), self.calls.waiting(), self.calls.answers());
        Occupancy::of(&self.ground, jobs, self.servings.count())
    }

    /// Calls in progress, in no particular order.
    pub fn calls(&self) -> impl Iterator<Item = Progress> {
        self.calls.progress()
    }

    /// The calls that wait in a line, and for what: of those that wait for the same the most urgent is next.
    pub fn awaiting(&self) -> impl Iterator<Item = (CallId, Awaited)> {
        self.calls.awaiting()
    }

    /// The call whose job runs this activation on an executor at the moment.
    pub fn running_call(&self, activation: ActivationId) -> Option<CallId> {
        let jobs = &self.calls.runs.execution.jobs;
        jobs.running(activation).map(|at| jobs[at].call)
    }

    /// Tells what happened. Drain the `poll_*` methods afterwards.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Timeout => self.handle_timeout(now),
            Input::Frame { link, from, bytes } => {
                let Ground { mesh, counters, .. } = &mut self.ground;
                if let Some(delivery) = mesh.receive(now, (link, from), bytes, counters) {
                    self.deliver(now, delivery);
                }
            }
            Input::Outcome(outcome) => {
                let post = &mut self.ground.post(now);
                self.calls.handle_outcome(post, outcome);
            }
        }
        self.carry(now);
    }

    /// Takes a call. [`Config::placement`] decides where it runs; if the tasklet is not in a
    /// catalogue yet, it runs here. Its end is an [`Event::Finished`].
    ///
    /// # Errors
    /// Those of [`call_here`](Self::call_here) or [`call_at`](Self::call_at).
    pub fn call(&mut self, now: Instant, request: CallRequest<'_>) -> Result<CallId, Fault> {
        let post = &mut self.ground.post(now);
        let call = self.calls.take(post, request, Calls::call);
        self.assert_invariants();
        call
    }

    /// Takes a call that runs here, whatever the placement. Its end is an [`Event::Finished`].
    ///
    /// # Errors
    /// [`Fault`] if the call is refused at once: its namespace or tasklet is not known, its
    /// arguments are wrong, or the node has as many jobs and calls that wait as it may.
    pub fn call_here(&mut self, now: Instant, request: CallRequest<'_>) -> Result<CallId, Fault> {
        let post = &mut self.ground.post(now);
        let call = self.calls.take(post, request, Calls::call_here);
        self.assert_invariants();
        call
    }

    /// Calls a tasklet at another node, which checks the call. Its end is an [`Event::Finished`].
    ///
    /// A call is one frame. Links further on the route may be shorter than those of this node: a
    /// call that is too long for one of them is dropped there, and ends as
    /// [`Fault::Unreachable`]. Every link has room for [`MIN_MTU`](crate::MIN_MTU) bytes.
    ///
    /// # Errors
    /// [`Fault`] if the node has as many jobs as it may, or the arguments are too long for a job
    /// or for a frame of the link that leads to the other node.
    pub fn call_at(
        &mut self,
        now: Instant,
        node: NodeId,
        request: CallRequest<'_>,
    ) -> Result<CallId, Fault> {
        if node == self.config().id {
            return self.call_here(now, request);
        }
        let post = &mut self.ground.post(now);
        self.calls.take(post, request, |calls, post, request| {
            calls.call_at(post, node, request)
        })
    }

    /// Waits for the result of a call that a client has made with this key at the node `at`, which is or
    /// was in reach of the client; the request has the tasklet's name and a deadline, and no arguments. Its
    /// end is an [`Event::Finished`]: with the result of that call, or with [`Fault::UnknownCall`] if `at`
    /// does not know the call or keeps its result no more. Nothing runs because of it.
    ///
    /// # Errors
    /// [`Fault::UnknownCall`] if `at` is this node, and as said; [`Fault::Busy`] if the node has as many
    /// jobs as it may.
    pub fn claim(
        &mut self,
        now: Instant,
        at: NodeId,
        (key, request): (CallKey, CallRequest<'_>),
    ) -> Result<CallId, Fault> {
        let post = &mut self.ground.post(now);
        let claimed = self.calls.claim(post, at, (key, request));
        self.assert_invariants();
        claimed
    }

    /// Results that the node keeps at the moment `now` for clients that have given numbers to their calls.
    pub fn results(&self, now: Instant) -> usize {
        self.calls.results(now)
    }

    /// Ends a call before its result; its end is reported as [`Fault::Stopped`].
    pub fn stop(&mut self, now: Instant, call: CallId) {
        self.calls.stop(&mut self.ground.post(now), call);
        self.assert_invariants();
    }

    /// Cancels a call in progress: its end is reported as [`Fault::Cancelled`], and what it holds is free. A
    /// tasklet of it that runs stops before its next slice. If another node runs the call, that node is told;
    /// if it does not hear of that, it works in vain until the deadline.
    ///
    /// # Errors
    /// [`Fault::UnknownCall`] if there is no such call in progress.
    pub fn cancel(&mut self, now: Instant, call: CallId) -> Result<(), Fault> {
        let cancelled = self.calls.cancel(&mut self.ground.post(now), call);
        self.assert_invariants();
        cancelled
    }

    /// Cancels the call of a tasklet that a client has made at this node with this key, as
    /// [`cancel`](Self::cancel). Whoever asks for its result hears that it was cancelled.
    ///
    /// # Errors
    /// [`Fault::UnknownCall`] if this node knows no such call, or it has ended otherwise.
    pub fn cancel_for(
        &mut self,
        now: Instant,
        key: CallKey,
        name: &TaskletName,
    ) -> Result<(), Fault> {
        let post = &mut self.ground.post(now);
        let cancelled = self.calls.cancel_for(post, key, name);
        self.assert_invariants();
        cancelled
    }

    /// How long the call that was refused last as [`Fault::TooLate`] would have taken at the soonest, as far as
    /// this node knows; none if none was, or another node has refused it.
    pub fn wanted_time(&self) -> Option<Duration> {
        self.calls.wanted_time()
    }

    /// Calls that were cancelled here, of which the nodes that work on them are still being told.
    pub fn withdrawn(&self) -> usize {
        self.calls.withdrawn()
    }

    /// Moves a call in progress to the node `to`, at its next suspension; the result still comes
    /// back here. If `to` does not take it, the call goes on here as if nothing had happened. If
    /// another node runs the call, this node asks that one to move it. The result of the move is an
    /// [`Event::Moved`].
    ///
    /// Devices do not move: a native tasklet that is called after the move runs on the device of
    /// the new node.
    ///
    /// # Errors
    /// [`Fault::UnknownCall`] if there is no such call in progress; [`Fault::Busy`] if another job
    /// moves.
    pub fn move_call(&mut self, now: Instant, call: CallId, to: NodeId) -> Result<(), Fault> {
        let post = &mut self.ground.post(now);
        let ordered = self.calls.move_call(post, call, to);
        self.assert_invariants();
        ordered
    }

    /// Says what the executors of the node can run, so that calls which need something else are placed at a
    /// neighbour. Until then it is what [`Abilities::new`] says. Boards do not place calls: there this has
    /// no effect.
    pub fn set_abilities(&mut self, now: Instant, abilities: Abilities) {
        if FULL {
            self.calls
                .set_abilities(&mut self.ground.post(now), abilities);
            self.assert_invariants();
        }
    }

    /// Empties the node, which is to be taken away, or with false ends that. While it lasts the node takes
    /// no new call: those of its clients go to neighbours where that is possible, others are refused with
    /// [`Fault::Busy`]. Its jobs move to neighbours, one after the other, as with
    /// [`move_call`](Self::move_call), whose events they cause; a job that nobody takes goes on here and is
    /// offered again. Results still come back here for whoever has called here, so the node is empty once
    /// [`calls`](Self::calls) shows nothing more (spec/behaviour.md, section 14). Boards do not
    /// drain: there this has no effect.
    pub fn drain(&mut self, now: Instant, drains: bool) {
        if FULL {
            self.calls.drain(&mut self.ground.post(now), drains);
            self.assert_invariants();
        }
    }

    /// Whether the node empties itself.
    pub fn is_draining(&self) -> bool {
        self.calls.is_draining()
    }

    /// Begins a flow at this node, which is one of its sources, or begins it anew. Its items are sent to
    /// [`FlowPlan::sink`] until they arrive there; on their way, from here on, the first node that can
    /// applies each operator.
    ///
    /// # Errors
    /// [`FlowError`] if it cannot begin. Boards have no flows.
    pub fn begin_flow(&mut self, now: Instant, plan: &FlowPlan<'_>) -> Result<FlowId, FlowError> {
        let flows = self.flows.get_mut().ok_or(FlowError::TooManyFlows)?;
        let post = self.ground.post(now);
        let flow = flows.begin(&post, plan, &Known(&self.calls))?;
        self.carry(now);
        Ok(flow)
    }

    /// Takes the items of a flow, for which this node is the sink: each is an [`Event::Item`].
    ///
    /// # Errors
    /// [`FlowError`] if there is no room for another flow. Boards have no flows.
    pub fn take_flow(&mut self, flow: FlowId) -> Result<(), FlowError> {
        let flows = self.flows.get_mut();
        flows.ok_or(FlowError::TooManyFlows)?.want(flow)
    }

    /// Ends a flow at this node, whether it begins or ends here. Items that the sink has not got are lost.
    ///
    /// # Errors
    /// [`FlowError::UnknownFlow`] if the node has no such flow.
    pub fn end_flow(&mut self, flow: FlowId) -> Result<(), FlowError> {
        let flows = self.flows.get_mut();
        let ended = flows.is_some_and(|flows| flows.end(flow));
        ended.then_some(()).ok_or(FlowError::UnknownFlow)
    }

    /// Takes an item, one CBOR value, for a flow that begins here, and returns its number.
    ///
    /// # Errors
    /// [`FlowError`] if it is not taken: [`FlowError::Full`] while the sink lacks as many as the flow may
    /// keep.
    pub fn give(&mut self, now: Instant, flow: FlowId, value: &[u8]) -> Result<u32, FlowError> {
        let flows = self.flows.get_mut().ok_or(FlowError::UnknownFlow)?;
        let number = flows.give(&self.ground.post(now), flow, value)?;
        self.carry(now);
        Ok(number)
    }

    /// How the flows that begin here stand.
    pub fn flows(&self) -> impl Iterator<Item = FlowStatus> {
        self.flows.get().into_iter().flat_map(Flows::status)
    }

    /// How the flows that end here stand.
    pub fn taken_flows(&self) -> impl Iterator<Item = SinkStatus> {
        self.flows.get().into_iter().flat_map(Flows::taken)
    }

    /// What operators of flows have done here lately, each for one source.
    pub fn operators(&self) -> impl Iterator<Item = OperatorStatus> {
        self.flows.get().into_iter().flat_map(Flows::operators)
    }

    /// How many items of flows the node keeps.
    pub fn kept_items(&self) -> usize {
        self.flows.get().map_or(0, Flows::count)
    }

    /// Publishes a delta into the archive of a registry, and its modules if the archive keeps them in memory.
    /// The driver must have checked the signature, and stored them durably.
    ///
    /// # Errors
    /// [`BadDelta`] if it does not fit the catalogue held, or the node is no registry.
    pub fn publish<'m>(
        &mut self,
        now: Instant,
        delta: &Delta<'_>,
        modules: impl Iterator<Item = &'m [u8]>,
    ) -> Result<(), BadDelta> {
        let archive = self.servings.archive_mut();
        let archive = archive.ok_or(BadDelta::OtherNamespace)?;
        archive.publish(delta)?;
        for module in modules {
            archive.insert_module(module);
        }
        self.ground.mesh.speak_soon(now);
        Ok(())
    }

    /// Has a registry forget modules that its driver keeps no longer.
    pub fn forget_modules(&mut self, digests: &[Digest]) {
        if let Some(archive) = self.servings.archive_mut()
            && !digests.is_empty()
        {
            archive.remove_modules(digests);
        }
    }

    /// Applies a catalogue delta that the driver has checked, for example one that it has stored
    /// before a restart.
    ///
    /// # Errors
    /// [`BadDelta`] if it does not fit, or the namespace is not one of the node's.
    pub fn install(&mut self, now: Instant, delta: &Delta<'_>) -> Result<(), BadDelta> {
        let needed = self.calls.runs.execution.jobs.need_entries();
        let post = &mut self.ground.post(now);
        self.calls
            .runs
            .supply
            .subscriptions
            .install(post, delta, needed)?;
        self.carry(now);
        Ok(())
    }

    /// Has the node take no catalogue of a namespace that is older than `epoch`: the newest that it
    /// held before a restart.
    pub fn set_floor(&mut self, namespace: NamespaceId, epoch: u32) {
        let subscriptions = &mut self.calls.runs.supply.subscriptions;
        subscriptions.set_floor(namespace, epoch);
    }

    /// A namespace whose catalogue is newer than the node's floor, and its epoch, which is the floor now.
    pub fn poll_floor(&mut self) -> Option<(NamespaceId, u32)> {
        self.calls.runs.supply.subscriptions.poll_floor()
    }

    /// Tells the registry of the node's first namespace how the previous program of this node
    /// ended. A registry does not report.
    pub fn report(&mut self, report: &Report<'_>) {
        self.reports.set_own(report);
    }

    /// The next frame for `link`, written to the start of `out`, which must hold the largest
    /// frame of the link.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        link: LinkId,
        out: &mut [u8],
    ) -> Option<Transmit> {
        let mut post = self.ground.post(now);
        if post.mesh.is_idle(link)
            && let Some(serving) = self.servings.poll_turn(&post, link)
        {
            let holding = holding(&self.calls, serving.to, serving.fetch.object);
            self.servings.serve(&mut post, serving, holding);
        }
        self.ground.mesh.poll_transmit(link, out)
    }

    /// Whether work waits for some executor, which may be busy.
    pub fn has_work(&self) -> bool {
        self.calls.has_work()
    }

    /// The next work for an executor.
    pub fn poll_work(&mut self, executor: ExecutorId) -> Option<Work<'_>> {
        let Ground {
            now, cache, image, ..
        } = &mut self.ground;
        self.calls.poll_work((*now, executor), cache, image)
    }

    /// The next news for the user.
    pub fn poll_event(&mut self) -> Option<Event<'_>> {
        self.calls.runs.execution.jobs.forget_reported();
        if let Some(catalogue) = self.calls.runs.supply.subscriptions.poll_news() {
            return Some(Event::Catalogue {
                namespace: catalogue.id(),
                epoch: catalogue.epoch(),
            });
        }
        // Ask first and poll then, since the returned value borrows the whole part.
        if FULL
            && self.reports.has_news()
            && let Some((node, report)) = self.reports.poll_news()
        {
            return Some(Event::Reported { node, report });
        }
        if FULL && let Some((node, note)) = self.announcements.poll_news() {
            let EpochNote {
                namespace, epoch, ..
            } = note;
            return Some(Event::Announced {
                node,
                namespace,
                epoch,
            });
        }
        let contradictions = self.contradictions.get_mut();
        let contradiction = contradictions.and_then(Contradictions::poll_news);
        if let Some(Contradiction { node, note, held }) = contradiction {
            let EpochNote {
                namespace, epoch, ..
            } = note;
            return Some(Event::Contradicted {
                namespace,
                node,
                epoch,
                held,
            });
        }
        // Asked first, since the returned value borrows the whole part.
        if self.flows.get().is_some_and(Flows::has_arrived)
            && let Some(flows) = self.flows.get_mut()
            && let Some(Arrived {
                flow,
                source,
                first,
                last,
                result,
            }) = flows.poll_arrived()
        {
            return Some(Event::Item {
                flow,
                source,
                first,
                last,
                result,
            });
        }
        if let Some(Moved { call, to, result }) = self.calls.poll_moved() {
            return Some(Event::Moved { call, to, result });
        }
        if let Some((call, fault, took)) = self.calls.poll_refused() {
            return Some(Event::Finished {
                call,
                result: Err(fault),
                trap: None,
                blamed: None,
                place: None,
                steps: &[],
                took,
            });
        }
        let job = self.calls.poll_finished()?;
        Some(Event::Finished {
            call: job.call,
            result: job.state.result()?.map(|()| &job.message[..]),
            trap: job.trap,
            blamed: job.blamed(),
            place: job.place,
            steps: &job.steps,
            took: job.took,
        })
    }

    /// When [`handle`](Self::handle) must be called with [`Input::Timeout`] at the latest, and
    /// why.
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        let mut earliest = Earliest::new();
        self.calls.note_timeouts(&mut earliest);
        if let Some(flows) = self.flows.get() {
            flows.note_timeouts(&mut earliest);
        }
        earliest.note(self.ground.mesh.poll_timeout(), Reason::Hello);
        earliest.note(self.ground.mesh.poll_repeat(), Reason::Repeat);
        earliest.note(self.ground.holders.poll_timeout(), Reason::Hello);
        earliest.get()
    }

    /// Checks, in a debug build, what must hold between two inputs.
    ///
    /// # Panics
    /// If something does not hold.
    pub fn assert_invariants(&self) {
        if !cfg!(debug_assertions) {
            return;
        }
        self.calls.assert_invariants();
        self.servings.assert_invariants();
        if let Some(flows) = self.flows.get() {
            flows.assert_invariants();
        }
        debug_assert_eq!(
            self.ground.cache.reservations(),
            self.calls.runs.execution.reservations(),
            "every reservation belongs to an activation"
        );
    }

    fn handle_timeout(&mut self, now: Instant) {
        let archived = self.servings.archive().into_iter();
        let archived = archived.flat_map(Archive::catalogues);
        // What a registry holds of its own namespaces is what it serves, not what others still hold.
        let (own, subscriptions) = (self.ground.config.id, &self.calls.runs.supply.subscriptions);
        let others = subscriptions.catalogues();
        let others = others.filter(|it| !FULL || subscriptions.registry(it.id()) != Some(own));
        let held = archived.chain(others);
        let notes = held.filter(|catalogue| catalogue.epoch() > 0);
        let notes = notes.map(EpochNote::of);
        let Ground { mesh, counters, .. } = &mut self.ground;
        mesh.repeat(now, counters);
        let spoke = mesh.handle_timeout(now, notes.clone(), counters);
        let post = &mut self.ground.post(now);
        if let Some(held) = spoke.then_some(notes) {
            if let Some(contradictions) = self.contradictions.get_mut() {
                contradictions.handle_hello(post, held);
            }
            let (mesh, holders) = (&post.mesh, &mut post.holders);
            holders.handle_neighbours(|id| mesh.is_hearing(id));
            let registry = self.calls.runs.supply.subscriptions.first_registry();
            self.reports.handle_hello(post, registry);
            let held = self.calls.runs.supply.subscriptions.held();
            self.announcements.handle_hello(post, held);
        }
        let mut space = [0; HOLDINGS_BYTES];
        let room = post.mesh.room() - Holdings::FIXED_LEN;
        let space = &mut space[..room.min(HOLDINGS_BYTES)];
        if let Some(holdings) = post.holders.poll(now, post.cache, space) {
            post.flood(1, Message::Holdings(holdings));
        }
        self.calls.handle_timeout(post);
    }

    fn deliver(&mut self, now: Instant, delivery: Delivery<'_>) {
        let Delivery { frame, reach } = delivery;
        let Frame { origin, hops, .. } = frame;
        let post = &mut self.ground.post(now);
        match frame.message {
            Message::Search(search) => {
                let flooded = reach == Reach::Everyone;
                self.servings.handle_search(post, origin, flooded, search);
            }
            Message::MetadataRequest(request) => {
                let published = self.calls.runs.supply.published(request.tasklet);
                let servings = &mut self.servings;
                servings.handle_metadata_request(post, origin, request, published);
            }
            Message::Fetch(fetch)
                if reach == Reach::Passing && !self.servings.stops(post, &fetch) =>
            {
                self.calls.runs.supply.note_passing(origin, &fetch);
                pass_on(post, frame, &fetch);
            }
            Message::Fetch(fetch) => {
                let holding = holding(&self.calls, origin, fetch.object);
                self.servings.handle_fetch(post, origin, fetch, holding);
            }
            Message::Found(found) => self
                .calls
                .runs
                .supply
                .handle_found(post, origin, hops, found),
            Message::Metadata(metadata) => self.calls.runs.supply.handle_metadata(post, metadata),
            Message::Data(data) if reach == Reach::Passing => {
                let to = frame.destination;
                self.calls.runs.supply.handle_passing(post, to, &data);
                post.mesh.pass_on(now, frame, to, post.counters);
            }
            Message::Data(data) => {
                let from = (origin, hops);
                if !self.calls.runs.supply.handle_data(post, from, &data) {
                    post.unexpected();
                }
            }
            Message::Refuse(refuse) => {
                count(&mut post.counters.refusals);
                let request = refuse.request;
                self.calls.runs.supply.handle_refusal(post, origin, request);
            }
            // Its modules cost a way around that this node knows nothing of.
            Message::Holdings(_) if post.mesh.is_deaf(origin) => {}
            Message::Holdings(holdings) => {
                let packet = (frame.sequence, post.mesh.smallest_mtu());
                let ids = (post.config.id, origin);
                post.holders.handle(now, ids, packet, &holdings);
                for (holder, _) in holdings.sections() {
                    post.mesh.hear_holder(now, origin, &holder);
                }
            }
            Message::Load(load) => {
                // Nobody passes it on, so it is the neighbour's own.
                self.calls.handle_load(post, origin, load);
            }
            Message::Report(_) if !FULL => {}
            Message::Report(report) => self.reports.handle_report(origin, &report),
            Message::Hello(hello) => {
                let subscriptions = &mut self.calls.runs.supply.subscriptions;
                // A hello for this node alone is an announcement; one that goes further than a link
                // is what a registry tells everybody.
                let is_own = reach == Reach::Here;
                let is_near = !is_own && hops == 1 && frame.ttl == 0;
                if is_near {
                    post.mesh.hear_listed(now, origin, &hello);
                    post.mesh.hear_registries(now, origin, &hello);
                }
                if !is_own && let Some(contradictions) = self.contradictions.get_mut() {
                    let held = subscriptions.settled(now, origin);
                    if contradictions.handle_registry(post, origin, &hello, held) {
                        self.announcements.begin();
                    }
                }
                for note in hello.epochs() {
                    let archive = self.servings.archive();
                    let serves = |archive: &Archive| {
                        let registry = subscriptions.registry(note.namespace);
                        let serves = is_own || registry == Some(post.config.id);
                        archive.note(note.namespace, serves)
                    };
                    let archived = archive.filter(|_| FULL).and_then(serves);
                    let held = || subscriptions.note(note.namespace);
                    let own = archived.map(|own| (own, true));
                    let own = own.or_else(|| held().map(|own| (own, false)));
                    if let Some(own) = own
                        && let Some(contradictions) = self.contradictions.get_mut()
                        && contradictions.handle_note(post, origin, note, own)
                    {
                        self.announcements.begin();
                    }
                    if FULL && (is_own || is_near) {
                        self.announcements.handle_note(origin, note);
                    }
                    if is_near {
                        subscriptions.handle_epoch(post, origin, note);
                    }
                }
            }
            Message::Call(call) => self.calls.handle_call(post, frame, call),
            Message::Return(answer) => self.calls.handle_return(post, origin, answer),
            Message::Move(order) if FULL && order.is_nowhere() => {
                self.calls.handle_cancel(post, frame, order.request);
            }
            Message::Move(order) => self.calls.handle_move(post, origin, order),
            Message::Offer(offer) => self.calls.handle_offer(post, origin, &offer),
            Message::Go(go) => self.calls.handle_go(post, origin, go),
            // The mesh has taken it.
            Message::Ack(_) => {}
            Message::Flow(flow) => {
                let Some(flows) = self.flows.get_mut() else {
                    return;
                };
                let tasklets = Known(&self.calls);
                if reach == Reach::Here {
                    flows.handle(post, origin, &flow, &tasklets);
                } else if reach == Reach::Passing
                    && !flows.handle_passing(post, &frame, &flow, &tasklets)
                {
                    post.mesh
                        .pass_on(now, frame, frame.destination, post.counters);
                }
            }
        }
    }

    /// Carries what the parts say to one another until they have nothing more to say.
    fn carry(&mut self, now: Instant) {
        let post = &mut self.ground.post(now);
        self.calls.carry(post);
        if let Some(flows) = self.flows.get_mut() {
            work_on_flows(post, &mut self.calls, flows);
        }
        if post.mesh.poll_registry_anew() {
            self.announcements.begin();
        }
        if post.mesh.poll_newcomer() {
            post.holders.handle_newcomer(now);
            self.calls.handle_newcomer();
        }
        post.holders.notice(now, post.cache);
        self.assert_invariants();
    }
}

/// What the calls of a node know of tasklets.
struct Known<'c>(&'c Calls);

impl Tasklets for Known<'_> {
    fn newest(&self, name: &TaskletName) -> Result<Newest, Fault> {
        let (tasklet, signature) = self.0.newest(name)?;
        Ok(Newest { tasklet, signature })
    }

    fn applicable(&self, tasklet: TaskletRef, any: bool) -> Result<Applicable, Fault> {
        let (name, state) = self.0.applicable(tasklet, any)?;
        Ok(Applicable { name, state })
    }
}

/// Runs the tasklets of flows, and gives their results to the flows, until there is nothing left to do.
fn work_on_flows(post: &mut Post<'_>, calls: &mut Calls, flows: &mut Flows) {
    loop {
        if let Some((at, number)) = calls.poll_own() {
            let result = calls.own_result(at);
            flows.handle_ran(post, number, result, &Known(calls));
            calls.close_own(at);
        } else if let Some(order) = flows.poll(post, &Known(calls)) {
            let Order {
                number,
                name,
                deadline,
            } = order;
            let request = CallRequest {
                name,
                export: "",
                args: flows.args(),
                deadline: Some(deadline),
                priority: Priority::Normal,
                client: None,
                key: None,
                from: None,
            };
            match calls.call_own(post, number, request) {
                Ok(()) => calls.carry(post),
                Err(fault) => flows.handle_ran(post, number, Err(fault), &Known(calls)),
            }
        } else {
            break;
        }
    }
}

/// Sends a request for a module on: to the nearest holder that this node knows of, if that is nearer
/// than the node that it is for. What the request asks for will soon be where it comes from.
fn pass_on(post: &mut Post<'_>, frame: Frame<'_>, fetch: &Fetch) {
    let mut destination = frame.destination;
    if let Object::Module(tasklet) = fetch.object {
        let left = post.mesh.hops(post.now, destination).unwrap_or(u8::MAX);
        let nearest = post.nearest(tasklet, Some(frame.origin));
        let nearest = nearest.filter(|_| post.config.acquisition.on_path && !fetch.direct);
        if let Some(nearer) = nearest.filter(|nearest| nearest.hops < left) {
            destination = nearer.id;
        }
        post.holders.note(frame.origin, tasklet);
    }
    post.mesh
        .pass_on(post.now, frame, destination, post.counters);
}

/// What the node holds of an object that the node `to` fetches.
fn holding(calls: &Calls, to: NodeId, object: Object) -> Holding<'_> {
    let catalogue = match object {
        Object::Catalogue { namespace, .. } => calls.runs.supply.subscriptions.catalogue(namespace),
        Object::Module(_) | Object::Job { .. } => None,
    };
    let offered = calls.offers(to, object);
    Holding { catalogue, offered }
}

impl core::fmt::Debug for Node {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Node")
            .field("id", &self.config().id)
            .field("jobs", &self.jobs())
            .finish()
    }
}
