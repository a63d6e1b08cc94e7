//! Explains to the caller why a call failed: which tasklet, at which node, and which limit or key
//! of the configuration with its value.

use alloc::collections::BTreeMap;

use nimblenet_core::{Catalogue, Limits};
use nimblenet_tasklet::{Capabilities, Entry, Fault, Name, NodeId, TaskletName, abi};

use super::Call;
use crate::config::NamespaceConfig;
use crate::device::Device;

/// The parts of a daemon's configuration that explain failures.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) id: NodeId,
    pub(super) limits: Limits,
    pub(super) arena_bytes: usize,
    pub(super) call_ms: u128,
    pub(super) natives: Vec<TaskletName>,
    pub(super) namespaces: BTreeMap<Name, NamespaceConfig>,
}

impl Facts {
    /// Which tasklet failed, and at which node. `blamed` is the callee that made it fail, if any.
    pub(super) fn place(&self, call: &Call, blamed: Option<TaskletName>) -> String {
        let (name, node) = (call.name, call.at.unwrap_or(self.id));
        match blamed.filter(|blamed| *blamed != name) {
            Some(blamed) => format!("{blamed}, which {name} calls, at node {node}"),
            None => format!("{name} at node {node}"),
        }
    }

    /// What the fault of the tasklet `failed` does not say: the limit that was reached, or what is
    /// available instead. `catalogue` is the catalogue of its namespace.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a fault that is not here says all there is to say"
    )]
    pub(super) fn detail(
        &self,
        fault: Fault,
        call: &Call,
        failed: TaskletName,
        catalogue: Option<&Catalogue>,
    ) -> Option<String> {
        let entry = catalogue.and_then(|held| held.find(&failed.name));
        let entry = entry.as_ref();
        match fault {
            Fault::WrongArguments if failed == call.name => mismatch(entry?, call),
            Fault::UnknownExport => Some(format!("it exports {}", exports(entry?))),
            Fault::ValuesTooLarge => Some(self.values(call)),
            // The limits of the other node count, which are not known here.
            _ if call.at.is_some_and(|at| at != self.id) => None,
            Fault::UnknownNamespace => Some(list("there are", self.namespaces.keys())),
            Fault::Unreachable | Fault::NoCatalogue => {
                let namespace = failed.namespace;
                let registry = self.namespaces.get(&namespace)?.registry;
                Some(format!("the registry of {namespace} is node {registry}"))
            }
            Fault::NoExecutor => Some(list("natives =", &self.natives)),
            Fault::CapabilityDenied => {
                let granted = self.namespaces.get(&failed.namespace)?.capabilities;
                let listed = entry?.terms.capabilities;
                let behind = self.natives.iter().find(|native| **native == failed);
                let needs = behind.and_then(Device::of).map(Device::needs);
                if let Some(needs) = needs.filter(|needs| !listed.covers(*needs)) {
                    let (needs, listed) = (names(needs), names(listed));
                    return Some(format!(
                        "the device needs {needs}; its manifest lists {listed}"
                    ));
                }
                if let (true, Some(callee)) =
                    (granted.covers(listed), self.denied(catalogue?, entry?))
                {
                    let (wanted, granted) = (names(callee.terms.capabilities), names(granted));
                    return Some(format!(
                        "{}, which it calls, wants {wanted}; granted are {granted}",
                        callee.name
                    ));
                }
                let wanted = names(listed);
                Some(format!("it wants {wanted}; granted are {}", names(granted)))
            }
            Fault::TooLarge | Fault::CacheFull => {
                Some(format!("cache_bytes = {}", self.limits.cache_bytes))
            }
            Fault::NoMemory => Some(format!(
                "arena_bytes = {}, {} of linear memory are its ceiling",
                self.arena_bytes, entry?.terms.memory_bytes
            )),
            Fault::OutOfFuel => Some(format!("its ceiling is {}", entry?.terms.fuel)),
            Fault::Busy => Some(format!("at most {} calls at a time", self.limits.jobs)),
            Fault::Deadline => Some(match call.deadline {
                Some(deadline) => format!("its client allows {} ms", deadline.as_millis()),
                None => format!("call_ms = {}", self.call_ms),
            }),
            Fault::TooDeep => Some(format!("at most {}", self.limits.depth)),
            Fault::TooManyCalls => Some(format!("at most {}", self.limits.calls)),
            _ => None,
        }
    }

    /// The tasklet of the same namespace that `entry` calls and that wants more than is granted.
    fn denied<'c>(&self, catalogue: &'c Catalogue, entry: &Entry<'_>) -> Option<Entry<'c>> {
        let granted = self.namespaces.get(catalogue.name())?.capabilities;
        let own = entry.imports().filter(|it| it.namespace == catalogue.id());
        let mut callees = own.filter_map(|import| catalogue.entry(import.number));
        callees.find(|callee| !granted.covers(callee.terms.capabilities))
    }

    fn values(&self, call: &Call) -> String {
        let most = self.limits.message_bytes;
        match call.args.len() {
            given if given > most => {
                format!("the arguments take {given} bytes; at most {most} are taken")
            }
            given if call.at.is_some() => {
                format!("the arguments take {given} bytes, more than a link on the route takes")
            }
            _ => format!("arguments and results take at most {most} bytes, or the tasklet's area"),
        }
    }
}

/// What is wrong with the arguments.
fn mismatch(entry: &Entry<'_>, call: &Call) -> Option<String> {
    let signature = entry.terms.export(&call.export)?.signature;
    let error = abi::check_args(&signature, &call.args).err()?;
    Some(format!("{error}: {signature}"))
}

fn exports(entry: &Entry<'_>) -> String {
    let names = entry
        .terms
        .exports()
        .map(|export| export.name.escape_debug());
    let names: Vec<String> = names.map(|name| name.to_string()).collect();
    names.join(", ")
}

fn list<T: ToString>(what: &str, items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    if items.is_empty() {
        return format!("{what} none");
    }
    format!("{what} {}", items.join(", "))
}

fn names(capabilities: Capabilities) -> String {
    let names: Vec<&str> = capabilities.iter().map(|it| it.name()).collect();
    if names.is_empty() {
        return "none".to_owned();
    }
    names.join(", ")
}
