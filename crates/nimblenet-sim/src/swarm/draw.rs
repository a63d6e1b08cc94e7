//! Random trials.

use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::flow::{Flow, Operator};
use super::goods::{NAMESPACES, TASKLETS};
use super::link::LinkForm;
use super::trial::{Call, Incident, Level, Lie, Mesh, Trial, What};
use crate::scenario::{BandwidthTable, BurstTable};
use crate::tale::Tale;

/// Of nodes, links and calls, and of faults.
const STREAM: u64 = 3 << 32;

/// The trial of a seed.
pub fn draw(seed: u64) -> Trial {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(STREAM);
    let mut drawer = Drawer { random };
    let mut mesh = drawer.mesh();
    let mut calls = drawer.calls(&mesh);
    let mut incidents = drawer.incidents(&mesh, &calls);
    if drawer.chance(30) {
        incidents.push(drawer.trouble(&mesh));
    }
    if drawer.chance(20) {
        mesh.repeats = drawer.one(&[1, 2]);
    }
    mesh.compressed = drawer.chance(25);
    drawer.claims(&mesh, &mut calls);
    drawer.urgencies(&mut calls);
    let flows = match drawer.chance(26) {
        true => drawer.flows(&mesh),
        false => Vec::new(),
    };
    if flows.is_empty() && drawer.chance(8) {
        let until_s = mesh.turmoil_s;
        calls.extend(drawer.overload(&mut mesh));
        // What has no end would go on for minutes.
        for incident in &mut incidents {
            let left_s = whole_ms((until_s - incident.at_s).max(0.1));
            incident.for_s.get_or_insert(left_s);
        }
    }
    Trial {
        seed,
        mesh: Some(mesh),
        calls,
        flows,
        incidents,
        ..Trial::default()
    }
}

struct Drawer {
    random: ChaCha8Rng,
}

