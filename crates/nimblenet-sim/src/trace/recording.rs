//! Recordings of a mesh, from which traces are made.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use super::{
    Algorithm, CALLS_MAX, Chain, Contact, DURATION_S_MAX, FloorPlan, MODULE_BYTES_MAX,
    MODULE_BYTES_MIN, NodePlace, RUN_S_MAX, RegistryPlace, Schema, TaskSet, Trace, Trigger,
};

/// The shortest recording: a trace lasts a second at least.
pub const SHORTEST: Duration = Duration::from_secs(1);

/// What was seen of a mesh and of those who call it.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Recording {
    neighbours: BTreeMap<u16, BTreeSet<u16>>,
    registry: Option<u16>,
    tasklets: BTreeMap<String, Known>,
    seen: Vec<Seen>,
}

/// What is known of a tasklet.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Known {
    /// The length of its module; 0 if it is native.
    pub bytes: u32,
    /// What one run costs without the tasklets that it calls, in any unit; 0 if nobody knows.
    pub cost: u64,
    /// The full names of the tasklets that it calls, in order.
    pub calls: Vec<String>,
}

/// A call that was seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// The time from the start of the recording.
    pub at: Duration,
    /// The node that was called.
    pub node: u16,
    /// The client's number, if it gave one.
    pub client: Option<u32>,
    /// The full name of what was called.
    pub tasklet: String,
    /// How long it ran, without the time in which it waited for tasklets; none if it failed.
    pub ran: Option<Duration>,
}

/// A trace, and what of the recording it does not have.
#[derive(Clone, PartialEq, Debug)]
pub struct Made {
    /// The trace.
    pub trace: Trace,
    /// Sentences about what was left out or guessed.
    pub notes: Vec<String>,
}

/// Nobody called anything that a trace can have. So many calls of native tasklets, or of names that no
/// catalogue has, were left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NothingSeen(pub usize);

impl Recording {
    /// Notes the neighbours that a node has at the moment.
    pub fn note_node(&mut self, node: u16, neighbours: impl IntoIterator<Item = u16>) {
        self.neighbours.entry(node).or_default().extend(neighbours);
    }

    /// Notes which node is the registry.
    pub fn note_registry(&mut self, id: u16) {
        self.registry = Some(id);
    }

    /// Notes what a catalogue says of a tasklet.
    pub fn note_tasklet(&mut self, name: String, known: Known) {
        self.tasklets.insert(name, known);
    }

    /// Notes a call.
    pub fn note_call(&mut self, seen: Seen) {
        self.seen.push(seen);
    }

    /// How many calls were noted.
    pub fn calls(&self) -> usize {
        self.seen.len()
    }

    /// The full names of what was called.
    pub fn called(&self) -> BTreeSet<&str> {
        self.seen.iter().map(|seen| &seen.tasklet[..]).collect()
    }

    /// The trace of the first `lasted` of the recording, at least [`SHORTEST`].
    ///
    /// Each client that gives a number is a robot; at each node the clients that give none are one.
    /// A robot is in contact with a node from its first call there to its next call elsewhere. What a
    /// chain calls, and what is called from there, is called by the chain itself, once for each
    /// import. A chain's time is that of its quickest call and is shared out by cost.
    ///
    /// # Errors
    /// [`NothingSeen`] if no call is left.
    pub fn trace(mut self, lasted: Duration) -> Result<Made, NothingSeen> {
        let duration_s = lasted.max(SHORTEST).as_secs_f64().min(DURATION_S_MAX);
        let mut notes = Vec::new();
        self.seen.sort_by_key(|seen| seen.at);
        self.seen.retain(|seen| seen.at.as_secs_f64() <= duration_s);
        let left_out = self.drop_unknown(&mut notes);
        if self.seen.is_empty() {
            return Err(NothingSeen(left_out));
        }
        let (taskset, chain_of) = self.taskset(&mut notes);
        let robots = self.robots();
        let triggers = self.seen.iter().map(|seen| Trigger {
            at_s: seen.at.as_secs_f64(),
            robot: robots[&seen.robot()],
            node: Some(seen.node),
            chain: chain_of[&seen.tasklet],
        });
        let triggers: Vec<Trigger> = triggers.collect();
        let mut robot_chains = vec![BTreeSet::new(); robots.len()];
        for trigger in &triggers {
            robot_chains[trigger.robot as usize].insert(trigger.chain);
        }
        let registry = self.registry_place(&mut notes);
        let trace = Trace {
            schema: Schema::Trace1,
            seed: 1,
            floor: self.floor(&registry),
            duration_s,
            robots: robots.len() as u32,
            nodes: self.nodes(&registry),
            links: self.links(&registry),
            registry,
            taskset,
            robot_chains: robot_chains
                .into_iter()
                .map(|chains| chains.into_iter().collect())
                .collect(),
            contacts: contacts(&triggers, duration_s),
            triggers,
        };
        debug_assert!(trace.check().is_ok(), "{:?}", trace.check());
        Ok(Made { trace, notes })
    }

