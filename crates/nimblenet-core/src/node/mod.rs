//! The node: the parent that carries values between its parts.
//!
//! The parts never call each other. What follows from an input is found in
//!
//! - `acquire`: Algorithm 1, one acquisition at a time;
//! - `run`: jobs and their activations;
//! - `preload`: everything that a chain may call, in advance;
//! - `remote`: calls between nodes;
//! - `report`: word of crashes;
//! - `depart` and `adopt`: running jobs that move between nodes, and `transit`, what both share;
//! - `subscribe`: catalogues of namespaces, kept up to date;
//! - `serve`: answers to other nodes.

mod acquire;
mod adopt;
mod depart;
mod preload;
mod remote;
mod report;
mod run;
mod serve;
mod subscribe;
mod transit;

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use nimblenet_tasklet::{ActivationId, Delta, Fault, NamespaceId, NodeId, Outcome, Work};

use self::serve::Serving;
use self::subscribe::Subscription;
use self::transit::{Moved, Transit};
use crate::acquisition::Acquisition;
use crate::archive::Archive;
use crate::cache::{Buffer, Cache, Disk, SlotId};
use crate::catalogue::{BadDelta, Catalogue};
use crate::config::{Config, ConfigError, LinkId};
use crate::counters::{Counters, DropReason};
use crate::event::{CallRequest, Event, Input, Progress, Reason, Standing};
use crate::job::{CallId, Job, State};
use crate::mesh::{Delivery, Mesh, Transmit};
use crate::time::Instant;
use crate::wire::Message;

/// Objects on their way for which a node's disk has room besides its modules: a delta that comes
/// and one that goes.
const OBJECTS: usize = 2;

/// A NimbleNet node without input, output, clock or thread.
///
/// # The contract
/// There are four kinds of method:
///
/// - getters look, and change nothing;
/// - [`handle`](Self::handle) tells what happened; it cannot fail;
/// - commands ([`call`](Self::call), [`call_at`](Self::call_at),
///   [`move_call`](Self::move_call), [`stop`](Self::stop), [`publish`](Self::publish),
///   [`install`](Self::install)) ask for something and may be refused;
/// - `poll_*` say what to do: [`poll_transmit`](Self::poll_transmit) gives frames for links,
///   [`poll_work`](Self::poll_work) work for the executor, [`poll_event`](Self::poll_event) news
///   for the user, [`poll_timeout`](Self::poll_timeout) when to call again.
///
/// After every `handle` or command the driver drains the `poll_*` methods in that order; the
/// function [`pump`](crate::pump) does exactly this, and every driver uses it. Time only moves
/// forward. All memory is taken in [`new`](Self::new), the archive of a registry excepted.
pub struct Node {
    config: Config,
    mesh: Mesh,
    cache: Cache,
    archive: Option<Archive>,
    counters: Counters,
    subscriptions: Vec<Subscription>,
    /// The delta on its way: for one subscription at a time.
    delta: Option<SlotId>,
    acquisitions: Vec<Option<Acquisition>>,
    servings: VecDeque<Serving>,
    /// The delta that is being served.
    served_delta: Option<serve::ServedDelta>,
    jobs: Vec<Job>,
    /// Jobs that wait for the executor, by their place, oldest first.
    ready: VecDeque<usize>,
    /// Activations that the executor is to forget.
    stops: VecDeque<run::Stop>,
    /// What the executor is busy with.
    executing: Option<ActivationId>,
    /// Jobs that have ended, by their place.
    finished: VecDeque<usize>,
    /// A finished job whose result was handed out.
    reported: Option<usize>,
    /// Subscriptions with news, by their place.
    news: VecDeque<usize>,
    /// The job on its way to or from another node.
    transit: Transit,
    /// Its image.
    image: Buffer,
    /// Moves that have ended and were not yet reported.
    moved: VecDeque<Moved>,
    reports: report::Reports,
    next_request: u16,
    next_call: u32,
    next_activation: u32,
}

