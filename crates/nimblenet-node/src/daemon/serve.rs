//! Requests and their replies.

use nimblenet_core::{CallId, CallRequest, Catalogue};
use nimblenet_tasklet::api::Problem;
use nimblenet_tasklet::{Delta, Digest, Fault, Name, NamespaceId, NodeId, TaskletName, TaskletRef};

use super::api::{Answer, Filter, Refused, Reply, Request};
use super::registry::{self, Done};
use super::run::{Service, Waiting};
use super::watch::Ended;
use super::{Cached, Call, CallReport};
use crate::remote::NamespaceSummary;
use crate::store::Refusal;

impl Service {
    /// Does what a request asks for. The answer gets its reply at once if that takes no time.
    pub(super) fn serve(&mut self, request: Request, answer: Answer) {
        match request {
            Request::Call { call, explain } => self.call(Waiting {
                call,
                explain,
                answer,
            }),
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
            Request::Job { call } => answer.give(self.job(call).0),
            Request::Watch { watched, seen } => self.watch(watched, seen, answer),
            Request::Move { call, to } => self.begin_move(call, to, answer),
            Request::Namespaces => answer.give(self.namespaces()),
            Request::Delta { namespace, from } => answer.give(self.delta(&namespace, from)),
            Request::Module { digest } => answer.give(self.module(&digest)),
            Request::Publish {
                namespace,
                key,
                delta,
            } => self.store(
                answer,
                registry::Task::Publish {
                    namespace,
                    key,
                    delta,
                },
            ),
            Request::Stage { digest, module } => {
                self.store(answer, registry::Task::Stage { digest, module });
            }
        }
    }

    fn call(&mut self, waiting: Waiting) {
        let accepted = if self.stopping.is_some() {
            Err(Fault::Stopped)
        } else {
            self.begin(&waiting.call)
        };
        match accepted {
            Ok(id) => drop(self.calls.insert(id, waiting)),
            Err(fault) => {
                let (place, detail) = self.blame(fault, &waiting.call, None);
                let refused = Reply::refused_call(fault, place, detail);
                waiting.answer.give(refused);
            }
        }
        self.drain();
    }

    fn begin(&mut self, call: &Call) -> Result<CallId, Fault> {
        let request = CallRequest {
            name: call.name,
            export: &call.export,
            args: &call.args,
            deadline: Some(call.deadline.unwrap_or(self.timeouts.call)),
        };
        let now = self.clock.now();
        match call.at {
            Some(node) => self.node.call_at(now, node, request),
            None => self.node.call(now, request),
        }
    }

    /// The words on a call that failed: where, and more than the fault says.
    fn blame(
        &self,
        fault: Fault,
        call: &Call,
        blamed: Option<TaskletName>,
    ) -> (String, Option<String>) {
        let failed = blamed.unwrap_or(call.name);
        let catalogue = self.catalogue(&failed.namespace);
        let detail = self.facts.detail(fault, call, failed, catalogue);
        (self.facts.place(call, blamed), detail)
    }

    fn begin_move(&mut self, call: CallId, to: NodeId, answer: Answer) {
        match self.node.move_call(self.clock.now(), call, to) {
            Ok(()) => {
                self.moves.push((call, answer));
                self.drain();
            }
            Err(fault) => answer.give(Reply::Moved(Err(fault))),
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

    /// Takes up what the store has done.
    pub(super) fn stored(&mut self, answer: Answer, result: Result<Done, Refusal>) {
        match result {
            Ok(Done::Staged) => answer.give(Reply::Staged),
            Ok(Done::Published(publication)) => {
                self.take_up(&publication);
                answer.give(Reply::Published(publication.outcome));
            }
            Err(refusal) => {
                if let Refusal::Storage(error) = &refusal {
                    tracing::error!(%error, "a publication failed");
                }
                answer.give(Refused::new(refusal.problem(), refusal.to_string()));
            }
        }
    }

    /// Serves a publication that is safely stored.
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
        let modules = publication.modules.iter().map(|module| &module[..]);
        if let Err(error) = self.node.publish(self.clock.now(), &delta, modules) {
            tracing::error!(%namespace, %error, "what is stored cannot be served");
        }
        self.drain();
    }

    /// Reports the end of a move to who waits for it.
    pub(super) fn finish_move(&mut self, call: CallId, result: Result<(), Fault>) {
        for (_, answer) in self.moves.extract_if(.., |(waits, _)| *waits == call) {
            answer.give(Reply::Moved(result));
        }
    }

    /// Reports the end of a call to who waits for it.
    pub(super) fn finish(&mut self, id: CallId, report: CallReport) {
        self.finish_move(id, Err(Fault::UnknownCall));
        let Some(waiting) = self.calls.remove(&id) else {
            return;
        };
        let fault = report.result.as_ref().err();
        let blame = fault.map(|fault| self.blame(*fault, &waiting.call, report.blamed));
        let (place, detail) = blame.unwrap_or_default();
        let ended = Ended {
            report,
            place,
            detail,
        };
        self.results.keep(id, ended.clone());
        waiting.answer.give(ended.reply(waiting.explain));
    }

    /// Answers the calls in progress, and who waits for moves, as stopped.
    pub(super) fn give_up_calls(&mut self) {
        for (_, answer) in core::mem::take(&mut self.moves) {
            answer.give(Reply::Moved(Err(Fault::Stopped)));
        }
        let calls: Vec<CallId> = self.calls.keys().copied().collect();
        for call in calls {
            self.finish(call, CallReport::refused(Fault::Stopped));
        }
    }

    fn catalogue(&self, namespace: &Name) -> Option<&Catalogue> {
        self.node.catalogue(NamespaceId::of(namespace))
    }

    fn discovery(&self, filters: Vec<Filter>) -> Reply {
        let tasklets = self.keys.keys().flat_map(|namespace| {
            let entries = self.catalogue(namespace).into_iter();
            let names = entries.flat_map(|catalogue| catalogue.entries().map(|entry| entry.name));
            names.map(move |name| TaskletName {
                namespace: *namespace,
                name,
            })
        });
        Reply::Discovery {
            tasklets: tasklets.collect(),
            registry: self.store.is_some(),
            filters,
        }
    }

    fn cache(&self) -> Reply {
        let name = |tasklet: TaskletRef| {
            let catalogues = self.keys.keys().filter_map(|name| self.catalogue(name));
            let mut holding = catalogues.filter(|held| held.id() == tasklet.namespace);
            let catalogue = holding.next()?;
            Some(TaskletName {
                namespace: *catalogue.name(),
                name: catalogue.entry(tasklet.number)?.name,
            })
        };
        let modules = self.node.cache().modules().filter_map(|module| {
            let name = name(module.tasklet)?;
            Some(Cached { name, module })
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
        let archive = self.node.archive();
        match archive.and_then(|archive| archive.module(digest)) {
            Some(module) => Reply::Module(module.to_vec()),
            None => {
                let message = "no such module is published here";
                Refused::new(Problem::UnknownModule, message).into()
            }
        }
    }
}
