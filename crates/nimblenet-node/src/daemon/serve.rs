//! CoAP requests and their answers.

use nimblenet_core::{CallId, Catalogue};
use nimblenet_tasklet::{Delta, Fault, Name, NamespaceId, abi};

use super::registry::{self, Done};
use super::resources::{self, Action};
use super::run::{Body, Waiting};
use super::{Call, CallReport};
use crate::coap::{Code, Format, RequestId, Response};
use crate::store::Refusal;

/// Links of `.well-known/core`; catalogues have the rest.
const MAX_LINKS: usize = 1024;

impl Body {
    /// Takes up the requests that have come in.
    pub(super) fn serve_requests(&mut self) {
        while let Some((id, request)) = self.coap.poll_request() {
            let action = Action::of(request);
            let response = action.map_or_else(Some, |action| self.act(id, action));
            if let Some(response) = response {
                self.coap.respond(self.clock.now(), id, &response);
            }
        }
    }

    /// Does what a request asks for; answers at once if that takes no time.
    fn act(&mut self, id: RequestId, action: Action) -> Option<Response> {
        match action {
            Action::Call {
                name,
                export,
                args,
                explain,
                at,
            } => {
                let call = Call {
                    name,
                    export,
                    args,
                    deadline: None,
                    at,
                };
                let detail = self.mismatch(&call);
                let refused = detail.clone();
                let waiting = Waiting::Coap {
                    id,
                    explain,
                    detail,
                };
                let fault = self.call(&call, self.timeouts.call, waiting).err()?;
                let report = CallReport::refused(fault);
                Some(resources::ended(
                    &report,
                    explain,
                    detail_of(fault, refused.as_ref()),
                ))
            }
            Action::Discover => Some(self.links()),
            Action::Status => Some(resources::status(&self.status())),
            Action::Jobs => {
                let mut held: Vec<_> = self.node.calls().collect();
                held.sort_by_key(|job| job.call);
                Some(resources::jobs(self.clock.now(), &held))
            }
            Action::Move { call, to } => {
                let moved = self.node.move_call(self.clock.now(), call, to);
                if let Err(fault) = moved {
                    return Some(resources::moved(Err(fault)));
                }
                self.moves.push((call, id));
                self.drain();
                None
            }
            Action::Namespaces => Some(self.namespaces()),
            Action::Delta { namespace, from } => Some(self.delta(&namespace, from)),
            Action::Module { digest } => {
                let archive = self.node.archive();
                let module = archive.and_then(|archive| archive.module(&digest));
                Some(match module {
                    Some(module) => Response::new(Code::CONTENT, Format::BYTES, module.to_vec()),
                    None => not_found("unknown-module", "no such module is published here"),
                })
            }
            Action::Publish {
                namespace,
                key,
                delta,
            } => self.store(
                id,
                registry::Task::Publish {
                    namespace,
                    key,
                    delta,
                },
            ),
            Action::Stage { digest, module } => {
                self.store(id, registry::Task::Stage { digest, module })
            }
        }
    }

    /// What is wrong with the arguments of a call, in more words than the fault has.
    fn mismatch(&self, call: &Call) -> Option<String> {
        let namespace = NamespaceId::of(&call.name.namespace);
        let entry = self.node.catalogue(namespace)?.find(&call.name.name)?;
        let signature = entry.terms.export(&call.export)?.signature;
        let error = abi::check_args(&signature, &call.args).err()?;
        Some(format!("{error}: {signature}"))
    }

    fn store(&mut self, id: RequestId, task: registry::Task) -> Option<Response> {
        let Some(store) = &self.store else {
            let message = "this node is no registry";
            return Some(not_found("not-a-registry", message));
        };
        if self.stopping.is_some() {
            let fault = Fault::Stopped;
            let code = Code::UNAVAILABLE;
            return Some(resources::failure(
                code,
                fault.code(),
                "the registry is stopping",
            ));
        }
        store.give(id, task);
        None
    }

    /// Takes up what the store has done.
    pub(super) fn stored(&mut self, id: RequestId, result: Result<Done, Refusal>) {
        let response = match result {
            Ok(Done::Staged) => Response::empty(Code::CHANGED),
            Ok(Done::Published(publication)) => {
                self.take_up(&publication);
                resources::published(&publication.outcome)
            }
            Err(refusal) => {
                if let Refusal::Storage(error) = &refusal {
                    tracing::error!(%error, "a publication failed");
                }
                resources::refusal(&refusal)
            }
        };
        self.coap.respond(self.clock.now(), id, &response);
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
        let now = self.clock.now();
        for (_, id) in self.moves.extract_if(.., |(waits, _)| *waits == call) {
            self.coap.respond(now, id, &resources::moved(result));
        }
    }

    /// Reports the end of a call to who waits for it.
    pub(super) fn finish(&mut self, call: CallId, report: CallReport) {
        self.finish_move(call, Err(Fault::UnknownCall));
        match self.calls.remove(&call) {
            Some(Waiting::Coap {
                id,
                explain,
                detail,
            }) => {
                let fault = report.result.as_ref().err().copied();
                let detail = fault.and_then(|fault| detail_of(fault, detail.as_ref()));
                let response = resources::ended(&report, explain, detail);
                self.coap.respond(self.clock.now(), id, &response);
            }
            Some(Waiting::Handle(reply)) => {
                let _ = reply.send(report);
            }
            None => {}
        }
    }

    fn catalogue(&self, namespace: &Name) -> Option<&Catalogue> {
        self.node.catalogue(NamespaceId::of(namespace))
    }

    fn links(&self) -> Response {
        let tasklets = self.keys.keys().flat_map(|namespace| {
            let entries = self.catalogue(namespace).into_iter();
            let names = entries.flat_map(|catalogue| catalogue.entries().map(|entry| entry.name));
            names.map(move |name| (namespace, name))
        });
        resources::links(tasklets.take(MAX_LINKS), self.store.is_some())
    }

    fn namespaces(&self) -> Response {
        let held = self.keys.iter().map(|(name, key)| {
            let catalogue = self.catalogue(name);
            let epoch = catalogue.map_or(0, Catalogue::epoch);
            let entries = catalogue.map_or(0, Catalogue::count);
            (*name, epoch, entries, Some(*key))
        });
        resources::namespaces(&held.collect::<Vec<_>>())
    }

    fn delta(&self, namespace: &Name, from: u32) -> Response {
        let Some(catalogue) = self.catalogue(namespace) else {
            return not_found(
                "unknown-namespace",
                "no catalogue of that namespace is here",
            );
        };
        if from >= catalogue.epoch() {
            return Response::empty(Code::VALID);
        }
        let mut bytes = vec![0; catalogue.delta_bytes()];
        match catalogue.encode_delta(from, &mut bytes) {
            Some(len) => {
                bytes.truncate(len);
                Response::new(Code::CONTENT, Format::CBOR, bytes)
            }
            None => Response::empty(Code::INTERNAL),
        }
    }
}

/// Details are about arguments.
fn detail_of(fault: Fault, detail: Option<&String>) -> Option<&str> {
    let detail = detail.filter(|_| fault == Fault::WrongArguments);
    detail.map(String::as_str)
}

fn not_found(code: &str, message: &str) -> Response {
    resources::failure(Code::NOT_FOUND, code, message)
}
