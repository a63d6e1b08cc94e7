//! Traces made from scenarios. Each chain, algorithm and robot has random numbers of its own, so a
//! change at one leaves the others as they are.

use core::time::Duration;

use nimblenet_core::Instant;
use nimblenet_tasklet::NodeId;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::{Scenario, Shape, Span, TargetTable, TaskTable};
use crate::floor::{Floor, Position};
use crate::robot::{Habits, Robot};
use crate::trace::{
    Algorithm, Chain, Contact, FloorPlan, NodePlace, RegistryPlace, Schema, TaskSet, Trace, Trigger,
};

/// How often it is seen which node a robot is in contact with.
pub const CONTACT_STEP: Duration = Duration::from_millis(500);

/// Whose random numbers these are. Robots move and trigger by stream 0.
#[derive(Clone, Copy, Debug)]
enum Stream {
    /// Where nodes stand.
    Floor = 1,
    /// A chain, by its number.
    Chain = 2,
    /// A shared algorithm, by its number.
    Algorithm = 3,
    /// The algorithms that only one chain has, by its number.
    Own = 4,
    /// The chains that a robot triggers, by its number.
    RobotChains = 5,
}

fn stream(seed: u64, stream: Stream, number: u32) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream((stream as u64) << 32 | u64::from(number));
    random
}

fn seconds(at: Instant) -> f64 {
    at.as_micros() as f64 / 1e6
}

impl Scenario {
    /// Makes the trace of a seed.
    ///
    /// # Panics
    /// If the scenario is not [checked](Self::check).
    pub fn trace(&self, seed: u64) -> Trace {
        let floor = self.floor(seed);
        let nodes = floor.ids().map(|id| {
            let Position { x_m, y_m } = floor.position(id);
            NodePlace { id: id.0, x_m, y_m }
        });
        let (columns, rows) = floor.columns_and_rows().unwrap_or_default();
        let robot_chains = (0..self.robots.count).map(|robot| self.chains_of(seed, robot));
        let mut trace = Trace {
            schema: Schema::Trace1,
            seed,
            floor: FloorPlan {
                columns,
                rows,
                spacing_m: floor.spacing_m(),
                radius_m: floor.radius_m(),
            },
            duration_s: self.duration_s,
            robots: self.robots.count,
            nodes: nodes.collect(),
            registry: RegistryPlace {
                id: 0,
                attached_to: floor.gateway().0,
            },
            links: floor.links().map(|(a, b)| (a.0, b.0)).collect(),
            taskset: self.taskset(seed),
            robot_chains: robot_chains.collect(),
            contacts: Vec::new(),
            triggers: Vec::new(),
        };
        for number in 0..self.robots.count {
            let mut robot = self.robot(seed, number, &floor);
            let near = near(&mut robot, &floor, trace.duration());
            trace
                .contacts
                .extend(contacts(number, &near, self.duration_s));
            while seconds(robot.next_trigger()) < self.duration_s {
                let at = robot.next_trigger();
                let step = at.as_micros() / CONTACT_STEP.as_micros() as u64;
                trace.triggers.push(Trigger {
                    at_s: seconds(at),
                    robot: number,
                    node: near[step as usize].map(|node| node.0),
                    chain: robot.trigger() as u32,
                });
            }
        }
        let contacts = &mut trace.contacts;
        contacts.sort_by(|a, b| a.from_s.total_cmp(&b.from_s).then(a.robot.cmp(&b.robot)));
        let triggers = &mut trace.triggers;
        triggers.sort_by(|a, b| a.at_s.total_cmp(&b.at_s).then(a.robot.cmp(&b.robot)));
        trace
    }

    /// The task set of a seed; with a target, run times are those of its processor.
    fn taskset(&self, seed: u64) -> TaskSet {
        let mut tasks = self.tasks.taskset(seed);
        let Some(target) = &self.target else {
            return tasks;
        };
        for (algorithm, run_s) in tasks
            .algorithms
            .iter_mut()
            .zip(target.run_s(&target.algorithm_fuel))
        {
            algorithm.run_s = run_s;
        }
        for (chain, run_s) in tasks
            .chains
            .iter_mut()
            .zip(target.run_s(&target.chain_fuel))
        {
            let drawn_s: f64 = chain.segments_s.iter().sum();
            let times = if drawn_s > 0.0 { run_s / drawn_s } else { 0.0 };
            chain
                .segments_s
                .iter_mut()
                .for_each(|segment_s| *segment_s *= times);
        }
        tasks
    }

