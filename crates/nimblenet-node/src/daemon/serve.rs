//! Requests and their replies.

use nimblenet_core::{
    CallId, CallKey, CallRequest, Catalogue, Instant, Progress, RESULTS_KEPT, Standing,
};
use nimblenet_tasklet::api::Problem;
use nimblenet_tasklet::{Delta, Digest, Fault, Name, NamespaceId, NodeId, TaskletName, TaskletRef};

use super::api::{self, Answer, Filter, NotMoved, Recorded, Refused, Reply, Request, Wanted};
use super::registry::{self, Done};
use super::run::{Moved, Service, Waiting};
use super::watch::Ended;
use super::{Cached, CallReport};
use crate::remote::NamespaceSummary;
use crate::store::Refusal;
use crate::triggers::{self, Trigger};

impl Service {
    /// Serves a request. Gives the reply at once, unless the request takes time.
    pub(super) fn serve(&mut self, request: Request, answer: Answer) {
        if self.store.is_some() && request.is_about_runs_at(self.node.id()) {
            let message = "this is a registry, which runs no tasklets; ask a node";
            answer.give(Refused::new(Problem::NotANode, message));
            return;
        }
        match request {
            Request::Call { call, wanted } => self.call(Waiting {
                call,
                claimed: None,
                wanted,
                moved_to: None,
                placed_at: None,
                answer,
            }),
            Request::Claim { call, key } => self.call(Waiting {
                call,
                claimed: Some(key),
                wanted: Wanted::default(),
                moved_to: None,
                placed_at: None,
                answer,
            }),
            Request::Cancel { name, key } => self.cancel(name, key, answer),
            Request::CancelJob { call } => self.cancel_job(call, answer),
            Request::Discovery { filters } => answer.give(self.discovery(filters)),
            Request::Status => answer.give(Reply::Status(Box::new(self.status()))),
            Request::Jobs => {
                let (now, jobs) = (self.clock.now(), self.jobs());
                answer.give(Reply::Jobs { now, jobs });
            }
            Request::Cache => answer.give(self.cache()),
            Request::Logs { from } => {
                self.find_calls_of_lines();
                answer.give(Reply::Logs(self.lines.after(from)));
            }
            Request::Triggers { from } => answer.give(self.recorded(from)),
            Request::Job { call } => answer.give(self.job(call).0),
            Request::Watch { watched, seen } => self.watch(watched, seen, answer),
            Request::Move { call, to } => self.begin_move(call, to, answer),
            Request::Drain { drains } => {
                self.node.drain(self.clock.now(), drains);
                tracing::info!(drains, "told whether to give its jobs to its neighbours");
                answer.give(Reply::Drains);
                self.drain();
            }
            Request::Flows => answer.give(self.flow_list()),
            Request::BeginFlow { name, plan } => self.begin_flow(name, plan, answer),
            Request::Items { name, from } => answer.give(self.items(&name, from)),
            Request::Give { name, value } => self.give_item(&name, &value, answer),
            Request::EndFlow { name } => self.end_flow(&name, answer),
            Request::Namespaces => answer.give(self.namespaces()),
            Request::Delta { namespace, from } => answer.give(self.delta(&namespace, from)),
            Request::History { namespace } => self.history(namespace, answer),
            Request::Past { namespace, epoch } => {
                self.store(answer, registry::Task::At { namespace, epoch });
            }
            Request::Module { digest } => answer.give(self.module(&digest)),
            Request::Publish {
                namespace,
                key,
                delta,
                anyway,
            } => {
                if let Some(behind) = self.behind(&namespace, &delta).filter(|_| !anyway) {
                    answer.give(behind);
                    return;
                }
                let task = registry::Task::Publish {
                    namespace,
                    key,
                    delta,
                };
                self.store(answer, task);
            }
            Request::Stage { digest, module } => {
                self.store(answer, registry::Task::Stage { digest, module });
            }
        }
    }