    /// Leaves out calls of what no catalogue has, or has no module. Returns how many.
    fn drop_unknown(&mut self, notes: &mut Vec<String>) -> usize {
        let (tasklets, before) = (&self.tasklets, self.seen.len());
        let fits = |seen: &Seen| tasklets.get(&seen.tasklet).is_some_and(|it| it.bytes > 0);
        self.seen.retain(fits);
        let left_out = before - self.seen.len();
        if left_out > 0 {
            notes.push(format!(
                "{left_out} calls of native tasklets, or of names that no catalogue has, are left out"
            ));
        }
        for seen in &self.seen {
            self.neighbours.entry(seen.node).or_default();
        }
        left_out
    }

    /// The tasklets below `name`, as if it called each of them itself.
    fn below(&self, name: &str, notes: &mut Vec<String>) -> Vec<String> {
        let mut below = Vec::new();
        // Catalogues may have circles; a node ends them by its limit on depth.
        let mut open: Vec<(&str, usize)> = vec![(name, 0)];
        while let Some((next, depth)) = open.pop() {
            let Some(known) = self.tasklets.get(next) else {
                continue;
            };
            if depth > 0 && known.bytes > 0 {
                if below.len() == CALLS_MAX {
                    notes.push(format!(
                        "{name} calls more than {CALLS_MAX} tasklets; the others count as its own"
                    ));
                    break;
                }
                below.push(next.to_owned());
            }
            if depth < CALLS_MAX {
                open.extend(known.calls.iter().rev().map(|call| (&call[..], depth + 1)));
            }
        }
        below
    }

    /// The chains that were called and what they call, and the chain of each name.
    fn taskset(&self, notes: &mut Vec<String>) -> (TaskSet, BTreeMap<String, u32>) {
        let mut chain_of = BTreeMap::new();
        let mut algorithms: BTreeMap<String, (u32, Vec<f64>)> = BTreeMap::new();
        let mut chains = Vec::new();
        for name in self.called() {
            let below = self.below(name, notes);
            let ran = self.quickest(name);
            let cost = |name: &str| self.tasklets[name].cost.max(1) as f64;
            let whole: f64 = below.iter().map(|it| cost(it)).sum::<f64>() + cost(name);
            let share = |name: &str| (ran * cost(name) / whole).min(RUN_S_MAX);
            let calls = below.iter().map(|callee| {
                let next = algorithms.len() as u32;
                let (id, times) = algorithms
                    .entry(callee.clone())
                    .or_insert_with(|| (next, Vec::new()));
                times.push(share(callee));
                *id
            });
            let calls: Vec<u32> = calls.collect();
            let segments = calls.len() + 1;
            let id = chains.len() as u32;
            chain_of.insert(name.to_owned(), id);
            chains.push(Chain {
                id,
                size_bytes: self.size(name, notes),
                segments_s: vec![share(name) / segments as f64; segments],
                calls,
            });
        }
        let mut algorithms: Vec<_> = algorithms.into_iter().collect();
        algorithms.sort_by_key(|(_, (id, _))| *id);
        let algorithms = algorithms.into_iter().map(|(name, (id, times))| Algorithm {
            id,
            size_bytes: self.size(&name, notes),
            run_s: times.iter().sum::<f64>() / times.len() as f64,
        });
        let algorithms = algorithms.collect();
        (TaskSet { algorithms, chains }, chain_of)
    }

    /// The seconds that the quickest call of a tasklet ran; 0 if each has failed.
    fn quickest(&self, name: &str) -> f64 {
        let calls = self.seen.iter().filter(|seen| seen.tasklet == name);
        let quickest = calls.filter_map(|seen| seen.ran).min();
        quickest.unwrap_or_default().as_secs_f64()
    }

