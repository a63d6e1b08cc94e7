//! The node: the parent that carries values between its parts.
//!
//! Each part owns its fields and sees neither the node nor another part. It has the shape of the
//! whole: it is told what happened (`handle_*`), says what follows (`poll_*`) and when it must be
//! looked at again (`poll_timeout`). All send through one [`Post`](post::Post). The parts are
//!
//! - [`runs`]: jobs on this node, from the call to the result; the parent of six more:
//!   - `jobs`: calls, and the activations that each runs;
//!   - `bench`: what executors have to do next;
//!   - `shelf`: what waits for room in an executor;
//!   - `subscriptions`: the catalogues of the node's namespaces;
//!   - `acquisitions`: Algorithm 1;
//!   - `fetches`: objects on their way to this node;
//! - [`servings`]: objects on their way from it;
//! - [`exchanges`]: calls between nodes;
//! - [`moves`]: running jobs that go to another node or come from one;
//! - [`placing`]: what is known when it is decided where a call runs;
//! - [`reports`]: crashes, told to the registry.
//!
//! What one part says is often something else to the node, so no part hands anything on to
//! another: `Node::carry` takes what they say, one thing after the other, and turns it into what
//! the next is told, until nothing is left.

mod exchanges;
mod moves;
mod placing;
mod post;
mod reports;
mod runs;
mod servings;
#[cfg(test)]
mod stage;

use core::time::Duration;

use nimblenet_tasklet::{Delta, Fault, NamespaceId, NodeId, Work};

use self::exchanges::{Exchange, Exchanges, Heard};
use self::moves::{Moved, Moves, OfferAnswer, Passed};
use self::placing::Placing;
use self::post::Ground;
use self::reports::Reports;
use self::runs::{Happened, Opening, Runs};
use self::servings::{Holding, Servings};
use crate::archive::Archive;
use crate::cache::{Buffer, Cache, Disk};
use crate::catalogue::{BadDelta, Catalogue};
use crate::config::{Config, ConfigError, ExecutorId, LinkId};
use crate::counters::Counters;
use crate::earliest::Earliest;
use crate::event::{CallRequest, Event, Input, Progress, Reason, Standing};
use crate::job::{CallId, ExportName, State};
use crate::mesh::{Delivery, Mesh, Transmit};
use crate::place::Decision;
use crate::places::JobAt;
use crate::time::Instant;
use crate::wire::{Answer, Call, EpochNote, Go, Message, Move, Object, Offer, Report, Return};

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
/// - commands ([`call`](Self::call), [`call_here`](Self::call_here),
///   [`call_at`](Self::call_at), [`move_call`](Self::move_call), [`stop`](Self::stop),
///   [`publish`](Self::publish), [`install`](Self::install)) ask for something and may be refused;
/// - `poll_*` say what to do: [`poll_transmit`](Self::poll_transmit) gives frames for links,
///   [`poll_work`](Self::poll_work) work for the executor, [`poll_event`](Self::poll_event) news
///   for the user, [`poll_timeout`](Self::poll_timeout) when to call again.
///
/// After every `handle` or command the driver drains the `poll_*` methods in that order; the
/// function [`pump`](crate::pump) does exactly this, and every driver uses it. Time only moves
/// forward. All memory is taken in [`new`](Self::new), the archive of a registry excepted.
pub struct Node {
    ground: Ground,
    runs: Runs,
    servings: Servings,
    exchanges: Exchanges,
    moves: Moves,
    placing: Placing,
    reports: Reports,
}