    /// Lists the epochs of a namespace that is named, or given by its short identifier: after a registry has
    /// lost its disk, that is all that it knows of what nodes hold.
    fn history(&mut self, namespace: Name, answer: Answer) {
        let short = short_identifier(&namespace).filter(|_| !self.keys.contains_key(&namespace));
        let is_it = |id: NamespaceId| self.keys.keys().find(|name| NamespaceId::of(name) == id);
        match short.map(|id| (id, is_it(id).copied())) {
            Some((id, None)) if self.store.is_some() => answer.give(Reply::History {
                epochs: Vec::new(),
                nodes: self.edge.holders.of(self.clock.now(), id),
            }),
            Some((_, Some(name))) => {
                self.store(answer, registry::Task::History { namespace: name });
            }
            _ => self.store(answer, registry::Task::History { namespace }),
        }
    }

    fn recorded(&self, from: u64) -> Reply {
        let config = self.node.config();
        Reply::Triggers(Box::new(Recorded {
            node: config.id,
            now: self.clock.now(),
            neighbours: self.node.neighbours().collect(),
            registry: config.namespaces.first().map(|held| held.registry),
            triggers: self.triggers.after(from),
        }))
    }

    fn call(&mut self, waiting: Waiting) {
        if let Some(refused) = self.is_registry(waiting.call.at) {
            waiting.answer.give(refused);
            return;
        }
        let accepted = if self.stopping.is_some() {
            Err(Fault::Stopped)
        } else {
            self.begin(&waiting)
        };
        match accepted {
            Ok(id) => drop(self.calls.insert(id, waiting)),
            Err(fault) => {
                self.note_trigger(&waiting, &CallReport::refused(fault));
                let (place, detail) = self.blame(fault, &waiting, None);
                let refused = Reply::refused_call(fault, place, detail);
                waiting.answer.give(refused);
            }
        }
        self.drain();
    }

    fn cancel(&mut self, name: TaskletName, key: CallKey, answer: Answer) {
        match self.node.cancel_for(self.clock.now(), key, &name) {
            Ok(()) => answer.give(Reply::Cancelled),
            Err(fault) => {
                let place = format!("{name} at node {}", self.node.id());
                let detail = "this client has no call with this number in progress here: it has ended, or was \
                              made at another node, which is the one to ask";
                answer.give(Reply::refused_call(fault, place, Some(detail.to_owned())));
            }
        }
        self.drain();
    }

    fn cancel_job(&mut self, call: CallId, answer: Answer) {
        match self.node.cancel(self.clock.now(), call) {
            Ok(()) => answer.give(Reply::Cancelled),
            Err(fault) => {
                let place = format!("call {} at node {}", call.0, self.node.id());
                answer.give(Reply::refused_call(fault, place, None));
            }
        }
        self.drain();
    }

    fn begin(&mut self, waiting: &Waiting) -> Result<CallId, Fault> {
        let call = &waiting.call;
        let request = CallRequest {
            name: call.name,
            export: &call.export,
            args: &call.args,
            deadline: Some(call.deadline.unwrap_or(self.timeouts.call)),
            priority: call.priority,
            client: call.client,
            key: call.key,
            from: call.from,
        };
        let now = self.clock.now();
        if let Some(key) = waiting.claimed {
            let at = call.at.unwrap_or(self.node.id());
            return self.node.claim(now, at, (key, request));
        }
        match call.at {
            Some(node) => self.node.call_at(now, node, request),
            None => self.node.call(now, request),
        }
    }

    /// Notes that a client's call has ended. Who only asks for a result has called elsewhere, or before.
    fn note_trigger(&mut self, waiting: &Waiting, report: &CallReport) {
        let call = &waiting.call;
        if waiting.claimed.is_some() {
            return;
        }
        let took = report.took.as_micros() as u64;
        self.triggers.note(Trigger {
            number: 0,
            at: Instant::from_micros(self.clock.now().as_micros().saturating_sub(took)),
            tasklet: call.name,
            client: call.client,
            took: report.took,
            waited: triggers::waited(&report.steps),
            fault: report.result.as_ref().err().copied(),
        });
    }

