//! What befalls the nodes and links of any run: crashes, clocks, cuts and bad links.

use nimblenet_core::Instant;
use nimblenet_tasklet::{Delta, NamespaceId, NodeId};

use super::trial::{Incident, What};
use crate::engine::{Engine, Observer};
use crate::link::LinkModel;

/// A node's wall clock says this at the beginning, in seconds.
const WALL_S: f64 = 1_000_000.0;
/// How much packet numbers rise in a second.
const NUMBERS_PER_S: f64 = 256.0;

/// The first packet number of a node that starts at `now`, with a wall clock that is wrong by
/// `clock_s`. The clock of a daemon gives more numbers a second; with these, runs come near each other.
pub(super) fn first_sequence(now: Instant, clock_s: f64) -> u32 {
    let wall_s = WALL_S + (now - Instant::ZERO).as_secs_f64() + clock_s;
    (wall_s * NUMBERS_PER_S) as i64 as u32
}

/// Applies incidents to nodes and links, and takes them back.
pub struct Upheaval {
    links: Vec<(NodeId, NodeId)>,
    usual: LinkModel,
    /// What goes on at the moment.
    present: Vec<What>,
    /// The catalogues that nodes have kept while they are down.
    kept: Vec<(NodeId, Vec<Vec<u8>>)>,
}

impl Upheaval {
    /// For a mesh with these links, which all behave like `usual`.
    pub fn new(links: Vec<(NodeId, NodeId)>, usual: LinkModel) -> Self {
        let (present, kept) = (Vec::new(), Vec::new());
        Self {
            links,
            usual,
            present,
            kept,
        }
    }

    /// Lets something begin.
    pub fn begin<O: Observer>(&mut self, engine: &mut Engine<O>, what: &What) {
        if let What::Crash { node, keeps, .. } = what {
            self.crash(engine, NodeId(*node), *keeps);
        }
        self.present.push(what.clone());
        self.apply(engine, what, true);
    }

    /// Ends it. Whatever else befalls the same node or link goes on.
    ///
    /// # Panics
    /// If a node refuses the configuration that it had before.
    pub fn end<O: Observer>(&mut self, engine: &mut Engine<O>, what: &What) {
        let at = self.present.iter().position(|present| present == what);
        let Some(at) = at else {
            return;
        };
        self.present.remove(at);
        if let What::Crash { node, clock_s, .. } = what {
            let is_down =
                |other: &What| matches!(other, What::Crash { node: it, .. } if it == node);
            if !self.present.iter().any(is_down) {
                self.restart(engine, NodeId(*node), *clock_s);
            }
        }
        self.apply(engine, what, false);
    }

    /// Lets what `what` befalls be as all that goes on at the moment wants it; of several things that
    /// contradict each other the last one to begin decides. `begins` says whether `what` begins now.
    fn apply<O: Observer>(&self, engine: &mut Engine<O>, what: &What, begins: bool) {
        let latest = |is: &dyn Fn(&What) -> bool| self.present.iter().rfind(|it| is(it));
        match what {
            What::Clock { node, .. } => {
                let found =
                    latest(&|it| matches!(it, What::Clock { node: other, .. } if other == node));
                let (leap_s, rate) = match found {
                    Some(What::Clock { leap_s, rate, .. }) => (*leap_s, *rate),
                    _ => (0.0, 1.0),
                };
                // A clock leaps once, when that begins.
                let leap_s = if begins { leap_s } else { 0.0 };
                let leap = crate::trace::duration(leap_s);
                engine.set_clock(NodeId(*node), leap, (rate * 1e6) as u32);
            }
            What::Slow { node, .. } => {
                let found =
                    latest(&|it| matches!(it, What::Slow { node: other, .. } if other == node));
                let speed = match found {
                    Some(What::Slow { speed, .. }) => *speed,
                    _ => 1.0,
                };
                engine.set_speed(NodeId(*node), (speed * 1e6) as u32);
            }
            What::Drain { node } => {
                drain(engine, NodeId(*node), latest(&|it| it == what).is_some())
            }
            What::Misreport { node, .. } => {
                let found = latest(
                    &|it| matches!(it, What::Misreport { node: other, .. } if other == node),
                );
                let says = match found {
                    Some(What::Misreport { says, .. }) => Some(*says),
                    _ => None,
                };
                engine.set_tale(NodeId(*node), says);
            }
            What::Cut { .. } | What::Partition { .. } | What::Link { .. } => self.settle(engine),
            What::Crash { .. }
            | What::Publish { .. }
            | What::Swap { .. }
            | What::Rollback { .. }
            | What::Forge { .. } => {}
        }
    }