impl Node {
    /// A node that was told `config`.
    ///
    /// # Errors
    /// [`ConfigError`] if the parts of the configuration do not fit each other.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        config.check()?;
        let limits = &config.limits;
        let objects = OBJECTS * limits.delta_bytes + limits.shelf_bytes;
        let bytes = limits.cache_bytes + objects + limits.image_bytes;
        let disk = Disk::allocate(bytes);
        Ok(Self::with_disk(config, disk))
    }

    /// A node that keeps everything on `disk`, its last [`image_bytes`](crate::Limits::image_bytes)
    /// for a job on its way. Modules and objects on their way share the rest, of which modules take
    /// [`cache_bytes`](crate::Limits::cache_bytes) at most: a disk that is larger by the image
    /// leaves objects the room that modules do not take.
    ///
    /// # Panics
    /// If [`Config::check`] refuses the configuration: a driver with a disk of its own knows it
    /// beforehand. An error would have to take the configuration apart, which a board has no
    /// other use for.
    // Apart from its callers, the node is built in place instead of field by field.
    #[inline(never)]
    pub fn with_disk(mut config: Config, mut disk: Disk) -> Self {
        config.check().expect("the configuration was checked");
        let cached = disk.len().saturating_sub(config.limits.image_bytes);
        let image = Buffer::new(disk.split_off(cached));
        let limits = config.limits;
        let policy = config.eviction.make;
        let mesh = Mesh::new(&config);
        let cache = Cache::new(disk, limits.cache_bytes, limits.cache_entries, policy);
        let archive = config.role.take_archive();
        Self {
            runs: Runs::new(&config),
            reports: Reports::new(archive.is_some()),
            servings: Servings::new(archive, limits.servings),
            exchanges: Exchanges::new(limits.jobs),
            moves: Moves::new(limits.jobs),
            placing: Placing::new(limits.neighbours),
            ground: Ground::new(config, mesh, cache, image),
        }
    }

    /// The node's id.
    pub fn id(&self) -> NodeId {
        self.config().id
    }

    /// What it was told at its start; the archive of a registry is empty here.
    pub fn config(&self) -> &Config {
        &self.ground.config
    }

    /// The number that its next packet will have, and the best one to go on with after a restart:
    /// see [`Config::first_sequence`].
    pub fn next_sequence(&self) -> u32 {
        self.ground.mesh.next_sequence()
    }

    /// What it has counted.
    pub fn counters(&self) -> &Counters {
        &self.ground.counters
    }

    /// Its cache.
    pub fn cache(&self) -> &Cache {
        &self.ground.cache
    }

    /// What it serves as a registry.
    pub fn archive(&self) -> Option<&Archive> {
        self.servings.archive()
    }

    /// The catalogue of a namespace, as it is held now.
    pub fn catalogue(&self, namespace: NamespaceId) -> Option<&Catalogue> {
        let archived = self
            .archive()
            .and_then(|archive| archive.catalogue(namespace));
        archived.or_else(|| self.runs.subscriptions.catalogue(namespace))
    }

    /// Ids of the nodes in direct reach.
    pub fn neighbours(&self) -> impl Iterator<Item = NodeId> {
        self.ground.mesh.neighbours()
    }

    /// Jobs that run or wait, those that only wait to be reported included.
    pub fn jobs(&self) -> usize {
        self.runs.jobs.count()
    }

    /// Calls in progress, in no particular order.
    pub fn calls(&self) -> impl Iterator<Item = Progress> {
        self.runs.jobs.live().map(|(at, job)| {
            let known = !matches!(job.state, State::Arriving(_)) || job.depth() > 0;
            Progress {
                call: job.call,
                name: known.then_some(job.name),
                standing: match (job.state, self.exchanges.node_of(at)) {
                    (State::Remote, Some(node)) => Standing::At(node),
                    (State::Leaving | State::Arriving(_), _) => Standing::Moving,
                    (State::Ready(_) | State::Running(_) | State::Thawing(..), _) => {
                        Standing::Running
                    }
                    _ => Standing::Waiting,
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
                let Ground { mesh, counters, .. } = &mut self.ground;
                if let Some(delivery) = mesh.receive(now, (link, from), bytes, counters) {
                    self.deliver(now, delivery);
                }
            }
            Input::Outcome(outcome) => {
                let post = &mut self.ground.post(now);
                let work = self.moves.work();
                let for_move = self.runs.handle_outcome(post, work, outcome);
                if let Some(work) = work.filter(|_| for_move) {
                    let (at, _) = work.place();
                    let job = &self.runs.jobs[at];
                    self.moves.handle_outcome(post, work, job, outcome);
                }
            }
        }
        self.carry(now);
    }

    /// Takes a call, which runs where [`Config::placement`] decides; here if the tasklet is not in
    /// a catalogue yet. Its end is an [`Event::Finished`].
    ///
    /// # Errors
    /// Those of [`call_here`](Self::call_here) or [`call_at`](Self::call_at).
    pub fn call(&mut self, now: Instant, request: CallRequest<'_>) -> Result<CallId, Fault> {
        let policy = self.config().placement.policy;
        if !policy.needs_facts() {
            return self.call_here(now, request);
        }
        let catalogue = self
            .runs
            .subscriptions
            .catalogue_named(&request.name.namespace);
        let live = self.runs.jobs.live();
        let backlog = live.filter(|(_, job)| job.state != State::Remote).count();
        let (ground, placing) = (&self.ground, &mut self.placing);
        let facts = catalogue.and_then(|held| placing.facts(ground, held, backlog, &request));
        match facts.map_or(Decision::Here, |facts| policy.place(&facts)) {
            Decision::Here => self.call_here(now, request),
            Decision::Send(to) => self.call_at(now, to, request),
        }
    }

    /// Takes a call that runs here, whatever the placement. Its end is an [`Event::Finished`].
    ///
    /// # Errors
    /// [`Fault`] if the call is refused at once: its namespace or tasklet is not known, its
    /// arguments are wrong, or the node has as many jobs as it may.
    pub fn call_here(&mut self, now: Instant, request: CallRequest<'_>) -> Result<CallId, Fault> {
        let accepted = self.runs.accept(&mut self.ground.post(now), request, None);
        let call = accepted.map(|at| self.runs.jobs[at].call);
        self.carry(now);
        call
    }

    /// Lets another node run a tasklet. Its end is an [`Event::Finished`]; what the other node
    /// says of the call is checked there, not here.
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
        self.ground.counters.calls += 1;
        let accepted = self.accept_remote(now, node, request);
        if accepted.is_err() {
            self.ground.counters.failed += 1;
        }
        accepted
    }

    /// Ends a call early; it is reported as [`Fault::Stopped`].
    pub fn stop(&mut self, now: Instant, call: CallId) {
        if let Some(at) = self.runs.jobs.by_call(call) {
            let post = &mut self.ground.post(now);
            self.runs.end(post, at, Err(Fault::Stopped));
            self.carry(now);
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
        let at = self.runs.jobs.by_call(call).ok_or(Fault::UnknownCall)?;
        self.order_move(now, at, to)?;
        self.carry(now);
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
        let archive = self.servings.archive_mut();
        let archive = archive.ok_or(BadDelta::OtherNamespace)?;
        archive.publish(delta)?;
        for module in modules {
            archive.insert_module(module);
        }
        self.ground.mesh.speak_soon(now);
        Ok(())
    }

    /// Takes up a catalogue delta that the driver has checked, as at a start from stored state.
    ///
    /// # Errors
    /// [`BadDelta`] if it does not fit, or the namespace is not one of the node's.
    pub fn install(&mut self, now: Instant, delta: &Delta<'_>) -> Result<(), BadDelta> {
        let needed = self.runs.jobs.need_entries();
        let post = &mut self.ground.post(now);
        self.runs.subscriptions.install(post, delta, needed)?;
        self.carry(now);
        Ok(())
    }

    /// Tells the registry of the node's first namespace how the program before this one ended. A
    /// registry does not report.
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
            let holding = holding(&self.runs, &self.moves, serving.to, serving.fetch.object);
            self.servings.serve(&mut post, serving, holding);
        }
        self.ground.mesh.poll_transmit(link, out)
    }

    /// The next work for an executor.
    pub fn poll_work(&mut self, executor: ExecutorId) -> Option<Work<'_>> {
        let Ground { cache, image, .. } = &mut self.ground;
        let work = self.moves.work();
        self.runs.poll_work(executor, cache, work, image)
    }

    /// The next news for the user.
    pub fn poll_event(&mut self) -> Option<Event<'_>> {
        self.runs.jobs.forget_reported();
        if let Some(catalogue) = self.runs.subscriptions.poll_news() {
            return Some(Event::Catalogue {
                namespace: catalogue.id(),
                epoch: catalogue.epoch(),
            });
        }
        // In two steps: what is returned borrows the whole.
        if self.reports.has_news()
            && let Some((node, report)) = self.reports.poll_news()
        {
            return Some(Event::Reported { node, report });
        }
        if let Some(Moved { call, to, result }) = self.moves.poll_news() {
            return Some(Event::Moved { call, to, result });
        }
        let job = self.runs.jobs.poll_finished()?;
        Some(Event::Finished {
            call: job.call,
            result: job.state.result()?.map(|()| &job.message[..]),
            trap: job.trap,
            blamed: job.blamed(),
            steps: &job.steps,
            took: job.took,
        })
    }

    /// When [`handle`](Self::handle) must be called with [`Input::Timeout`] at the latest, and
    /// why.
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        let mut earliest = Earliest::new();
        self.runs.note_timeouts(&mut earliest);
        earliest.note(self.exchanges.poll_timeout(), Reason::RemoteCall);
        earliest.note(self.moves.poll_timeout(), Reason::Move);
        earliest.note(self.ground.mesh.poll_timeout(), Reason::Hello);
        earliest.get()
    }

    /// Checks, in a debug build, what must hold between inputs.
    ///
    /// # Panics
    /// If something does not.
    pub fn assert_invariants(&self) {
        if !cfg!(debug_assertions) {
            return;
        }
        self.runs.assert_invariants();
        self.servings.assert_invariants();
        self.moves.assert_invariants();
        let jobs = &self.runs.jobs;
        self.exchanges
            .assert_invariants(|at| jobs[at].state == State::Remote);
        debug_assert_eq!(
            self.ground.cache.reservations(),
            self.runs.reservations(),
            "every reservation belongs to an activation"
        );
    }

    fn handle_timeout(&mut self, now: Instant) {
        let archived = self.servings.archive().into_iter();
        let archived = archived.flat_map(Archive::catalogues);
        let held = archived.chain(self.runs.subscriptions.catalogues());
        let notes = held.filter(|catalogue| catalogue.epoch() > 0);
        let notes = notes.map(|catalogue| EpochNote {
            namespace: catalogue.id(),
            epoch: catalogue.epoch(),
        });
        let Ground { mesh, counters, .. } = &mut self.ground;
        let spoke = mesh.handle_timeout(now, notes, counters);
        let post = &mut self.ground.post(now);
        if spoke {
            let registry = self.runs.subscriptions.first_registry();
            self.reports.handle_hello(post, registry);
        }
        self.runs.handle_timeout(post);
        while let Some((at, silent)) = self.exchanges.poll_due(post) {
            if silent {
                self.exchanges.forget(at);
                self.runs.end(post, at, Err(Fault::Unreachable));
            } else {
                self.exchanges.ask(post, at, &self.runs.jobs[at]);
            }
        }
        if let Some(at) = self.moves.job() {
            self.moves.handle_timeout(post, &self.runs.jobs[at]);
        }
        self.carry(now);
        self.runs.end_overdue(&mut self.ground.post(now));
    }

    fn deliver(&mut self, now: Instant, delivery: Delivery<'_>) {
        let Delivery { origin, hops, .. } = delivery;
        let post = &mut self.ground.post(now);
        match delivery.message {
            Message::Search(search) => {
                self.servings
                    .handle_search(post, origin, delivery.flooded, search);
            }
            Message::MetadataRequest(request) => {
                self.servings.handle_metadata_request(post, origin, request);
            }
            Message::Fetch(fetch) => {
                let holding = holding(&self.runs, &self.moves, origin, fetch.object);
                self.servings.handle_fetch(post, origin, fetch, holding);
            }
            Message::Found(found) => self.runs.handle_found(post, origin, hops, found),
            Message::Metadata(metadata) => self.runs.handle_metadata(post, metadata),
            Message::Data(data) => {
                if !self.runs.handle_data(post, &data) {
                    post.unexpected();
                }
            }
            Message::Refuse(refuse) => {
                post.counters.refusals += 1;
                self.runs.handle_refusal(post, refuse.request);
            }
            Message::Report(report) => self.reports.handle_report(origin, &report),
            Message::Hello(hello) => {
                post.mesh.hear_registries(now, origin, &hello);
                for note in hello.epochs() {
                    self.runs.subscriptions.handle_epoch(post, origin, note);
                }
            }
            Message::Call(call) => self.serve_call(now, origin, call),
            Message::Return(answer) => self.handle_return(now, origin, answer),
            Message::Move(order) => self.serve_move(now, origin, order),
            Message::Offer(offer) => self.serve_offer(now, origin, &offer),
            Message::Go(go) => self.serve_go(now, origin, go),
        }
    }

    /// Carries what the parts say to one another until they have nothing more to say.
    fn carry(&mut self, now: Instant) {
        loop {
            let post = &mut self.ground.post(now);
            self.runs.carry(post);
            if let Some(happened) = self.runs.poll() {
                self.happened(now, happened);
            } else if let Some(passed) = self.moves.poll_passed() {
                self.passed(now, passed);
            } else if let Some(at) = self.moves.waiting()
                && let Some(next) = self.runs.leave(post, at)
            {
                let catalogues = self.runs.subscriptions.catalogues().map(Catalogue::id);
                let job = &self.runs.jobs[at];
                // Together as long as the shorter: a job has an epoch for each namespace.
                let epochs = catalogues.zip(job.epochs.iter().copied());
                self.moves.depart(post, job, next, epochs);
            } else {
                break;
            }
        }
        self.assert_invariants();
    }

    /// Something about a job concerns other nodes.
    fn happened(&mut self, now: Instant, happened: Happened) {
        let post = &mut self.ground.post(now);
        match happened {
            Happened::Ended(at, result) => {
                let job = &self.runs.jobs[at];
                let fault = result.err().unwrap_or(Fault::UnknownCall);
                self.exchanges.forget(at);
                self.moves.ended(post, at, job.call, fault);
                exchanges::answer(post, job);
            }
            Happened::Arriving(Ok(())) => {
                if let Some(at) = self.moves.job() {
                    self.moves.handle_module(post, &self.runs.jobs[at]);
                }
            }
            Happened::Arriving(Err(fault)) => self.moves.decline(fault),
            Happened::Image(end) => self.moves.handle_fetched(post, end),
        }
    }

    /// The job that moves has come further.
    fn passed(&mut self, now: Instant, passed: Passed) {
        let post = &mut self.ground.post(now);
        match passed {
            Passed::Failed(at, fault) => self.runs.end(post, at, Err(fault)),
            Passed::Stays(at, next) => self.runs.stay(post, at, next),
            Passed::Arrived(at) => {
                let next = self.runs.unpack(post, at);
                self.moves.handle_unpacked(post, &self.runs.jobs[at], next);
            }
            Passed::Lacks(at, depth) => self.runs.acquire_for(post, at, depth),
            Passed::Ready(at, number) => {
                self.runs.jobs.set_number(at, number);
                exchanges::answer(post, &self.runs.jobs[at]);
            }
            Passed::Declined(at, fault) => {
                self.runs.decline(post, at, fault);
                exchanges::answer(post, &self.runs.jobs[at]);
            }
        }
    }

    /// Moves the job at `at`, or has it moved by the node that runs it.
    fn order_move(&mut self, now: Instant, at: JobAt, to: NodeId) -> Result<(), Fault> {
        if to == NodeId::EVERYONE {
            return Err(Fault::Unreachable);
        }
        if let Some(heard) = self.exchanges.redirect(at, to) {
            self.heard(now, at, heard);
            return Ok(());
        }
        let call = self.runs.jobs[at].call;
        let post = &self.ground.post(now);
        self.moves.order(post, (at, call), to)?;
        let leaves = self.moves.waiting() == Some(at);
        self.runs.jobs.set_leaves(at, leaves);
        Ok(())
    }

    fn accept_remote(
        &mut self,
        now: Instant,
        to: NodeId,
        request: CallRequest<'_>,
    ) -> Result<CallId, Fault> {
        let post = &mut self.ground.post(now);
        let export = ExportName::new(request.export).ok_or(Fault::UnknownExport)?;
        let number = post.mesh.next_sequence();
        let message = Message::Call(Call {
            request: number,
            deadline_ms: 0,
            name: request.name,
            export: export.as_str(),
            args: request.args,
        });
        if !post.mesh.fits(now, to, &message) {
            return Err(Fault::ValuesTooLarge);
        }
        let deadline = request.deadline.unwrap_or(exchanges::DEFAULT_DEADLINE);
        let opening = Opening {
            name: request.name,
            export,
            args: request.args,
            caller: None,
            deadline: Some(now + deadline),
            state: State::Remote,
        };
        let at = self.runs.open(now, opening)?;
        let job = &self.runs.jobs[at];
        self.exchanges.begin(at, Exchange::call(now, to, number));
        self.exchanges.ask(post, at, job);
        Ok(job.call)
    }

    /// Another node calls.
    fn serve_call(&mut self, now: Instant, origin: NodeId, call: Call<'_>) {
        let caller = (origin, call.request);
        let post = &mut self.ground.post(now);
        let known = self.runs.jobs.by_caller(caller);
        let request = CallRequest {
            name: call.name,
            export: call.export,
            args: call.args,
            deadline: Some(Duration::from_millis(call.deadline_ms.into())),
        };
        let accepted = match known {
            Some(at) => Ok(at),
            None => self.runs.accept(post, request, Some(caller)),
        };
        self.carry(now);
        let post = &mut self.ground.post(now);
        match accepted.map(|at| &self.runs.jobs[at]) {
            // A new job that has ended already was answered when it did.
            Ok(job) if known.is_none() && !job.state.live() => {}
            Ok(job) => exchanges::answer(post, job),
            Err(fault) => exchanges::send(post, caller, Answer::Failed(fault, None)),
        }
    }

    /// Another node answers.
    fn handle_return(&mut self, now: Instant, origin: NodeId, answer: Return<'_>) {
        let post = &mut self.ground.post(now);
        if let Some(at) = self.moves.job() {
            let job = &self.runs.jobs[at];
            match self.moves.handle_offer_answer(post, origin, &answer, job) {
                OfferAnswer::Other => {}
                OfferAnswer::Taken => return,
                OfferAnswer::HandedOver(gone) => {
                    self.runs.hand_over(post, at);
                    self.exchanges.begin(at, Exchange::gone(gone));
                }
            }
        }
        let Some(at) = self.exchanges.find(origin, answer.request) else {
            post.unexpected();
            return;
        };
        let heard = self.exchanges.handle_return(post, at, answer.answer);
        if let Heard::Ended(result) = heard {
            self.runs.end_remote(post, at, result);
        } else {
            self.heard(now, at, heard);
        }
    }

    /// Something was heard of a job that another node works on.
    fn heard(&mut self, now: Instant, at: JobAt, heard: Heard<'_>) {
        let post = &mut self.ground.post(now);
        let job = &self.runs.jobs[at];
        match heard {
            Heard::Works | Heard::Ended(_) => {}
            Heard::Ask => self.exchanges.ask(post, at, job),
            Heard::Redirected(to, result) => {
                let call = job.call;
                self.moves.note(Moved { call, to, result });
            }
            Heard::Stray => post.unexpected(),
        }
    }

    /// Another node wants its call to run elsewhere.
    fn serve_move(&mut self, now: Instant, origin: NodeId, order: Move) {
        let caller = (origin, order.request);
        let Some(at) = self.runs.jobs.by_caller(caller) else {
            let answer = Answer::Refused(Fault::UnknownCall, None);
            exchanges::send(&mut self.ground.post(now), caller, answer);
            return;
        };
        if !self.runs.jobs[at].state.live() {
            exchanges::answer(&mut self.ground.post(now), &self.runs.jobs[at]);
            return;
        }
        let answer = match self.order_move(now, at, order.to) {
            Ok(()) => Answer::Moving(order.to),
            Err(fault) => Answer::Refused(fault, None),
        };
        exchanges::send(&mut self.ground.post(now), caller, answer);
    }

    /// Another node offers a job.
    fn serve_offer(&mut self, now: Instant, origin: NodeId, offer: &Offer) {
        let caller = (origin, offer.request);
        let post = &mut self.ground.post(now);
        if let Some(at) = self.runs.jobs.by_caller(caller) {
            exchanges::answer(post, &self.runs.jobs[at]);
            return;
        }
        let timed = offer.deadline_ms != Offer::NO_DEADLINE;
        let left = Duration::from_millis(offer.deadline_ms.into());
        let admitted = self.moves.admit(post, offer).and_then(|()| {
            if !self.runs.image_is_free() {
                return Err(Fault::Busy);
            }
            self.runs
                .open(now, Opening::arrival(caller, timed.then_some(now + left)))
        });
        match admitted {
            Ok(at) => self.moves.take_in(post, at, origin, offer),
            Err(fault) => {
                post.counters.moves_refused += 1;
                exchanges::send(post, caller, Answer::Refused(fault, None));
            }
        }
    }

    /// Another node says go, or asks how the job stands.
    fn serve_go(&mut self, now: Instant, origin: NodeId, go: Go) {
        let caller = (origin, go.request);
        // Whether a job ran that this node does not know, nobody knows any more.
        let disowned = Answer::Failed(Fault::Unreachable, None);
        let post = &mut self.ground.post(now);
        let Some(at) = self.runs.jobs.by_caller(caller) else {
            exchanges::send(post, caller, disowned);
            return;
        };
        let job = &self.runs.jobs[at];
        let ours = job.number == Some(go.number);
        if let State::Arriving(_) = job.state {
            if ours {
                self.settle(now, at);
            } else {
                // The number is of another life of this node. This one cannot be told to go any
                // more.
                self.moves.decline(Fault::Unreachable);
                self.carry(now);
                exchanges::send(&mut self.ground.post(now), caller, disowned);
            }
        } else if let (State::Declined(_), false) = (job.state, ours) {
            exchanges::send(post, caller, disowned);
        } else {
            exchanges::answer(post, job);
        }
    }

    /// The arriving job at `at` is this node's: it runs.
    fn settle(&mut self, now: Instant, at: JobAt) {
        let post = &mut self.ground.post(now);
        let Some(settled) = self.moves.settle(post) else {
            return;
        };
        let home = settled.home;
        let waits = home.and_then(|(node, request)| self.exchanges.find(node, request));
        self.runs.settle(at, settled.next);
        if let Some(waits) = waits {
            let heard = self.exchanges.redirected(waits, None, Ok(()));
            self.heard(now, waits, heard);
            self.exchanges.forget(waits);
            self.runs.jobs.rejoin(at, waits);
        } else {
            post.counters.calls += 1;
        }
        let answered = waits.unwrap_or(at);
        exchanges::answer(&mut self.ground.post(now), &self.runs.jobs[answered]);
    }
}

/// What there is of an object that the node `to` fetches.
fn holding<'h>(runs: &'h Runs, moves: &Moves, to: NodeId, object: Object) -> Holding<'h> {
    let catalogue = match object {
        Object::Catalogue { namespace, .. } => runs.subscriptions.catalogue(namespace),
        Object::Module(_) | Object::Job { .. } => None,
    };
    let offered = moves.offers(to, object);
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