    /// Explains to the client where a call failed, and what the fault does not say.
    fn blame(
        &self,
        fault: Fault,
        waiting: &Waiting,
        blamed: Option<TaskletName>,
    ) -> (String, Option<String>) {
        let call = &waiting.call;
        let failed = blamed.unwrap_or(call.name);
        let catalogue = self.catalogue(&failed.namespace);
        let runs_it = waiting
            .moved_to
            .or(waiting.placed_at)
            .or(call.at)
            .filter(|at| *at != self.node.id());
        let detail = match runs_it {
            // A call made again that is not known is one of another tasklet.
            _ if fault == Fault::UnknownCall && call.key.is_some() => Some(
                "the client has called another tasklet here under this number; give the call a number of its own"
                    .to_owned(),
            ),
            _ if fault == Fault::UnknownCall && waiting.claimed.is_some() => Some(format!(
                "node {} knows no such call of this client: it was made at another node (`--at`, ?at=), the node \
                 has started anew, or it has kept the result for {} s and no longer",
                call.at.unwrap_or(self.node.id()),
                RESULTS_KEPT.as_secs(),
            )),
            Some(other) if fault == Fault::Unreachable && waiting.claimed.is_some() => {
                Some(format!(
                    "node {other}, where the call was made, is silent, or the node that was to run it was; ask \
                     again: the result is kept for {} s, and an answer that comes at once is how the call ended",
                    RESULTS_KEPT.as_secs(),
                ))
            }
            Some(other) if fault == Fault::Unreachable => Some(format!(
                "node {other}, which was to run it, or a node that it needs is silent; the call \
                 may have run there"
            )),
            None if fault == Fault::Busy && self.node.is_draining() => Some(
                "the node drains: it takes no new calls; ask another one, or let it go on with \
                 `nimblenet drain --end`"
                    .to_owned(),
            ),
            None if fault == Fault::TooLate => self.node.wanted_time().map(|wanted| {
                format!(
                    "as far as the node knows, it could end in {:.1} s at the soonest",
                    wanted.as_secs_f64(),
                )
            }),
            _ => {
                let first = self.numbered(waiting);
                let first = first.and_then(|it| self.results.detail(it, fault));
                first.or_else(|| self.facts.detail(fault, call, failed, catalogue))
            }
        };
        (self.facts.place(call, blamed), detail)
    }

    /// By what the client of a call asks for its result later, and the tasklet, if it has made the call here.
    fn numbered(&self, waiting: &Waiting) -> Option<(CallKey, TaskletName)> {
        let call = &waiting.call;
        let key = call.key.or(waiting.claimed);
        let is_here = call.at.is_none_or(|at| at == self.node.id());
        key.filter(|_| is_here).map(|key| (key, call.name))
    }

    /// Why a call cannot run at the node `at`, if that is a registry as far as this node knows.
    fn is_registry(&self, at: Option<NodeId>) -> Option<Refused> {
        let at = at?;
        let mut namespaces = self.facts.namespaces.iter();
        let (namespace, _) = namespaces.find(|(_, config)| config.registry == at)?;
        let message = format!(
            "node {at} is the registry of {namespace}, which runs no tasklets; name another node"
        );
        Some(Refused::new(Problem::NotANode, message))
    }