impl Drawer {
    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        *of.choose(&mut self.random).expect("there is something")
    }

    /// Milliseconds as seconds.
    fn seconds(&mut self, from_ms: u32, to_ms: u32) -> f64 {
        f64::from(self.random.random_range(from_ms..=to_ms)) / 1000.0
    }

    fn share(&mut self, most_percent: u32) -> f64 {
        f64::from(self.random.random_range(1..=most_percent)) / 100.0
    }

    fn mesh(&mut self) -> Mesh {
        let nodes = self.random.random_range(1..=11);
        let mut links = self.topology(nodes);
        let mut registries = vec![0];
        links.push((0, self.random.random_range(1..=nodes)));
        if nodes > 1 && self.chance(30) {
            registries.push(nodes + 1);
            links.push((nodes + 1, self.random.random_range(1..=nodes)));
        }
        let all: Vec<u16> = (1..=nodes).collect();
        let (mut boards, mut tiny) = (Vec::new(), Vec::new());
        match self.random.random_range(0..100) {
            0..30 => boards = all,
            30..50 => boards = all.into_iter().filter(|_| self.chance(50)).collect(),
            50..60 => tiny = all.into_iter().filter(|_| self.chance(50)).collect(),
            _ => {}
        }
        Mesh {
            turmoil_s: self.seconds(5000, 20_000),
            links,
            registries,
            boards,
            tiny,
            cache_bytes: self.one(&[1024, 2048, 4096, 32_768]),
            mtu: self.one(&[127, 256, 600, 1200]),
            repeats: 0,
            compressed: false,
            link: self.link(),
        }
    }

    /// Links between the nodes from 1 on.
    fn topology(&mut self, nodes: u16) -> Vec<(u16, u16)> {
        let line = (1..nodes).map(|id| (id, id + 1));
        match self.random.random_range(0..5) {
            0 => line.collect(),
            1 => line.chain((nodes > 2).then_some((1, nodes))).collect(),
            2 => (2..=nodes).map(|id| (1, id)).collect(),
            3 => {
                let columns = (1..).find(|side| side * side >= nodes).unwrap_or(1);
                let right = line.filter(|(id, _)| id % columns != 0);
                let down = (1..=nodes.saturating_sub(columns)).map(|id| (id, id + columns));
                right.chain(down).collect()
            }
            _ => {
                let tree = (2..=nodes).map(|id| (self.random.random_range(1..id), id));
                let mut links: Vec<(u16, u16)> = tree.collect();
                for _ in 0..nodes / 2 {
                    let (a, b) = (
                        self.random.random_range(1..=nodes),
                        self.random.random_range(1..=nodes),
                    );
                    let link = (a.min(b), a.max(b));
                    if a != b && !links.contains(&link) {
                        links.push(link);
                    }
                }
                links
            }
        }
    }

    fn link(&mut self) -> LinkForm {
        let mut link = LinkForm {
            delay_s: self.seconds(1, 30),
            ..LinkForm::default()
        };
        if self.chance(40) {
            link.loss = self.share(20);
        }
        if self.chance(15) {
            link.bursts = Some(BurstTable {
                begin: 0.02,
                end: self.share(30),
                loss: 0.8,
            });
        }
        if self.chance(25) {
            link.duplication = self.share(20);
        }
        if self.chance(15) {
            link.corruption = self.share(5);
        }
        if self.chance(30) {
            link.jitter_s = self.seconds(1, 60);
        }
        if self.chance(15) {
            let bits_per_s = self.one(&[30_000, 115_200, 250_000, 1_000_000]);
            let queue_bytes: u32 = self.one(&[1200, 4000, 16_000]);
            link.bandwidth = Some(BandwidthTable {
                bits_per_s,
                // A packet has to be through the mesh in three seconds (spec/wire.md, section 2).
                queue_bytes: queue_bytes.min(bits_per_s / 8),
                header_bytes: 12,
            });
        }
        if self.chance(5) {
            link.longest = Some(self.one(&[200, 400, 600]));
        }
        link
    }

    fn calls(&mut self, mesh: &Mesh) -> Vec<Call> {
        let count = self.random.random_range(2..30);
        let mut calls: Vec<Call> = (0..count).map(|_| self.call(mesh)).collect();
        if self.chance(25) {
            let mut call = self.call(mesh);
            call.times = self.one(&[5, 9, 17, 70]);
            call.stop_after_s = None;
            calls.push(call);
        }
        if self.chance(20) {
            calls.extend(self.rush(mesh));
        }
        calls
    }

    /// Everybody calls the same node, at about the same time.
    fn rush(&mut self, mesh: &Mesh) -> Vec<Call> {
        let model = self.call(mesh);
        let nodes = mesh.nodes().into_iter();
        let nodes = nodes.filter(|id| *id != model.node && !mesh.registries.contains(id));
        let calls = nodes.map(|node| Call {
            at_s: whole_ms(model.at_s + self.seconds(0, 100)),
            node,
            on: Some(model.node),
            times: self.one(&[1, 2, 5, 20]),
            stop_after_s: None,
            move_to: None,
            claim_at: None,
            ..model.clone()
        });
        let calls = calls.filter(|call| call.at_s < mesh.turmoil_s);
        calls.collect()
    }

    fn call(&mut self, mesh: &Mesh) -> Call {
        let nodes: Vec<u16> = mesh.nodes().into_iter().collect();
        let nodes: Vec<u16> = nodes
            .into_iter()
            .filter(|id| !mesh.registries.contains(id))
            .collect();
        let node = self.one(&nodes);
        let namespace = self.one(&NAMESPACES[..mesh.registries.len()]);
        let other = |drawer: &mut Self| {
            let other = drawer.one(&nodes);
            (other != node).then_some(other)
        };
        Call {
            at_s: self.seconds(100, (mesh.turmoil_s * 1000.0) as u32),
            node,
            tasklet: format!("{namespace}/{}", self.one(&TASKLETS)),
            on: if self.chance(40) { other(self) } else { None },
            deadline_s: self.seconds(500, 8000),
            times: 1,
            every_s: None,
            stop_after_s: self.chance(8).then(|| self.seconds(1, 1000)),
            move_to: if self.chance(15) { other(self) } else { None },
            claim_at: None,
            claim_after_s: None,
            priority: None,
            cancel_after_s: None,
        }
    }

    /// Clients go on to other nodes, or call twice.
    fn claims(&mut self, mesh: &Mesh, calls: &mut [Call]) {
        let nodes = mesh.nodes().into_iter();
        let nodes: Vec<u16> = nodes.filter(|id| !mesh.registries.contains(id)).collect();
        for call in calls {
            if self.chance(15) {
                let other = self.one(&nodes);
                call.claim_at = Some(if self.chance(25) { call.node } else { other });
                call.claim_after_s = Some(self.seconds(0, 3000));
            }
        }
    }

    /// Calls are more or less urgent, some have little time, and some are not wanted any more.
    fn urgencies(&mut self, calls: &mut [Call]) {
        for call in calls {
            if self.chance(40) {
                call.priority = Some(self.one(&[Level::Low, Level::High]));
            }
            if self.chance(15) {
                call.deadline_s = self.seconds(50, 1000);
            }
            if self.chance(12) {
                call.cancel_after_s = Some(self.seconds(0, 2000));
            }
        }
    }

    /// One to three flows between nodes that have them; none if there are no two such nodes.
    fn flows(&mut self, mesh: &Mesh) -> Vec<Flow> {
        let nodes = mesh.nodes().into_iter();
        let without = [&mesh.registries, &mesh.boards, &mesh.tiny];
        let able = nodes.filter(|id| !without.iter().any(|ids| ids.contains(id)));
        let mut able: Vec<u16> = able.collect();
        if able.len() < 2 {
            return Vec::new();
        }
        let count = self.random.random_range(1..=3);
        let mut flows: Vec<Flow> = (0..count).map(|_| self.flow(mesh, &mut able)).collect();
        while Flow::fit(&flows).is_err() {
            let last = flows.last_mut().expect("one without operators fits");
            match last.sources.len() {
                1 if last.operators.is_empty() => drop(flows.pop()),
                1 => drop(last.operators.pop()),
                _ => drop(last.sources.pop()),
            }
        }
        if self.chance(25)
            && let Some(flow) = flows.first_mut()
        {
            flow.sensed = true;
            flow.every_s = self.seconds(100, 800);
            let most_s = mesh.turmoil_s - flow.at_s;
            flow.stop_after_s = Some(self.seconds(1000, (most_s * 1000.0) as u32));
        }
        flows
    }

    fn flow(&mut self, mesh: &Mesh, able: &mut [u16]) -> Flow {
        able.shuffle(&mut self.random);
        let (sink, others) = able.split_first().expect("there are two");
        let most = others.len().min(4);
        let sources = self.random.random_range(1..=most);
        let mut operators = Vec::new();
        let mut span = 1;
        for _ in 0..self.one(&[0, 1, 1, 2, 2, 3, 4]) {
            let namespace = self.one(&NAMESPACES[..mesh.registries.len()]);
            let name = self.one(&[
                "scale", "scale", "pass", "pass", "digest", "digest", "mix", "mix", "leaf", "chain",
            ]);
            let gathers = matches!(name, "digest" | "mix");
            let count = if gathers {
                self.one(&[1, 2, 3, 5, 8])
            } else {
                1
            };
            if span * count <= 16 {
                span *= count;
                let tasklet = format!("{namespace}/{name}");
                operators.push(Operator { tasklet, count });
            }
        }
        let turmoil_ms = (mesh.turmoil_s * 1000.0) as u32;
        Flow {
            at_s: self.seconds(100, turmoil_ms / 2),
            sink: *sink,
            sources: others[..sources].to_vec(),
            room: self.one(&[2 * span, 32.max(2 * span), 64]),
            items: self.one(&[10, 30, 60]),
            every_s: self.one(&[0.02, 0.1, 0.3, 1.0]),
            sensed: false,
            at_sink: self.chance(15),
            stop_after_s: self.chance(15).then(|| self.seconds(500, turmoil_ms / 2)),
            operators,
        }
    }

    /// More work for a node than it can do, for minutes, and calls that have much time and little priority.
    fn overload(&mut self, mesh: &mut Mesh) -> Vec<Call> {
        let mut model = self.call(mesh);
        model.at_s = self.seconds(500, 4000);
        (model.on, model.stop_after_s, model.move_to) = (None, None, None);
        let calls = |drawer: &mut Self, tasklet: &str, times: u32, every_s: f64| {
            let namespace = drawer.one(&NAMESPACES[..mesh.registries.len()]);
            Call {
                tasklet: format!("{namespace}/{tasklet}"),
                times,
                every_s: Some(every_s),
                at_s: whole_ms(model.at_s + drawer.seconds(0, 3000)),
                deadline_s: drawer.seconds(60_000, 110_000),
                ..model.clone()
            }
        };
        // A call of any of these takes about half a second, or three times that.
        let (tasklet, every_s) = self.one(&[("slow", 1.4), ("large", 0.38), ("deep", 0.45)]);
        let lasts_s = self.seconds(70_000, 100_000);
        let times = (lasts_s / every_s) as u32;
        let mut all = vec![calls(self, tasklet, times, every_s)];
        all[0].priority = self.one(&[None, None, Some(Level::High)]);
        if self.chance(50) {
            let tasklet = self.one(&["leaf", "pair", "slow"]);
            let mut others = calls(self, tasklet, times / 4, 4.0 * every_s);
            others.priority = self.one(&[None, Some(Level::High), Some(Level::Low)]);
            all.push(others);
        }
        let few = self.one(&[1, 3, 8]);
        let mut patient = calls(self, tasklet, few, 2.0);
        patient.priority = Some(Level::Low);
        patient.deadline_s = self.seconds(90_000, 180_000);
        all.push(patient);
        let ends = all.iter().map(|call| {
            let times = f64::from(call.times) * call.every_s.unwrap_or_default();
            call.at_s + times + call.deadline_s
        });
        mesh.turmoil_s = whole_ms(ends.fold(mesh.turmoil_s, f64::max));
        all
    }

    fn incidents(&mut self, mesh: &Mesh, calls: &[Call]) -> Vec<Incident> {
        let mut incidents = Vec::new();
        for _ in 0..self.random.random_range(0..=5) {
            let incident = self.incident(mesh);
            if let What::Rollback { node } = incident.what {
                incidents.extend(self.around_rollback(mesh, node, incident.at_s));
            }
            incidents.push(incident);
        }
        let remote: Vec<&Call> = calls.iter().filter(|call| call.on.is_some()).collect();
        if self.chance(25)
            && let Some(call) = remote.choose(&mut self.random)
        {
            incidents.extend(self.crash_of_callee(mesh, call));
        }
        incidents
    }

    /// Something that makes calls go elsewhere.
    fn trouble(&mut self, mesh: &Mesh) -> Incident {
        let turmoil_ms = (mesh.turmoil_s * 1000.0) as u32;
        let nodes: Vec<u16> = mesh.nodes().into_iter().collect();
        let node = self.one(&nodes);
        let (a, b) = self.one(&mesh.links);
        let (from, to) = if self.chance(50) { (a, b) } else { (b, a) };
        let what = match self.random.random_range(0..4) {
            0 => What::Drain { node },
            1 => What::Slow {
                node,
                speed: self.one(&[0.1, 0.25, 0.5]),
            },
            2 => What::Misreport {
                node,
                says: self.one(&Tale::ALL),
            },
            _ => What::Forge {
                from,
                to,
                what: Lie::Offers,
                per_s: self.one(&[1.0, 5.0, 20.0]),
                origins: 1,
            },
        };
        Incident {
            at_s: self.seconds(200, turmoil_ms),
            for_s: Some(self.seconds(100, turmoil_ms / 2)),
            what,
        }
    }

    /// A backup is older only if something was published since; and who starts anew afterwards hears
    /// of the older content.
    fn around_rollback(&mut self, mesh: &Mesh, registry: u16, at_s: f64) -> Vec<Incident> {
        let nodes: Vec<u16> = mesh.nodes().into_iter().collect();
        let publish = Incident {
            at_s: whole_ms((at_s - self.seconds(500, 4000)).max(0.2)),
            for_s: None,
            what: What::Publish {
                node: registry,
                withdraw: false,
            },
        };
        let crash = Incident {
            at_s: whole_ms((at_s + self.seconds(0, 2000)).min(mesh.turmoil_s)),
            for_s: Some(self.seconds(100, 1000)),
            what: What::Crash {
                node: self.one(&nodes),
                keeps: self.chance(30),
                clock_s: 0.0,
            },
        };
        vec![publish, crash]
    }

    /// The node that runs a call is down for a moment while it does.
    fn crash_of_callee(&mut self, mesh: &Mesh, call: &Call) -> Option<Incident> {
        let at_s = whole_ms(call.at_s + self.seconds(20, 1500));
        let what = What::Crash {
            node: call.on?,
            keeps: self.chance(50),
            clock_s: 0.0,
        };
        let for_s = Some(self.seconds(10, 800));
        (at_s < mesh.turmoil_s).then_some(Incident { at_s, for_s, what })
    }

    fn incident(&mut self, mesh: &Mesh) -> Incident {
        let turmoil_ms = (mesh.turmoil_s * 1000.0) as u32;
        let at_s = self.seconds(200, turmoil_ms);
        let for_s = self.seconds(100, turmoil_ms / 2);
        let nodes: Vec<u16> = mesh.nodes().into_iter().collect();
        let (a, b) = self.one(&mesh.links);
        let (from, to) = if self.chance(50) { (a, b) } else { (b, a) };
        let node = self.one(&nodes);
        let registry = self.one(&mesh.registries);
        let mut lasts = false;
        let what = match self.random.random_range(0..100) {
            0..18 => What::Crash {
                node,
                keeps: self.chance(50),
                clock_s: if self.chance(30) {
                    self.one(&[-200.0, -30.0, -1.0, 1.0, 30.0, 200.0, -3e8, 3e8])
                } else {
                    0.0
                },
            },
            18..26 => What::Clock {
                node,
                leap_s: if self.chance(50) {
                    self.seconds(1, 100_000)
                } else {
                    0.0
                },
                rate: self.one(&[0.95, 0.999, 1.0, 1.001, 1.05]),
            },
            26..36 => {
                lasts = self.chance(40) && has_way_around(mesh, (from, to));
                What::Cut { from, to }
            }
            36..44 => {
                let half = nodes.iter().copied().filter(|_| self.chance(50));
                What::Partition {
                    nodes: half.collect(),
                }
            }
            44..52 => What::Link {
                from,
                to,
                link: self.link(),
            },
            52..64 => What::Publish {
                node: registry,
                withdraw: self.chance(30),
            },
            64..67 => What::Swap { node: registry },
            67..70 => What::Rollback { node: registry },
            _ => {
                let what = self.one(&[
                    Lie::Holders,
                    Lie::Numbers,
                    Lie::Results,
                    Lie::Floods,
                    Lie::Mutants,
                    Lie::Replays,
                ]);
                let is_flood = what == Lie::Floods;
                lasts = self.chance(30) && matches!(what, Lie::Holders | Lie::Numbers);
                What::Forge {
                    from,
                    to,
                    what,
                    per_s: match is_flood {
                        true => self.one(&[0.2, 1.0]),
                        false => self.one(&[1.0, 5.0, 10.0, 20.0]),
                    },
                    origins: match is_flood {
                        true => self.one(&[8, 20, 64, 256]),
                        false => 1,
                    },
                }
            }
        };
        let for_s = (!lasts).then_some(for_s);
        Incident { at_s, for_s, what }
    }
}

/// The nearest number of milliseconds, in seconds.
fn whole_ms(seconds: f64) -> f64 {
    (seconds * 1000.0).round_ties_even() / 1000.0
}

/// Whether two nodes are connected without their link, over nodes that pass floods on.
fn has_way_around(mesh: &Mesh, (from, to): (u16, u16)) -> bool {
    let links = mesh
        .links
        .iter()
        .filter(|link| **link != (from, to) && **link != (to, from));
    let mut reached = vec![from];
    let mut at = 0;
    while let Some(here) = reached.get(at).copied() {
        at += 1;
        if here != from && mesh.registries.contains(&here) {
            continue;
        }
        for (a, b) in links.clone() {
            let other = if *a == here { *b } else { *a };
            if (*a == here || *b == here) && !reached.contains(&other) {
                reached.push(other);
            }
        }
    }
    reached.contains(&to)
}