    /// The floor of a seed; only a geometric layout depends on it.
    fn floor(&self, seed: u64) -> Floor {
        let table = &self.floor;
        let (nodes, spacing_m, radius_m) = (table.nodes, table.spacing_m, table.radius_m);
        match table.layout {
            Shape::Grid => Floor::grid(nodes, spacing_m, radius_m),
            Shape::Line => Floor::line(nodes, spacing_m, radius_m),
            Shape::Ring => Floor::ring(nodes, spacing_m, radius_m),
            Shape::Geometric => {
                let mut random = stream(seed, Stream::Floor, 0);
                Floor::geometric(nodes, spacing_m, radius_m, table.range_m, &mut random)
            }
        }
    }

    fn robot(&self, seed: u64, number: u32, floor: &Floor) -> Robot {
        let habits = Habits {
            speed_m_s: self.robots.speed_m_s,
            interval: self.robots.interval(),
            zipf: self.tasks.zipf,
        };
        let chains = self.chains_of(seed, number);
        let chains = chains.iter().map(|chain| *chain as usize).collect();
        Robot::new(seed, number.into(), floor, &habits, chains)
    }

    /// The chains that a robot triggers, in ascending order.
    fn chains_of(&self, seed: u64, robot: u32) -> Vec<u32> {
        let mut random = stream(seed, Stream::RobotChains, robot);
        let mut chains = choose(self.robots.chains, self.tasks.chains, &mut random);
        chains.sort_unstable();
        chains
    }
}

/// Where a robot of a scenario is at each [`CONTACT_STEP`] up to a moment.
pub fn path(scenario: &Scenario, seed: u64, robot: u32, until_s: f64) -> Vec<Position> {
    let mut robot = scenario.robot(seed, robot, &scenario.floor(seed));
    let steps = (until_s / CONTACT_STEP.as_secs_f64()) as u32;
    let moments = (0..=steps).map(|step| Instant::ZERO + CONTACT_STEP * step);
    moments.map(|at| robot.position(at)).collect()
}

/// The node that a robot is in contact with in each step.
fn near(robot: &mut Robot, floor: &Floor, time: Duration) -> Vec<Option<NodeId>> {
    let steps = time.as_micros().div_ceil(CONTACT_STEP.as_micros()) as u32;
    let moments = (0..steps).map(|step| Instant::ZERO + CONTACT_STEP * step);
    moments
        .map(|at| floor.node_in_contact(robot.position(at)))
        .collect()
}

/// A contact for each run of steps near the same node.
fn contacts(robot: u32, near: &[Option<NodeId>], duration_s: f64) -> Vec<Contact> {
    let step_s = CONTACT_STEP.as_secs_f64();
    let mut contacts = Vec::new();
    let mut from = 0;
    for run in near.chunk_by(|a, b| a == b) {
        let to = from + run.len();
        if let Some(node) = run[0] {
            contacts.push(Contact {
                from_s: from as f64 * step_s,
                to_s: (to as f64 * step_s).min(duration_s),
                robot,
                node: node.0,
            });
        }
        from = to;
    }
    contacts
}

impl TargetTable {
    /// How long runs with this fuel take, over and over.
    fn run_s(&self, fuel: &[u64]) -> impl Iterator<Item = f64> {
        let fuel = fuel.iter().cycle();
        fuel.map(|fuel| *fuel as f64 / self.fuel_per_s)
    }
}

impl TaskTable {
    fn taskset(&self, seed: u64) -> TaskSet {
        let shared = (0..self.algorithms).map(|id| {
            let mut random = stream(seed, Stream::Algorithm, id);
            self.algorithm(id, &mut random)
        });
        let mut tasks = TaskSet {
            algorithms: shared.collect(),
            chains: Vec::new(),
        };
        for id in 0..self.chains {
            let mut random = stream(seed, Stream::Chain, id);
            let mut own = stream(seed, Stream::Own, id);
            let size_bytes = self.bytes(self.chain_bytes, &mut random);
            let run_s = uniform(self.chain_run_s, &mut random);
            let (fewest, most) = self.algorithms_per_chain;
            let count = random.random_range(fewest..=most);
            let mut calls = choose(count, self.algorithms, &mut random);
            for call in &mut calls {
                let is_shared = random.random::<f64>() < self.sharing;
                let next = tasks.algorithms.len() as u32;
                let algorithm = self.algorithm(next, &mut own);
                if !is_shared {
                    tasks.algorithms.push(algorithm);
                    *call = next;
                }
            }
            let segments_s = split(run_s, calls.len(), &mut random);
            tasks.chains.push(Chain {
                id,
                size_bytes,
                segments_s,
                calls,
            });
        }
        tasks
    }

