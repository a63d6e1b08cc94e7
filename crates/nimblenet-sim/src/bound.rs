//! Lower bounds: what no protocol without remote execution can beat on a trace.

use std::collections::{BTreeMap, BinaryHeap};

use core::cmp::Reverse;
use core::time::Duration;

use nimblenet_core::Instant;
use nimblenet_tasklet::NodeId;

use crate::trace::{Distances, TaskSet, Trace, moment};

/// Meshes of up to this many nodes get the exact number of links.
pub const EXACT_NODES: usize = 16;

/// Payload bytes of the request that every transfer needs.
const REQUEST_BYTES: u64 = 8;

/// A lower bound on the bytes that all nodes transmit, in parts; the headers of packets are counted
/// by [`bytes`](Self::bytes).
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct LowerBound {
    /// Bytes of modules over the links of the smallest trees that reach all who need them.
    pub tree_bytes: u64,
    /// Links of these trees: a packet each.
    pub links: u64,
    /// Pairs of a node and a tasklet that it needs: a request each.
    pub needs: u64,
    /// Bytes that nodes must fetch again because their cache is too small, over one link each.
    pub refetched_bytes: f64,
}

impl LowerBound {
    /// The bound of what nodes with `cache_bytes` of cache each have run. The registry has everything
    /// from the start, and nobody else has anything. Calls that failed before they ran a module did
    /// not need it, and a module is needed where it runs.
    ///
    /// A module is sent at least once over each link of a tree that connects the registry's
    /// neighbour and all nodes that need it. In a mesh of up to [`EXACT_NODES`] nodes the smallest
    /// tree is known. In a larger one the bound takes the largest of three smaller numbers: the nodes
    /// that need it, the distance of the furthest, and half of a spanning tree over their distances.
    ///
    /// What is fetched again is at least what PFOO-L leaves (Berger, Beckmann and Harchol-Balter,
    /// "Practical Bounds on Optimal Caching with Variable Object Sizes", 2018), for bytes.
    pub fn of(trace: &Trace, tasks: &TaskSet, cache_bytes: u64, needs: &Needs) -> Self {
        let links = trace.all_links().skip(1);
        let mesh = Distances::new(trace.ids(), links);
        let gateway = mesh.position(trace.all_links().next().expect("the registry's link").1);
        let trees = Trees::new(&mesh, gateway);
        let wanted = mesh.ids().iter().map(|id| needs.of(*id, tasks));
        let wanted: Vec<Vec<Item>> = wanted.collect();
        let mut needed: BTreeMap<Item, Vec<usize>> = BTreeMap::new();
        for (node, wanted) in wanted.iter().enumerate() {
            for item in wanted {
                let nodes = needed.entry(*item).or_default();
                if nodes.last() != Some(&node) {
                    nodes.push(node);
                }
            }
        }
        let mut bound = Self::default();
        for (item, nodes) in &needed {
            let links = trees.links(nodes);
            bound.tree_bytes += links * u64::from(item.bytes(tasks));
            bound.links += links;
            bound.needs += nodes.len() as u64;
        }
        let refetched = |wanted: &Vec<Item>| refetched(wanted, tasks, cache_bytes);
        bound.refetched_bytes = wanted.iter().map(refetched).sum();
        bound
    }

    /// The bound with `header_bytes` for each packet.
    pub fn bytes(&self, header_bytes: u32) -> u64 {
        let packet = u64::from(header_bytes) + REQUEST_BYTES;
        let packets = (self.links + self.needs) * packet;
        self.tree_bytes + packets + self.refetched_bytes as u64
    }
}

/// The modules that nodes have run.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Needs {
    /// For each node the catalogue numbers of its tasklets, in the order of their starts.
    started: BTreeMap<NodeId, Vec<u16>>,
}

impl Needs {
    /// Those of a run on which each call of a trace runs to its end where it was made, without wait.
    pub fn of_trace(trace: &Trace, tasks: &TaskSet) -> Self {
        let mut needs = Self::default();
        let numbers = |chain: u32| {
            let algorithms = tasks.chains[chain as usize].calls.iter();
            let algorithms = algorithms.map(|id| tasks.chains.len() as u32 + id);
            [chain].into_iter().chain(algorithms)
        };
        for trigger in &trace.triggers {
            let Some(node) = trigger.node else {
                continue;
            };
            for number in numbers(trigger.chain) {
                needs.add(NodeId(node), number as u16);
            }
        }
        needs
    }

    /// Those of calls that have run, each at this node and with the chain of this catalogue number.
    pub fn of_calls(calls: &[(NodeId, u16)], tasks: &TaskSet) -> Self {
        let mut needs = Self::default();
        let first = tasks.chains.len() as u16;
        for (node, chain) in calls {
            needs.add(*node, *chain);
            let called = &tasks.chains[usize::from(*chain)].calls;
            called
                .iter()
                .for_each(|id| needs.add(*node, first + *id as u16));
        }
        needs
    }