    fn begin_move(&mut self, call: CallId, to: NodeId, answer: Answer) {
        if let Some(refused) = self.is_registry(Some(to)) {
            answer.give(refused);
            return;
        }
        let own = self.node.id();
        let runs_here = |job: Progress| {
            job.call == call && !matches!(job.standing, Standing::At(_) | Standing::Moving)
        };
        if to == own && self.node.calls().any(runs_here) {
            let message = format!(
                "call {} runs at node {own} already; name another node",
                call.0
            );
            answer.give(Refused::new(Problem::BadRequest, message));
            return;
        }
        match self.node.move_call(self.clock.now(), call, to) {
            Ok(()) => {
                self.moves.push((call, to, answer));
                self.drain();
            }
            Err(fault) => {
                let detail = (fault == Fault::Busy).then(|| {
                    format!(
                        "another call moves to node {own} or from it, one at a time; `nimblenet \
                         ps` shows when it has moved"
                    )
                });
                answer.give(Reply::Moved(Err(NotMoved { fault, detail })));
            }
        }
    }

    fn store(&mut self, answer: Answer, task: registry::Task) {
        match &self.store {
            None => {
                let problem = Problem::NotARegistry;
                answer.give(Refused::new(problem, "this node is no registry"));
            }
            Some(_) if self.stopping.is_some() => {
                answer.give(Refused::new(Problem::Stopped, "the registry is stopping"));
            }
            Some(store) => store.give(answer, task),
        }
    }

    /// Why a publication would not reach all nodes: some hold an epoch that this registry has lost.
    fn behind(&self, namespace: &Name, delta: &[u8]) -> Option<Refused> {
        let delta = Delta::decode(delta).ok()?;
        let here = self.catalogue(namespace).map_or(0, Catalogue::epoch);
        let id = NamespaceId::of(namespace);
        let nodes = self.edge.holders.of(self.clock.now(), id);
        let (node, held) = nodes.into_iter().max_by_key(|(_, held)| *held)?;
        let lost = self.store.is_some() && held > here && delta.to > here && delta.to <= held;
        lost.then(|| {
            let message = format!(
                "node {node} holds epoch {held} of {namespace}, this registry {here}: it has lost \
                 something, and nodes would not take epoch {}; publish with --epoch-at-least {}",
                delta.to,
                held.saturating_add(1),
            );
            Refused::new(Problem::RegistryBehind, message)
        })
    }

    /// Handles an answer of the store.
    pub(super) fn stored(&mut self, answer: Answer, result: Result<Done, Refusal>) {
        match result {
            Ok(Done::Staged) => answer.give(Reply::Staged),
            Ok(Done::History(namespace, epochs)) => {
                let id = NamespaceId::of(&namespace);
                let nodes = self.edge.holders.of(self.clock.now(), id);
                answer.give(Reply::History { epochs, nodes });
            }
            Ok(Done::At(_, Some(catalogue))) => answer.give(Reply::Delta(Some(catalogue))),
            Ok(Done::At(epoch, None)) => {
                let message =
                    format!("epoch {epoch} is not kept; `nimblenet history` lists those that are");
                answer.give(Refused::new(Problem::UnknownEpoch, message));
            }
            Ok(Done::Published(publication)) => {
                if self.degraded.take().is_some() {
                    tracing::warn!("the disk takes publications again");
                }
                self.take_up(&publication);
                answer.give(Reply::Published(publication.outcome));
            }
            Err(refusal) => {
                if matches!(refusal, Refusal::Storage(_) | Refusal::ReadOnly) {
                    tracing::error!(error = %refusal, "a publication failed");
                    self.degraded = Some(refusal.to_string());
                }
                answer.give(Refused::new(refusal.problem(), refusal.to_string()));
            }
        }
    }

    /// Serves a publication from now on; the store has it on disk.
    fn take_up(&mut self, publication: &registry::Publication) {
        let (outcome, namespace) = (publication.outcome, publication.namespace);
        if !outcome.new {
            return;
        }
        if outcome.claimed {
            tracing::info!(%namespace, key = %publication.key, "the namespace is claimed");
        }
        tracing::info!(
            %namespace,
            epoch = outcome.epoch,
            entries = outcome.entries,
            modules = outcome.modules,
            "published"
        );
        self.keys.insert(namespace, publication.key);
        let delta = Delta::decode(&publication.delta).expect("the store has decoded it");
        // Its modules are in the store already.
        let modules = core::iter::empty();
        if let Err(error) = self.node.publish(self.clock.now(), &delta, modules) {
            tracing::error!(%namespace, %error, "what is stored cannot be served");
        }
        self.node.forget_modules(&publication.gone);
        self.drain();
    }