    fn algorithm(&self, id: u32, random: &mut ChaCha8Rng) -> Algorithm {
        Algorithm {
            id,
            size_bytes: self.bytes(self.algorithm_bytes, random),
            run_s: uniform(self.algorithm_run_s, random),
        }
    }

    fn bytes(&self, (smallest, largest): Span<u32>, random: &mut ChaCha8Rng) -> u32 {
        let bytes = random.random_range(smallest..=largest);
        (f64::from(bytes) * self.size_factor).round() as u32
    }
}

fn uniform((smallest, largest): Span<f64>, random: &mut ChaCha8Rng) -> f64 {
    random.random_range(smallest..=largest)
}

/// So many different numbers below `of`, in random order.
fn choose(count: u32, of: u32, random: &mut ChaCha8Rng) -> Vec<u32> {
    let mut all: Vec<u32> = (0..of).collect();
    let count = count as usize;
    for at in 0..count {
        let other = random.random_range(at as u32..of);
        all.swap(at, other as usize);
    }
    all.truncate(count);
    all
}

/// A time cut at random places.
fn split(time: f64, cuts: usize, random: &mut ChaCha8Rng) -> Vec<f64> {
    let mut places: Vec<f64> = (0..cuts).map(|_| random.random_range(0.0..=time)).collect();
    places.sort_by(f64::total_cmp);
    let mut from = 0.0;
    let ends = places.into_iter().chain([time]);
    let parts = ends.map(|to| {
        let part = to - from;
        from = to;
        part
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn share(count: usize, of: usize) -> f64 {
        count as f64 / of as f64
    }

    fn mean(values: impl Iterator<Item = f64>) -> f64 {
        let values: Vec<f64> = values.collect();
        values.iter().sum::<f64>() / values.len() as f64
    }

    #[test]
    fn the_paper_s_scenario_has_the_paper_s_statistics() {
        let scenario = Scenario::default();
        let (mut without_contact, mut chains_s, mut chains_bytes) = (vec![], vec![], vec![]);
        for seed in 1..=6 {
            let trace = scenario.trace(seed);
            trace.check().unwrap();
            assert_eq!((trace.nodes.len(), trace.links.len()), (12, 17));
            let triggers = trace.triggers.len();
            assert!((7150..7250).contains(&triggers), "{triggers} triggers");
            let without = trace.triggers.iter().filter(|it| it.node.is_none());
            without_contact.push(share(without.count(), triggers));
            let tasks = &trace.taskset;
            assert_eq!((tasks.chains.len(), tasks.algorithms.len()), (200, 50));
            for chain in &tasks.chains {
                assert!((100..=500).contains(&chain.size_bytes));
                assert!((3..=7).contains(&chain.calls.len()));
                let different: BTreeSet<_> = chain.calls.iter().collect();
                assert_eq!(different.len(), chain.calls.len());
                let run_s: f64 = chain.segments_s.iter().sum();
                assert!((0.1..=0.5 + 1e-9).contains(&run_s));
            }
            for algorithm in &tasks.algorithms {
                assert!((100..=500).contains(&algorithm.size_bytes));
                assert!((0.01..=2.0).contains(&algorithm.run_s));
            }
            let whole = tasks.inlined();
            let bytes = mean(whole.chains.iter().map(|it| it.size_bytes.into()));
            chains_bytes.push(bytes);
            let run_s = mean((0..200).map(|chain| tasks.run_s(chain, 0.0)));
            chains_s.push(run_s);
            let mut chains = trace.robot_chains.iter();
            assert!(chains.all(|chains| chains.len() == 20));
        }
        // The paper expects 1800 bytes and about 5.3 s of a chain with its algorithms.
        let (bytes, run_s) = (mean(chains_bytes.into_iter()), mean(chains_s.into_iter()));
        assert!((1700.0..1900.0).contains(&bytes), "{bytes} bytes");
        assert!((4.9..5.7).contains(&run_s), "{run_s} s");
        // Robots that are everywhere equally often are out of reach for 1 - pi / 4 of their time.
        let mean = mean(without_contact.iter().copied());
        assert!((0.20..0.23).contains(&mean), "{without_contact:?}");
        let near = |share: &f64| (0.18..0.25).contains(share);
        assert!(without_contact.iter().all(near), "{without_contact:?}");
    }

    #[test]
    fn a_trigger_has_the_node_of_the_contact_that_it_falls_into() {
        let trace = Scenario::default().trace(2).cut(600.0);
        for trigger in &trace.triggers {
            let mut contacts = trace.contacts.iter();
            let contact = contacts.find(|contact| {
                let time = contact.from_s..contact.to_s;
                contact.robot == trigger.robot && time.contains(&trigger.at_s)
            });
            assert_eq!(contact.map(|contact| contact.node), trigger.node);
        }
    }

    #[test]
    fn without_sharing_each_call_has_an_algorithm_of_its_own() {
        let mut scenario = Scenario::default();
        let calls = |trace: &Trace| -> Vec<u32> {
            let chains = trace.taskset.chains.iter();
            chains.flat_map(|chain| chain.calls.clone()).collect()
        };
        let shared = scenario.trace(1);
        scenario.tasks.sharing = 0.0;
        let alone = scenario.trace(1);
        let different: BTreeSet<u32> = calls(&alone).into_iter().collect();
        assert_eq!(different.len(), calls(&alone).len());
        scenario.tasks.sharing = 0.5;
        let half = scenario.trace(1);
        half.check().unwrap();
        let own = calls(&half).into_iter().filter(|id| *id >= 50).count();
        let own = share(own, calls(&half).len());
        assert!((0.45..0.55).contains(&own), "{own}");
        // All else is as it was.
        assert_eq!(alone.triggers, shared.triggers);
        assert_eq!(calls(&alone).len(), calls(&shared).len());
        for (a, b) in alone.taskset.chains.iter().zip(&shared.taskset.chains) {
            assert_eq!((a.size_bytes, &a.segments_s), (b.size_bytes, &b.segments_s));
        }
    }

    #[test]
    fn a_target_gives_each_tasklet_the_time_of_its_fuel() {
        let text = "[target]\nfuel_per_s = 2000\nalgorithm_fuel = [1000, 3000]\nchain_fuel = [500]";
        let tasks = Scenario::read(text).unwrap().trace(1).taskset;
        let run_s: Vec<f64> = tasks.algorithms.iter().map(|it| it.run_s).collect();
        assert_eq!(run_s[..4], [0.5, 1.5, 0.5, 1.5]);
        for chain in &tasks.chains {
            let run_s: f64 = chain.segments_s.iter().sum();
            assert!((run_s - 0.25).abs() < 1e-9, "{run_s}");
        }
        // All else is as without it.
        let drawn = Scenario::default().trace(1).taskset;
        assert!(
            tasks
                .chains
                .iter()
                .zip(&drawn.chains)
                .all(|(a, b)| a.calls == b.calls)
        );
    }

    #[test]
    fn one_robot_more_leaves_the_others_as_they_are() {
        let mut scenario = Scenario {
            duration_s: 300.0,
            ..Scenario::default()
        };
        let fewer = scenario.trace(3);
        scenario.robots.count += 1;
        let mut more = scenario.trace(3);
        more.triggers.retain(|trigger| trigger.robot < 20);
        assert_eq!(more.triggers, fewer.triggers);
        assert_ne!(scenario.trace(4).triggers, scenario.trace(3).triggers);
    }

    #[test]
    fn each_built_in_scenario_can_be_run() {
        for name in Scenario::BUILT_IN {
            let mut scenario = Scenario::read(Scenario::built_in(name).unwrap()).unwrap();
            scenario.duration_s = 20.0;
            scenario.trace(1).check().unwrap();
        }
        let paper = Scenario::read(Scenario::built_in("paper").unwrap()).unwrap();
        assert_eq!(paper, Scenario::default());
        let warehouse = Scenario::read(Scenario::built_in("warehouse").unwrap()).unwrap();
        let size = (warehouse.floor.nodes, warehouse.robots.count);
        assert_eq!(size, (768, 1280));
    }
}