    /// A node has started the tasklet with this catalogue number.
    pub fn add(&mut self, node: NodeId, number: u16) {
        self.started.entry(node).or_default().push(number);
    }

    /// What a node needed, in order. Chains come first in a catalogue, then algorithms.
    fn of(&self, node: NodeId, tasks: &TaskSet) -> Vec<Item> {
        let chains = tasks.chains.len() as u32;
        let started = self.started.get(&node).into_iter().flatten();
        let items = started.map(|number| match u32::from(*number).checked_sub(chains) {
            None => Item::Chain((*number).into()),
            Some(algorithm) => Item::Algorithm(algorithm),
        });
        items.collect()
    }
}

/// What nodes fetch if each knows what it wants, and evicts first what it wants the latest. Nobody
/// knows that, and no policy gets far below it; whether another could get below at all, with modules of
/// different sizes, is not known.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Foreseen {
    /// Modules.
    pub modules: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Foreseen {
    /// That of nodes with `cache_bytes` of cache each, none of which holds anything at first.
    pub fn of(trace: &Trace, tasks: &TaskSet, cache_bytes: u64) -> Self {
        let needs = Needs::of_trace(trace, tasks);
        let mut foreseen = Self::default();
        for wanted in trace.ids().map(|id| needs.of(id, tasks)) {
            for item in fetched(&wanted, tasks, cache_bytes) {
                foreseen.modules += 1;
                foreseen.bytes += u64::from(item.bytes(tasks));
            }
        }
        foreseen
    }
}

/// The tasklets that a node fetches that wants these in this order, and evicts first what it wants the
/// latest.
fn fetched(wanted: &[Item], tasks: &TaskSet, cache_bytes: u64) -> Vec<Item> {
    let mut next = vec![usize::MAX; wanted.len()];
    let mut later = BTreeMap::new();
    for (at, item) in wanted.iter().enumerate().rev() {
        next[at] = later.insert(*item, at).unwrap_or(usize::MAX);
    }
    // What is held, with the place of its next use.
    let mut held: BTreeMap<Item, usize> = BTreeMap::new();
    let (mut used, mut fetched) = (0, Vec::new());
    for (at, item) in wanted.iter().enumerate() {
        if held.insert(*item, next[at]).is_some() {
            continue;
        }
        used += u64::from(item.bytes(tasks));
        fetched.push(*item);
        while used > cache_bytes {
            let others = held.iter().filter(|(other, _)| *other != item);
            let Some(latest) = others.max_by_key(|(_, next)| **next).map(|(item, _)| *item) else {
                break;
            };
            held.remove(&latest);
            used -= u64::from(latest.bytes(tasks));
        }
    }
    fetched
}

/// A tasklet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Item {
    Chain(u32),
    Algorithm(u32),
}

impl Item {
    fn bytes(self, tasks: &TaskSet) -> u32 {
        match self {
            Self::Chain(id) => tasks.chains[id as usize].size_bytes,
            Self::Algorithm(id) => tasks.algorithms[id as usize].size_bytes,
        }
    }
}

/// The fewest bytes that a node fetches again, given what it wants in order.
///
/// Between two uses a module is kept or fetched again. To keep it takes its bytes for as many uses
/// of others as lie between. A cache has its bytes times the number of all uses to give; the short
/// intervals get theirs first, and the last one a part of it.
fn refetched(wanted: &[Item], tasks: &TaskSet, cache_bytes: u64) -> f64 {
    let mut last: BTreeMap<Item, u64> = BTreeMap::new();
    let mut intervals: Vec<(u64, u64)> = Vec::new();
    for (at, item) in wanted.iter().enumerate() {
        if let Some(before) = last.insert(*item, at as u64) {
            intervals.push((at as u64 - before, u64::from(item.bytes(tasks))));
        }
    }
    intervals.sort_unstable();
    let mut room = cache_bytes as f64 * wanted.len() as f64;
    let mut refetched = 0.0;
    for (length, bytes) in intervals {
        let takes = (length * bytes) as f64;
        let kept = takes.min(room.max(0.0));
        room -= takes;
        refetched += bytes as f64 * (1.0 - kept / takes);
        // After the first interval that does not fit no other is kept.
        if kept < takes {
            room = 0.0;
        }
    }
    refetched
}

/// The smallest trees of a mesh that contain the gateway.
enum Trees<'m> {
    /// For each set of nodes, the size of the smallest connected set that contains it and the
    /// gateway.
    Exact {
        gateway: usize,
        smallest: Vec<u8>,
    },
    Bound {
        gateway: usize,
        mesh: &'m Distances,
    },
}