impl Node {
    /// A node that was told `config`.
    ///
    /// # Errors
    /// [`ConfigError`] if the parts of the configuration do not fit each other.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        let limits = &config.limits;
        let bytes = limits.cache_bytes + OBJECTS * limits.delta_bytes + limits.image_bytes;
        let disk = Disk::allocate(bytes);
        Self::with_disk(config, disk)
    }

    /// A node that keeps modules, objects on their way, and [`Limits::image_bytes`](crate::Limits)
    /// for a job on its way on `disk`.
    ///
    /// # Errors
    /// [`ConfigError`] if the parts of the configuration do not fit each other.
    pub fn with_disk(mut config: Config, mut disk: Disk) -> Result<Self, ConfigError> {
        config.check()?;
        let cached = disk.len().saturating_sub(config.limits.image_bytes);
        let image = Buffer::new(disk.split_off(cached));
        let limits = config.limits;
        let namespaces = config.namespaces.iter();
        let subscriptions: Vec<_> = namespaces
            .map(|namespace| Subscription::new(*namespace, limits.catalogue))
            .collect();
        let mesh = Mesh::new(&config);
        let reports = report::Reports::new(config.archive.is_some());
        let archive = config.archive.take();
        let vacant = || Job::vacant(&limits, subscriptions.len());
        Ok(Self {
            mesh,
            cache: Cache::new(
                disk,
                limits.cache_bytes,
                limits.cache_entries,
                config.eviction.make,
            ),
            archive,
            counters: Counters::default(),
            delta: None,
            acquisitions: (0..limits.acquisitions).map(|_| None).collect(),
            servings: VecDeque::with_capacity(limits.servings),
            served_delta: None,
            jobs: (0..limits.jobs).map(|_| vacant()).collect(),
            ready: VecDeque::with_capacity(limits.jobs),
            stops: VecDeque::with_capacity(2 * limits.jobs * limits.depth),
            executing: None,
            finished: VecDeque::with_capacity(limits.jobs),
            reported: None,
            news: VecDeque::with_capacity(subscriptions.len()),
            transit: Transit::Idle,
            image,
            moved: VecDeque::with_capacity(limits.jobs),
            reports,
            subscriptions,
            next_request: 0,
            next_call: 0,
            next_activation: 0,
            config,
        })
    }

    /// The node's id.
    pub fn id(&self) -> NodeId {
        self.config.id
    }

    /// What it was told at its start, the archive excepted.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The number that its next packet will have, and the best one to go on with after a restart:
    /// see [`Config::first_sequence`].
    pub fn next_sequence(&self) -> u32 {
        self.mesh.next_sequence()
    }

    /// What it has counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Its cache.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// What it serves as a registry.
    pub fn archive(&self) -> Option<&Archive> {
        self.archive.as_ref()
    }

    /// The catalogue of a namespace, as it is held now.
    pub fn catalogue(&self, namespace: NamespaceId) -> Option<&Catalogue> {
        let held = self
            .subscriptions
            .iter()
            .find(|held| held.id() == namespace);
        let archived = self
            .archive
            .as_ref()
            .and_then(|archive| archive.catalogue(namespace));
        archived.or(held.map(Subscription::catalogue))
    }

    /// Its links.
    pub fn links(&self) -> impl Iterator<Item = LinkId> + use<> {
        (0..self.config.links.len() as u8).map(LinkId)
    }

    /// Ids of the nodes in direct reach.
    pub fn neighbours(&self) -> impl Iterator<Item = NodeId> {
        self.mesh.neighbours()
    }

    /// Jobs that run or wait, those that only wait to be reported included.
    pub fn jobs(&self) -> usize {
        let kept = |job: &&Job| {
            matches!(
                job.state,
                State::Free | State::Answered(_) | State::Declined(_)
            )
        };
        self.jobs.iter().filter(|job| !kept(job)).count()
    }

    /// Calls in progress, in no particular order.
    pub fn calls(&self) -> impl Iterator<Item = Progress> {
        let live = self.jobs.iter().filter(|job| job.state.live());
        live.map(|job| {
            let known = !matches!(job.state, State::Arriving(_)) || job.depth() > 0;
            Progress {
                call: job.call,
                name: known.then_some(job.name),
                standing: match job.state {
                    State::Remote(remote) => Standing::At(remote.to),
                    State::Leaving | State::Arriving(_) => Standing::Moving,
                    State::Ready(_) | State::Running => Standing::Running,
                    State::Resolving
                    | State::Preloading { .. }
                    | State::Acquiring { .. }
                    | State::Free
                    | State::Finished(_)
                    | State::Answered(_)
                    | State::Declined(_) => Standing::Waiting,
                },
                caller: job.caller.map(|(caller, _)| caller),
                depth: job.depth(),
                accepted: job.accepted,
                deadline: job.deadline,
            }
        })
    }

    /// Tells what happened. Drain the `poll_*` methods afterwards.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Timeout => self.handle_timeout(now),
            Input::Frame { link, from, bytes } => {
                let delivery = self
                    .mesh
                    .receive(now, (link, from), bytes, &mut self.counters);
                if let Some(delivery) = delivery {
                    self.deliver(now, delivery);
                }
            }
            Input::Outcome(outcome) => self.handle_outcome(now, outcome),
        }
        self.depart(now);
    }

    /// Takes a call. Its end is an [`Event::Finished`].
    ///
    /// # Errors
    /// [`Fault`] if the call is refused at once: its namespace or tasklet is not known, its
    /// arguments are wrong, or the node has as many jobs as it may.
    pub fn call(&mut self, now: Instant, request: CallRequest<'_>) -> Result<CallId, Fault> {
        self.counters.calls += 1;
        let accepted = self.accept(now, request, None);
        if accepted.is_err() {
            self.counters.failed += 1;
        }
        accepted
    }

    /// Lets another node run a tasklet. Its end is an [`Event::Finished`]; what the other node
    /// says of the call is checked there, not here.
    ///
    /// A call is one frame. Links further on the way may be shorter than those of this node: a
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
        if node == self.config.id {
            return self.call(now, request);
        }
        self.counters.calls += 1;
        let accepted = self.accept_remote(now, node, request);
        if accepted.is_err() {
            self.counters.failed += 1;
        }
        accepted
    }

    /// Ends a call early; it is reported as [`Fault::Stopped`].
    pub fn stop(&mut self, now: Instant, call: CallId) {
        let runs = |job: &Job| job.call == call && job.state.live();
        if let Some(at) = self.jobs.iter().position(runs) {
            self.end_job(now, at, Err(Fault::Stopped));
        }
    }

    /// Lets a call that is in progress go on at the node `to`, from its next suspension on; the
    /// result still comes back here. If `to` does not take it, it goes on here as if nothing had
    /// been. For a call that another node runs, that node is asked to move it. How it went is an
    /// [`Event::Moved`].
    ///
    /// The device behind native tasklets stays where it is: a tasklet that comes to be called
    /// after the move runs on the new node's device.
    ///
    /// # Errors
    /// [`Fault::UnknownCall`] if there is no such call in progress; [`Fault::Busy`] if another job
    /// moves.
    pub fn move_call(&mut self, now: Instant, call: CallId, to: NodeId) -> Result<(), Fault> {
        let runs = |job: &Job| job.call == call && job.state.live();
        let at = self.jobs.iter().position(runs);
        self.order_move(now, at.ok_or(Fault::UnknownCall)?, to)?;
        self.depart(now);
        Ok(())
    }

    /// Publishes into the archive of a registry, after the driver has stored it durably and
    /// checked its signature.
    ///
    /// # Errors
    /// [`BadDelta`] if it does not fit the catalogue held, or the node is no registry.
    pub fn publish<'m>(
        &mut self,
        now: Instant,
        delta: &Delta<'_>,
        modules: impl Iterator<Item = &'m [u8]>,
    ) -> Result<(), BadDelta> {
        let archive = self.archive.as_mut().ok_or(BadDelta::OtherNamespace)?;
        archive.publish(delta)?;
        for module in modules {
            archive.insert_module(module);
        }
        self.mesh.speak_soon(now);
        Ok(())
    }

    /// Takes up a catalogue delta that the driver has checked, as at a start from stored state.
    ///
    /// # Errors
    /// [`BadDelta`] if it does not fit, or the namespace is not one of the node's.
    pub fn install(&mut self, now: Instant, delta: &Delta<'_>) -> Result<(), BadDelta> {
        let id = NamespaceId::of(&delta.namespace);
        let at = self.subscriptions.iter().position(|held| held.id() == id);
        self.renew(now, at.ok_or(BadDelta::OtherNamespace)?, delta)
    }

    /// The next frame for `link`, written to the start of `out`, which must hold the largest
    /// frame of the link.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        link: LinkId,
        out: &mut [u8],
    ) -> Option<Transmit> {
        if self.mesh.is_idle(link) {
            self.serve_part(now, link);
        }
        self.mesh.poll_transmit(link, out)
    }

    /// The next work for the executor.
    pub fn poll_work(&mut self) -> Option<Work<'_>> {
        self.next_work()
    }

    /// The next news for the user.
    pub fn poll_event(&mut self) -> Option<Event<'_>> {
        if let Some(at) = self.reported.take() {
            self.jobs[at].state = State::Free;
        }
        if let Some(at) = self.news.pop_front() {
            let held = &self.subscriptions[at];
            let epoch = held.catalogue().epoch();
            return Some(Event::Catalogue {
                namespace: held.id(),
                epoch,
            });
        }
        // In two steps: what is returned borrows the whole.
        if self.reports.waits()
            && let Some((node, report)) = self.reports.take()
        {
            return Some(Event::Reported { node, report });
        }
        if let Some(Moved { call, to, result }) = self.moved.pop_front() {
            return Some(Event::Moved { call, to, result });
        }
        let at = self.finished.pop_front()?;
        self.reported = Some(at);
        let job = &self.jobs[at];
        let State::Finished(result) = job.state else {
            return None;
        };
        Some(Event::Finished {
            call: job.call,
            result: result.map(|()| &job.message[..]),
            trap: job.trap,
            steps: &job.steps,
            took: job.took,
        })
    }

    /// When [`handle`](Self::handle) must be called with [`Input::Timeout`] at the latest, and
    /// why.
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        let hello = self.mesh.poll_timeout().map(|at| (at, Reason::Hello));
        let acquisitions = self.acquisitions.iter().flatten();
        let acquisition = acquisitions.filter_map(Acquisition::poll_timeout).min();
        let subscription = self
            .subscriptions
            .iter()
            .filter_map(Subscription::poll_timeout)
            .min();
        let live = self.jobs.iter().filter(|job| job.state.live());
        let deadline = live.clone().filter_map(|job| job.deadline).min();
        let remote = live
            .filter_map(|job| job.state.remote())
            .map(|remote| remote.due);
        let others = [
            acquisition.map(|at| (at, Reason::Acquisition)),
            subscription.map(|at| (at, Reason::Catalogue)),
            deadline.map(|at| (at, Reason::Deadline)),
            remote.min().map(|at| (at, Reason::RemoteCall)),
            self.transit.poll_timeout().map(|at| (at, Reason::Move)),
        ];
        others
            .into_iter()
            .chain([hello])
            .flatten()
            .min_by_key(|(at, _)| *at)
    }

    fn handle_timeout(&mut self, now: Instant) {
        let archived = self.archive.iter().flat_map(Archive::catalogues);
        let held = self.subscriptions.iter().map(Subscription::catalogue);
        let epochs = archived
            .chain(held)
            .filter(|catalogue| catalogue.epoch() > 0);
        let notes = epochs.map(|catalogue| crate::wire::EpochNote {
            namespace: catalogue.id(),
            epoch: catalogue.epoch(),
        });
        let spoke = self.mesh.handle_timeout(now, notes, &mut self.counters);
        if spoke {
            self.send_report(now);
        }
        self.acquisition_timeouts(now);
        self.subscription_timeouts(now);
        self.remote_timeouts(now);
        self.transit_timeouts(now);
        self.deadlines(now);
    }

    fn deliver(&mut self, now: Instant, delivery: Delivery<'_>) {
        let Delivery { origin, hops, .. } = delivery;
        match delivery.message {
            Message::Search(search) => {
                self.answer_search(now, origin, delivery.flooded, search);
            }
            Message::MetadataRequest(request) => self.answer_metadata(now, origin, request),
            Message::Fetch(fetch) => self.admit_fetch(now, origin, fetch),
            Message::Found(found) => self.handle_found(now, origin, hops, found),
            Message::Metadata(metadata) => self.handle_metadata(now, metadata),
            Message::Data(data) => {
                let taken = self.handle_part(now, &data)
                    || self.handle_delta_part(now, &data)
                    || self.handle_image_part(now, &data);
                if !taken {
                    self.counters.drop(DropReason::Unexpected);
                }
            }
            Message::Refuse(refuse) => {
                self.counters.refusals += 1;
                self.handle_refusal(now, refuse.request);
                self.handle_delta_refusal(now, refuse.request);
                self.handle_image_refusal(now, refuse.request);
            }
            Message::Call(call) => self.serve_call(now, origin, call),
            Message::Return(answer) => self.handle_return(now, origin, answer),
            Message::Move(order) => self.serve_move(now, origin, order),
            Message::Offer(offer) => self.serve_offer(now, origin, offer),
            Message::Go(go) => self.serve_go(now, origin, go),
            Message::Report(report) => self.hear_report(origin, &report),
            Message::Hello(hello) => {
                self.mesh.hear_registries(now, origin, &hello);
                for note in hello.epochs() {
                    self.hear_epoch(now, origin, note);
                }
            }
        }
    }

    fn handle_outcome(&mut self, now: Instant, outcome: Outcome<'_>) {
        if let Outcome::Verified { ticket, good } = outcome {
            self.handle_verified(now, ticket, good);
        } else if !self.handle_activation(now, outcome) {
            self.counters.drop(DropReason::StaleOutcome);
        }
    }

    /// A request number that no answer on its way can have.
    fn new_request(&mut self) -> u16 {
        self.next_request = self.next_request.wrapping_add(1);
        self.next_request
    }
}

impl core::fmt::Debug for Node {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Node")
            .field("id", &self.config.id)
            .field("jobs", &self.jobs())
            .finish()
    }
}