    /// Handles the end of a move.
    pub(super) fn moved(&mut self, moved: &Moved) {
        let (to, own) = (moved.to, self.node.id());
        if let (Ok(()), Some(waiting)) = (moved.result, self.calls.get_mut(&moved.call)) {
            waiting.moved_to = (to != own).then_some(to);
        }
        self.finish_move(moved.call, moved.result);
    }

    /// Answers the clients that wait for a move.
    fn finish_move(&mut self, call: CallId, result: Result<(), Fault>) {
        for (_, to, answer) in self.moves.extract_if(.., |(waits, ..)| *waits == call) {
            let not_moved = |fault| NotMoved {
                fault,
                detail: why_not_moved(to, fault),
            };
            answer.give(Reply::Moved(result.map_err(not_moved)));
        }
    }

    /// Answers the client of a call that has ended.
    pub(super) fn finish(&mut self, id: CallId, report: CallReport) {
        self.finish_move(id, Err(Fault::UnknownCall));
        let Some(waiting) = self.calls.remove(&id) else {
            return;
        };
        self.note_trigger(&waiting, &report);
        let fault = report.result.as_ref().err();
        let blame = fault.map(|fault| self.blame(*fault, &waiting, report.blamed));
        let (place, detail) = blame.unwrap_or_default();
        if let (Some(fault), Some(blamed)) = (fault, report.blamed) {
            let text = api::reason(*fault, &report, detail.as_deref());
            let now = self.clock.now();
            self.lines
                .note_failure(now, blamed, id, report.place, &text);
        }
        let ended = Ended {
            report,
            place,
            detail,
            numbered: self.numbered(&waiting),
        };
        self.results.keep(id, ended.clone());
        let lines = waiting.wanted.logs.then(|| self.lines.of(id));
        waiting
            .answer
            .give(ended.reply(waiting.wanted.explain, lines));
    }

    /// Answers all calls in progress and all moves as stopped.
    pub(super) fn give_up_calls(&mut self) {
        let moves: Vec<CallId> = self.moves.iter().map(|(call, ..)| *call).collect();
        for call in moves {
            self.finish_move(call, Err(Fault::Stopped));
        }
        let calls: Vec<CallId> = self.calls.keys().copied().collect();
        for call in calls {
            self.finish(call, CallReport::refused(Fault::Stopped));
        }
        // Those that run for other nodes are answered in the mesh.
        let of_others = self
            .node
            .calls()
            .filter(|progress| progress.caller.is_some());
        let of_others: Vec<CallId> = of_others.map(|progress| progress.call).collect();
        if of_others.is_empty() {
            return;
        }
        let now = self.clock.now();
        for call in of_others {
            self.node.stop(now, call);
        }
        self.drain();
    }

    fn catalogue(&self, namespace: &Name) -> Option<&Catalogue> {
        self.node.catalogue(NamespaceId::of(namespace))
    }

    fn discovery(&self, filters: Vec<Filter>) -> Reply {
        let tasklets = self.keys.keys().flat_map(|namespace| {
            let entries = self.catalogue(namespace).into_iter();
            let entries = entries.flat_map(Catalogue::entries);
            let tasklets = entries.filter(|entry| !entry.is_dictionary());
            tasklets.map(move |entry| TaskletName {
                namespace: *namespace,
                name: entry.name,
            })
        });
        Reply::Discovery {
            tasklets: tasklets.collect(),
            registry: self.store.is_some(),
            filters,
        }
    }