impl<'m> Trees<'m> {
    fn new(mesh: &'m Distances, gateway: usize) -> Self {
        let nodes = mesh.ids().len();
        if nodes > EXACT_NODES {
            return Self::Bound { gateway, mesh };
        }
        let around = |node: usize| mesh.neighbours(node).iter().map(|at| 1_u32 << at).sum();
        let around: Vec<u32> = (0..nodes).map(around).collect();
        let connected = |set: u32| {
            let mut reached = 1 << gateway;
            loop {
                let members = (0..nodes).filter(|at| reached >> at & 1 == 1);
                let next = members.fold(reached, |next, at| next | around[at] & set);
                if next == reached {
                    return reached == set;
                }
                reached = next;
            }
        };
        let sizes = (0..1_u32 << nodes).map(|set| {
            let rooted = set >> gateway & 1 == 1;
            if rooted && connected(set) {
                set.count_ones() as u8
            } else {
                u8::MAX
            }
        });
        let mut smallest: Vec<u8> = sizes.collect();
        for node in 0..nodes {
            for set in 0..smallest.len() {
                if set >> node & 1 == 0 {
                    smallest[set] = smallest[set].min(smallest[set | 1 << node]);
                }
            }
        }
        Self::Exact { gateway, smallest }
    }

    /// Links over which a module travels to reach all of `nodes`, the registry's included; fewer if
    /// that is not known.
    fn links(&self, nodes: &[usize]) -> u64 {
        match self {
            Self::Exact { gateway, smallest } => {
                let set = nodes.iter().fold(1 << gateway, |set, at| set | 1 << at);
                u64::from(smallest[set])
            }
            Self::Bound { gateway, mesh } => {
                let hops = |from, to| u64::from(mesh.hops(from, to).unwrap_or(0));
                let furthest = nodes.iter().map(|at| hops(*gateway, *at)).max();
                let rooted = nodes.contains(gateway);
                let alone = nodes.len() as u64 + u64::from(!rooted);
                let mut outside: Vec<(u64, usize)> =
                    nodes.iter().map(|at| (hops(*gateway, *at), *at)).collect();
                let mut spanning = 0;
                while let Some(nearest) = (0..outside.len()).min_by_key(|at| outside[*at]) {
                    let (distance, at) = outside.swap_remove(nearest);
                    spanning += distance;
                    for (other, to) in &mut outside {
                        *other = (*other).min(hops(at, *to));
                    }
                }
                let half = spanning.div_ceil(2) + 1;
                alone.max(furthest.unwrap_or(0) + 1).max(half)
            }
        }
    }
}