    /// The length of a module as a trace may have it.
    fn size(&self, name: &str, notes: &mut Vec<String>) -> u32 {
        let bytes = self.tasklets[name].bytes;
        let size = bytes.clamp(MODULE_BYTES_MIN, MODULE_BYTES_MAX);
        if size != bytes {
            let note = format!(
                "{name} has {bytes} bytes and counts as {size}, the least or most of a trace"
            );
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
        size
    }

    fn robots(&self) -> BTreeMap<(u16, Option<u32>), u32> {
        let robots: BTreeSet<_> = self.seen.iter().map(Seen::robot).collect();
        robots.into_iter().zip(0..).collect()
    }

    /// Where the registry is: at the node with the lowest id that hears it.
    fn registry_place(&self, notes: &mut Vec<String>) -> RegistryPlace {
        let all = || self.neighbours.iter();
        let known = |id: &u16| all().any(|(node, held)| node == id || held.contains(id));
        let free = || (0..u16::MAX).find(|id| !known(id)).unwrap_or_default();
        let id = self.registry.unwrap_or_else(free);
        let mut near = all().filter(|(node, held)| **node != id && held.contains(&id));
        let attached_to = near.next().map(|(node, _)| *node);
        let others = near.count();
        if others > 0 {
            notes.push(format!(
                "the registry {id} is heard by {} nodes; in a trace it is by the one with the lowest id",
                others + 1
            ));
        }
        if attached_to.is_none() {
            notes.push(
                "no recorded node hears the registry; it is put beside the node with the lowest id"
                    .to_owned(),
            );
        }
        let lowest = || all().map(|(node, _)| *node).find(|node| *node != id);
        RegistryPlace {
            id,
            attached_to: attached_to.or_else(lowest).unwrap_or_default(),
        }
    }

    /// Every node that was recorded or heard of, without the registry.
    fn ids(&self, registry: &RegistryPlace) -> BTreeSet<u16> {
        let held = self.neighbours.iter();
        let mut ids: BTreeSet<u16> = held
            .flat_map(|(node, held)| held.iter().copied().chain([*node]))
            .collect();
        ids.remove(&registry.id);
        ids
    }

    fn floor(&self, registry: &RegistryPlace) -> FloorPlan {
        let nodes = self.ids(registry).len();
        let columns = (1..).find(|columns| columns * columns >= nodes);
        let columns = columns.unwrap_or(1);
        FloorPlan {
            columns: columns as u16,
            rows: nodes.div_ceil(columns) as u16,
            spacing_m: 1.0,
            radius_m: 1.0,
        }
    }

    /// The nodes in rows: nobody knows where they are.
    fn nodes(&self, registry: &RegistryPlace) -> Vec<NodePlace> {
        let columns = self.floor(registry).columns.max(1);
        let places = self.ids(registry).into_iter().zip(0u16..);
        let nodes = places.map(|(id, at)| NodePlace {
            id,
            x_m: f64::from(at % columns),
            y_m: f64::from(at / columns),
        });
        nodes.collect()
    }

    fn links(&self, registry: &RegistryPlace) -> Vec<(u16, u16)> {
        let held = self.neighbours.iter();
        let pairs = held.flat_map(|(a, held)| held.iter().map(|b| (*a.min(b), *a.max(b))));
        let links: BTreeSet<(u16, u16)> = pairs
            .filter(|(a, b)| a != b && *a != registry.id && *b != registry.id)
            .collect();
        links.into_iter().collect()
    }
}

impl Seen {
    /// Whose call it was: that of a client, or of those at a node who give no number.
    fn robot(&self) -> (u16, Option<u32>) {
        match self.client {
            Some(client) => (0, Some(client)),
            None => (self.node, None),
        }
    }
}

/// When robots are in contact with nodes: from their first call there to the next elsewhere.
fn contacts(triggers: &[Trigger], duration_s: f64) -> Vec<Contact> {
    let mut contacts: Vec<Contact> = Vec::new();
    let mut last: BTreeMap<u32, usize> = BTreeMap::new();
    for trigger in triggers {
        let Some(node) = trigger.node else {
            continue;
        };
        let before = last.get(&trigger.robot).copied();
        if before.is_some_and(|at| contacts[at].node == node) {
            continue;
        }
        if let Some(at) = before {
            contacts[at].to_s = trigger.at_s;
        }
        last.insert(trigger.robot, contacts.len());
        contacts.push(Contact {
            from_s: trigger.at_s,
            to_s: duration_s,
            robot: trigger.robot,
            node,
        });
    }
    contacts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(bytes: u32, cost: u64, calls: &[&str]) -> Known {
        Known {
            bytes,
            cost,
            calls: calls.iter().map(|&call| call.to_owned()).collect(),
        }
    }

    fn seen(at_ms: u64, node: u16, client: Option<u32>, tasklet: &str, ran_ms: u64) -> Seen {
        Seen {
            at: Duration::from_millis(at_ms),
            node,
            client,
            tasklet: tasklet.to_owned(),
            ran: Some(Duration::from_millis(ran_ms)),
        }
    }

    /// Three nodes in a row, with the registry beside the first; one robot passes the last two.
    fn recording() -> Recording {
        let mut recording = Recording::default();
        recording.note_registry(1);
        recording.note_node(10, [1, 11]);
        recording.note_node(11, [10, 12]);
        recording.note_node(12, [11]);
        recording.note_tasklet("s/check".into(), known(400, 10, &["s/rms", "s/read"]));
        recording.note_tasklet("s/rms".into(), known(200, 30, &["s/sum"]));
        recording.note_tasklet("s/sum".into(), known(100, 20, &[]));
        recording.note_tasklet("s/read".into(), known(0, 0, &[]));
        recording.note_call(seen(5000, 12, Some(7), "s/check", 900));
        recording.note_call(seen(1000, 11, Some(7), "s/check", 600));
        recording.note_call(seen(2000, 11, None, "s/sum", 50));
        recording
    }

    #[test]
    fn a_recording_becomes_a_trace_that_can_be_run() {
        let made = recording().trace(Duration::from_secs(9)).unwrap();
        let trace = made.trace;
        trace.check().unwrap();
        assert_eq!(made.notes, [""; 0]);
        assert_eq!(trace.links, [(10, 11), (11, 12)]);
        assert_eq!((trace.registry.id, trace.registry.attached_to), (1, 10));
        let ids: Vec<u16> = trace.nodes.iter().map(|node| node.id).collect();
        assert_eq!(ids, [10, 11, 12]);
        // The robot is the client; who gives no number is another one.
        let of = |robot: u32| -> Vec<_> {
            let own = trace.contacts.iter().filter(|it| it.robot == robot);
            own.map(|it| (it.node, it.from_s, it.to_s)).collect()
        };
        assert_eq!(trace.robots, 2);
        assert_eq!(of(0), [(11, 1.0, 5.0), (12, 5.0, 9.0)]);
        assert_eq!(of(1), [(11, 2.0, 9.0)]);
        let times: Vec<f64> = trace.triggers.iter().map(|it| it.at_s).collect();
        assert_eq!(times, [1.0, 2.0, 5.0]);
    }

    #[test]
    fn the_quickest_call_of_a_chain_is_shared_out_by_cost() {
        let trace = recording().trace(Duration::from_secs(9)).unwrap().trace;
        let [check, sum] = &trace.taskset.chains[..] else {
            panic!("two were called");
        };
        // What is called further down is called by the chain; what is native is no module.
        assert_eq!(check.size_bytes, 400);
        let called: Vec<u32> = check
            .calls
            .iter()
            .map(|id| trace.taskset.algorithms[*id as usize].size_bytes)
            .collect();
        assert_eq!(called, [200, 100]);
        let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(close(check.segments_s.iter().sum(), 0.1), "{check:?}");
        assert!(close(trace.taskset.run_s(0, 0.0), 0.6), "{trace:?}");
        assert!(close(trace.taskset.run_s(1, 0.0), 0.05));
        assert_eq!(sum.calls, [0; 0]);
    }

    #[test]
    fn what_a_trace_cannot_have_is_said() {
        let mut recording = recording();
        recording.note_tasklet("s/tiny".into(), known(20, 0, &[]));
        recording.note_call(seen(100, 12, None, "s/tiny", 1));
        recording.note_call(seen(200, 12, None, "s/read", 1));
        recording.note_call(seen(300, 12, None, "s/gone", 1));
        recording.note_node(11, [1]);
        let made = recording.trace(Duration::from_secs(9)).unwrap();
        made.trace.check().unwrap();
        let notes = made.notes.join("\n");
        assert!(notes.contains("2 calls of native"), "{notes}");
        assert!(notes.contains("s/tiny has 20 bytes"), "{notes}");
        assert!(notes.contains("heard by 2 nodes"), "{notes}");
    }

    #[test]
    fn tasklets_that_call_each_other_in_a_circle_end_somewhere() {
        let mut recording = Recording::default();
        recording.note_node(3, []);
        recording.note_tasklet("s/a".into(), known(60, 1, &["s/b", "s/b"]));
        recording.note_tasklet("s/b".into(), known(60, 1, &["s/a"]));
        recording.note_call(seen(0, 3, None, "s/a", 26));
        let made = recording.trace(Duration::ZERO).unwrap();
        made.trace.check().unwrap();
        assert_eq!(made.trace.taskset.chains[0].calls.len(), CALLS_MAX);
        assert_eq!(made.trace.duration_s, 1.0);
    }

    #[test]
    fn a_recording_without_calls_is_no_trace() {
        let mut recording = Recording::default();
        recording.note_node(3, [4]);
        recording.note_call(seen(0, 3, None, "s/unknown", 1));
        assert_eq!(recording.trace(SHORTEST), Err(NothingSeen(1)));
    }
}