    fn cache(&self) -> Reply {
        let cache = self.node.cache();
        let entry = |tasklet: TaskletRef| {
            let catalogues = self.keys.keys().filter_map(|name| self.catalogue(name));
            let mut holding = catalogues.filter(|held| held.id() == tasklet.namespace);
            let catalogue = holding.next()?;
            Some((*catalogue.name(), catalogue.entry(tasklet.number)?))
        };
        let modules = cache.modules().filter_map(|module| {
            let (namespace, entry) = entry(module.tasklet)?;
            let digest = if entry.sequence == module.tasklet.sequence {
                Some(entry.digest)
            } else {
                // The catalogue does not have the digest of an older version.
                let bytes = cache.find(module.tasklet).map(|slot| cache.code(slot));
                bytes.map(Digest::of)
            };
            Some(Cached {
                name: TaskletName {
                    namespace,
                    name: entry.name,
                },
                module,
                loaded: digest.is_some_and(|digest| self.edge.workers.have_loaded(&digest)),
            })
        });
        let mut modules: Vec<Cached> = modules.collect();
        modules.sort_by_key(|cached| cached.name);
        Reply::Cache(modules)
    }

    fn namespaces(&self) -> Reply {
        let held = self.keys.iter().map(|(name, key)| {
            let catalogue = self.catalogue(name);
            NamespaceSummary {
                name: *name,
                epoch: catalogue.map_or(0, Catalogue::epoch),
                entries: catalogue.map_or(0, Catalogue::count),
                key: Some(*key),
                nodes: self.store.is_some().then(|| {
                    let id = NamespaceId::of(name);
                    self.edge.holders.of(self.clock.now(), id)
                }),
            }
        });
        Reply::Namespaces(held.collect())
    }

    fn delta(&self, namespace: &Name, from: u32) -> Reply {
        let Some(catalogue) = self.catalogue(namespace) else {
            let message = "no catalogue of that namespace is here";
            return Refused::new(Problem::UnknownNamespace, message).into();
        };
        if from >= catalogue.epoch() {
            return Reply::Delta(None);
        }
        let mut bytes = vec![0; catalogue.delta_bytes()];
        let len = catalogue.encode_delta(from, &mut bytes);
        bytes.truncate(len.expect("there is something newer, and as much room as it takes"));
        Reply::Delta(Some(bytes))
    }

    fn module(&self, digest: &Digest) -> Reply {
        if self.store.is_none() {
            let message = "this node is no registry, which has the modules";
            return Refused::new(Problem::NotARegistry, message).into();
        }
        let archive = self.node.archive();
        if let Some(module) = archive.and_then(|archive| archive.module(digest)) {
            return Reply::Module(module);
        }
        let (problem, message) = match archive.is_some_and(|archive| archive.names(digest)) {
            true => (
                Problem::StorageFailed,
                "the module cannot be read from the registry's disk",
            ),
            false => (Problem::UnknownModule, "no such module is published here"),
        };
        Refused::new(problem, message).into()
    }
}

/// The short identifier of a namespace that a text such as `0xa7f53974` is, as the log has it.
fn short_identifier(text: &Name) -> Option<NamespaceId> {
    let digits = text.as_str().strip_prefix("0x")?;
    let id = u32::from_str_radix(digits, 16).ok()?;
    (digits.len() == 8).then_some(NamespaceId(id))
}

/// What keeps a call from node `to`, if the fault alone does not say it.
fn why_not_moved(to: NodeId, fault: Fault) -> Option<String> {
    let goes_on = "the call goes on where it was";
    if fault == Fault::Busy {
        let what = format!("another call moves to node {to} or from it, or it has no place");
        Some(what)
    } else if fault == Fault::NoCatalogue {
        let what = format!("node {to} does not have yet the catalogues that the call began with");
        Some(format!("{what}; {goes_on}, move it again in a moment"))
    } else if fault == Fault::UnknownNamespace {
        let what =
            format!("node {to} does not have all namespaces whose tasklets the call may use");
        Some(format!("{what}; {goes_on}"))
    } else {
        None
    }
}