    /// Lets links behave otherwise unless something befalls them.
    pub(super) fn set_usual<O: Observer>(&mut self, engine: &mut Engine<O>, usual: LinkModel) {
        self.usual = usual;
        self.settle(engine);
    }

    /// Whether frames pass from one node to another.
    pub(super) fn passes(&self, from: NodeId, to: NodeId) -> bool {
        !self.present.iter().any(|what| cuts(what, from, to))
    }

    fn settle<O: Observer>(&self, engine: &mut Engine<O>) {
        for (a, b) in &self.links {
            for (from, to) in [(*a, *b), (*b, *a)] {
                engine.set_up(from, to, self.passes(from, to));
                let mut present = self.present.iter().rev();
                let other = present.find_map(|what| {
                    let What::Link {
                        from: one,
                        to: other,
                        link,
                    } = what
                    else {
                        return None;
                    };
                    ((*one, *other) == (from.0, to.0)).then(|| link.model())
                });
                engine.set_model(from, to, other.unwrap_or(self.usual));
            }
        }
    }

    fn crash<O: Observer>(&mut self, engine: &mut Engine<O>, id: NodeId, keeps: bool) {
        let Some(node) = engine.node(id) else {
            // It is down; what it has kept is lost if this crash leaves nothing.
            let kept = self.kept.iter_mut().find(|(node, _)| *node == id);
            if let Some((_, kept)) = kept.filter(|_| !keeps) {
                kept.clear();
            }
            return;
        };
        let mut kept = Vec::new();
        if keeps && node.archive().is_none() {
            let namespaces = node.config().namespaces.iter();
            let held = namespaces.filter_map(|it| node.catalogue(NamespaceId::of(&it.name)));
            for catalogue in held.filter(|catalogue| catalogue.epoch() > 0) {
                let mut delta = vec![0; catalogue.delta_bytes()];
                let len = catalogue.encode_delta(0, &mut delta);
                delta.truncate(len.unwrap_or_default());
                kept.push(delta);
            }
        }
        self.kept.push((id, kept));
        engine.crash(id);
    }

    fn restart<O: Observer>(&mut self, engine: &mut Engine<O>, id: NodeId, clock_s: f64) {
        let Some(at) = self.kept.iter().position(|(node, _)| *node == id) else {
            return;
        };
        let (_, kept) = self.kept.remove(at);
        // Somebody else may have started it meanwhile.
        if engine.node(id).is_some() {
            return;
        }
        engine.config_mut(id).first_sequence = first_sequence(engine.now(), clock_s);
        engine.begin_clock(id);
        engine.start(id).expect("it had this configuration before");
        for delta in kept {
            let delta = Delta::decode(&delta).expect("a catalogue makes well-formed deltas");
            let installed = engine.command(id, |node, now| node.install(now, &delta));
            installed.expect("a node takes up what it has held");
        }
    }
}

/// Asks a node that is up to give its jobs away, or takes that back.
fn drain<O: Observer>(engine: &mut Engine<O>, id: NodeId, drains: bool) {
    if engine.node(id).is_some() {
        engine.command(id, |node, now| node.drain(now, drains));
    }
}

/// Whether this keeps frames from one node from another.
fn cuts(what: &What, from: NodeId, to: NodeId) -> bool {
    if let What::Partition { nodes } = what {
        return nodes.contains(&from.0) != nodes.contains(&to.0);
    }
    let cut = What::Cut {
        from: from.0,
        to: to.0,
    };
    *what == cut
}

/// The moments of incidents in order: when each begins and ends. Of several at once, ends come first.
pub fn schedule(incidents: &[Incident]) -> Vec<(Instant, bool, usize)> {
    let mut moments = Vec::new();
    for (at, incident) in incidents.iter().enumerate() {
        moments.push((Instant::ZERO + incident.begins(), true, at));
        let ends = incident.ends().into_iter();
        moments.extend(ends.map(|ends| (Instant::ZERO + ends, false, at)));
    }
    moments.sort_by_key(|(moment, begins, _)| (*moment, *begins));
    moments
}