/// The mean response if all executors were one pool that takes calls in the order of their triggers,
/// and communication were free: what no placement can beat by more than the order of the queue. None
/// if no call would end by the end.
pub fn perfect_pool_mean(
    trace: &Trace,
    tasks: &TaskSet,
    executors: usize,
    call_s: f64,
) -> Option<Duration> {
    let mut free: BinaryHeap<Reverse<Instant>> =
        (0..executors).map(|_| Reverse(Instant::ZERO)).collect();
    let (mut sum, mut count) = (Duration::ZERO, 0);
    for trigger in trace.triggers.iter().filter(|it| it.node.is_some()) {
        let at = moment(trigger.at_s);
        let Reverse(from) = free.pop()?;
        let run = crate::trace::duration(tasks.run_s(trigger.chain, call_s));
        let end = from.max(at) + run;
        free.push(Reverse(end));
        if end <= moment(trace.duration_s) {
            sum += end - at;
            count += 1;
        }
    }
    sum.checked_div(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    /// A connected mesh of `nodes` nodes with random links.
    fn mesh(random: &mut ChaCha8Rng, nodes: usize) -> Vec<(usize, usize)> {
        let mut links: Vec<(usize, usize)> = (1..nodes)
            .map(|at| (random.random_range(0..at), at))
            .collect();
        for a in 0..nodes {
            for b in a + 1..nodes {
                if !links.contains(&(a, b)) && random.random_bool(0.3) {
                    links.push((a, b));
                }
            }
        }
        links
    }

    /// The links of the smallest tree that connects `wanted`, by trying all sets of links.
    fn smallest_tree(nodes: usize, links: &[(usize, usize)], wanted: &[usize]) -> u32 {
        let connects = |set: u32| {
            let mut group: Vec<usize> = (0..nodes).collect();
            for (at, (a, b)) in links.iter().enumerate() {
                if set >> at & 1 == 1 {
                    let (from, to) = (group[*a], group[*b]);
                    group
                        .iter_mut()
                        .filter(|it| **it == from)
                        .for_each(|it| *it = to);
                }
            }
            wanted.iter().all(|at| group[*at] == group[wanted[0]])
        };
        let sets = (0..1_u32 << links.len()).filter(|set| connects(*set));
        sets.map(u32::count_ones)
            .min()
            .expect("the mesh is connected")
    }

    #[test]
    fn a_module_travels_over_the_links_of_the_smallest_tree() {
        let mut random = ChaCha8Rng::seed_from_u64(4);
        for round in 0..200 {
            let nodes = random.random_range(1..=6);
            let links = mesh(&mut random, nodes);
            let ids = || (0..nodes as u16).map(NodeId);
            let named = links
                .iter()
                .map(|(a, b)| (NodeId(*a as u16), NodeId(*b as u16)));
            let distances = Distances::new(ids(), named);
            let needing: Vec<usize> = (0..nodes).filter(|_| random.random_bool(0.5)).collect();
            let gateway = random.random_range(0..nodes);
            let mut wanted = needing.clone();
            wanted.push(gateway);
            let expected = u64::from(smallest_tree(nodes, &links, &wanted)) + 1;
            let exact = Trees::new(&distances, gateway).links(&needing);
            assert_eq!(exact, expected, "round {round}");
            let (gateway, mesh) = (gateway, &distances);
            let bound = Trees::Bound { gateway, mesh }.links(&needing);
            assert!(bound <= expected, "round {round}: {bound} of {expected}");
        }
    }

    /// The fewest bytes that a cache fetches again, by trying everything that it may keep.
    fn fewest(wanted: &[Item], tasks: &TaskSet, cache: u64, kept: &[Item], seen: &[Item]) -> u64 {
        let Some((next, rest)) = wanted.split_first() else {
            return 0;
        };
        let bytes = |item: &Item| u64::from(item.bytes(tasks));
        let again = !kept.contains(next) && seen.contains(next);
        let mut candidates = kept.to_vec();
        candidates.retain(|item| item != next);
        candidates.push(*next);
        let mut seen = seen.to_vec();
        seen.push(*next);
        let choices = (0..1_u32 << candidates.len()).filter_map(|set| {
            let held: Vec<Item> = candidates
                .iter()
                .enumerate()
                .filter_map(|(at, item)| (set >> at & 1 == 1).then_some(*item))
                .collect();
            let fits = held.iter().map(bytes).sum::<u64>() <= cache;
            fits.then(|| fewest(rest, tasks, cache, &held, &seen))
        });
        let least = choices.min().expect("nothing always fits");
        least + if again { bytes(next) } else { 0 }
    }

    #[test]
    fn no_cache_fetches_less_again_than_the_bound_says() {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        for round in 0..200 {
            let algorithms = (0..4).map(|id| crate::trace::Algorithm {
                id,
                size_bytes: random.random_range(50..500),
                run_s: 1.0,
            });
            let tasks = TaskSet {
                algorithms: algorithms.collect(),
                chains: Vec::new(),
            };
            let wanted: Vec<Item> = (0..7)
                .map(|_| Item::Algorithm(random.random_range(0..4)))
                .collect();
            let cache = random.random_range(0..1200);
            let bound = refetched(&wanted, &tasks, cache);
            let least = fewest(&wanted, &tasks, cache, &[], &[]) as f64;
            assert!(bound <= least + 1e-6, "round {round}: {bound} of {least}");
        }
    }

    #[test]
    fn a_node_that_knows_what_it_wants_keeps_what_it_wants_next() {
        let algorithms = (0..3).map(|id| crate::trace::Algorithm {
            id,
            size_bytes: 100,
            run_s: 1.0,
        });
        let tasks = TaskSet {
            algorithms: algorithms.collect(),
            chains: Vec::new(),
        };
        let fetched_by = |ids: &[u32], cache: u64| -> Vec<Item> {
            let wanted: Vec<Item> = ids.iter().map(|id| Item::Algorithm(*id)).collect();
            fetched(&wanted, &tasks, cache)
        };
        // The oldest, 0, is wanted next; the policy of the paper would drop it.
        let expected = [0, 1, 2, 1].map(Item::Algorithm);
        assert_eq!(fetched_by(&[0, 1, 2, 0, 1], 200), expected);
        assert_eq!(fetched_by(&[0, 1, 2, 0, 1], 300).len(), 3);
        // It never fetches fewer bytes again than the bound says.
        let mut random = ChaCha8Rng::seed_from_u64(6);
        for round in 0..200 {
            let ids: Vec<u32> = (0..20).map(|_| random.random_range(0..3)).collect();
            let wanted: Vec<Item> = ids.iter().map(|id| Item::Algorithm(*id)).collect();
            let cache = random.random_range(100..300);
            let again = fetched(&wanted, &tasks, cache).len() - fetched(&wanted, &tasks, 300).len();
            let least = refetched(&wanted, &tasks, cache);
            assert!(least <= again as f64 * 100.0 + 1e-6, "round {round}");
        }
    }
}
