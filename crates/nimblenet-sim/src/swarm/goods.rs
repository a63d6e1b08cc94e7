//! What is published in a trial.

use nimblenet_core::Archive;
use nimblenet_tasklet::{NamespaceId, TaskletName};

use super::deed::Deed;
use crate::executor::TimedExecutor;
use crate::publisher::{Draft, Publisher, shelve};

/// The namespaces.
pub(super) const NAMESPACES: [&str; 2] = ["alpha", "beta"];
/// The tasklets of each.
pub(super) const TASKLETS: [&str; 6] = ["leaf", "pair", "chain", "deep", "large", "slow"];
/// The tasklets of each for flows, if the trial has some: what they do, and their signatures.
const OPERATORS: [(&str, Deed, &str); 5] = [
    ("scale", Deed::Scale, "func(u32) -> u32"),
    ("pass", Deed::Pass, "func(u32) -> bool"),
    ("digest", Deed::Digest, "func(list<u32>) -> u32"),
    ("mix", Deed::Mix, "func(u32, u32) -> u32"),
    ("sense", Deed::Sense, "func() -> u32"),
];
/// The tasklet that makes items of a flow.
pub(super) const SENSE: &str = "alpha/sense";
/// The tasklet that is withdrawn and published again; no other one calls it.
const WITHDRAWN: &str = "large";
/// What modules are compressed with: little else than zeros is in them.
const DICTIONARY: [u8; 64] = [0; 64];
/// The signature of all of them: a number in, a number out.
const SIGNATURE: &str = "func(u32) -> u32";

/// Whether a name is one of a mesh with so many namespaces.
pub(super) fn is_published(name: &str, namespaces: usize) -> bool {
    let Some((namespace, tasklet)) = name.split_once('/') else {
        return false;
    };
    let namespaces = &NAMESPACES[..namespaces.min(NAMESPACES.len())];
    namespaces.contains(&namespace) && TASKLETS.contains(&tasklet)
}

/// Whether a name is that of a tasklet that takes items of flows, in a mesh with so many namespaces.
pub(super) fn is_operator(name: &str, namespaces: usize) -> bool {
    let Some((namespace, tasklet)) = name.split_once('/') else {
        return false;
    };
    let namespaces = &NAMESPACES[..namespaces.min(NAMESPACES.len())];
    let made = OPERATORS.iter().any(|(name, ..)| *name == tasklet);
    let is = made && tasklet != "sense" || is_published(name, namespaces.len());
    namespaces.contains(&namespace) && is && tasklet != WITHDRAWN
}

/// What a tasklet does.
pub(super) fn deed(tasklet: &str) -> Deed {
    let named = OPERATORS.iter().find(|(name, ..)| *name == tasklet);
    named.map_or(Deed::Echo, |(_, deed, _)| *deed)
}

/// Publishers, and what each of their registries has.
pub(super) struct Goods {
    compressed: bool,
    /// Whether there are tasklets for flows.
    flows: bool,
    publishers: Vec<Publisher>,
    /// As they were after the first epoch.
    first: Vec<Publisher>,
    /// The newest epoch of each that there ever was.
    newest: Vec<u32>,
    /// Makes each version's modules differ.
    version: u8,
}

/// A signed change, and its modules.
pub(super) struct Change {
    pub(super) delta: Vec<u8>,
    pub(super) modules: Vec<Vec<u8>>,
}

impl Change {
    /// Puts it into an archive.
    pub(super) fn shelve(&self, archive: &mut Archive) {
        shelve(archive, &self.delta, &self.modules);
    }
}

impl Goods {
    /// The first epoch of so many namespaces, and its change for each.
    /// Modules travel as they run, or compressed; with flows there are tasklets for these too.
    pub(super) fn new(namespaces: usize, compressed: bool, flows: bool) -> (Self, Vec<Change>) {
        let mut goods = Self {
            compressed,
            flows,
            publishers: Vec::new(),
            first: Vec::new(),
            newest: vec![0; namespaces],
            version: 0,
        };
        goods.publishers = (0..namespaces).map(|at| goods.anew(at)).collect();
        let changes = (0..namespaces).map(|at| goods.publish(at)).collect();
        goods.first = goods.publishers.clone();
        (goods, changes)
    }

    /// A publisher of a namespace that has published nothing.
    fn anew(&self, at: usize) -> Publisher {
        let publisher = Publisher::new(NAMESPACES[at]);
        match self.compressed {
            true => publisher.compressing(DICTIONARY.to_vec()),
            false => publisher,
        }
    }

    /// The publisher of a namespace.
    pub(super) fn publisher(&self, at: usize) -> &Publisher {
        &self.publishers[at]
    }

    /// The namespace as frames have it.
    pub(super) fn id(&self, at: usize) -> NamespaceId {
        NamespaceId::of(&self.publishers[at].name())
    }

    /// The next version of everything in a namespace.
    pub(super) fn publish(&mut self, at: usize) -> Change {
        self.version = self.version.wrapping_add(1);
        let mut drafts = drafts(at, self.version);
        if self.flows {
            drafts.extend(operators(self.version));
        }
        let mut publisher = self.publishers[at].clone();
        let delta = publisher.publish(&drafts, |name| self.number(name));
        let modules = publisher.modules().to_vec();
        self.newest[at] = self.newest[at].max(publisher.catalogue().epoch());
        self.publishers[at] = publisher;
        Change { delta, modules }
    }

    /// What a registry has, as an epoch that is newer than all that nodes can hold: the way back after
    /// it has lost something.
    pub(super) fn publish_again(&mut self, at: usize) -> Change {
        self.newest[at] += 1;
        let delta = self.publishers[at].publish_again(self.newest[at]);
        let modules = Vec::new();
        Change { delta, modules }
    }

    /// Withdraws one tasklet; or publishes all again if it is withdrawn already.
    pub(super) fn withdraw(&mut self, at: usize) -> Change {
        let name = WITHDRAWN.parse().expect("a valid name");
        if self.publishers[at].catalogue().find(&name).is_none() {
            return self.publish(at);
        }
        let delta = self.publishers[at].withdraw(&[WITHDRAWN]);
        let epoch = self.publishers[at].catalogue().epoch();
        self.newest[at] = self.newest[at].max(epoch);
        let modules = Vec::new();
        Change { delta, modules }
    }

    /// Loses everything of a namespace, and publishes until it has the same epoch again.
    pub(super) fn swap(&mut self, at: usize) -> Vec<Change> {
        let epochs = self.publishers[at].catalogue().epoch();
        self.publishers[at] = self.anew(at);
        (0..epochs).map(|_| self.publish(at)).collect()
    }

    /// Goes back to the first epoch of a namespace.
    pub(super) fn roll_back(&mut self, at: usize) {
        self.publishers[at] = self.first[at].clone();
    }

    fn number(&self, name: &TaskletName) -> Option<u16> {
        let mut publishers = self.publishers.iter();
        let publisher = publishers.find(|one| one.name() == name.namespace)?;
        let entry = publisher.catalogue().find(&name.name)?;
        Some(entry.number)
    }
}

/// The tasklets of a namespace. Chains of the second one call the first one too.
fn drafts(at: usize, version: u8) -> Vec<Draft> {
    let draft = |name: &str, times_us: &[u32], len: usize| {
        let mut module = TimedExecutor::module(times_us, len);
        *module.last_mut().expect("a module has bytes") = version;
        Draft::new(name, module, SIGNATURE)
    };
    let calling = |draft: Draft, callees: [&str; 2]| {
        let calls = callees.iter();
        calls.fold(draft, |draft, callee| draft.calling(callee, SIGNATURE))
    };
    let own = |name: &str| format!("{}/{name}", NAMESPACES[at]);
    let leaf = format!("{}/leaf", NAMESPACES[0]);
    vec![
        draft("leaf", &[2000], 120),
        draft("pair", &[5000], 300),
        calling(
            draft("chain", &[20_000, 30_000, 10_000], 200),
            [&leaf, &own("pair")],
        ),
        calling(
            draft("deep", &[100_000, 200_000, 100_000], 150),
            [&own("chain"), &leaf],
        ),
        draft("large", &[400_000], 3000),
        draft("slow", &[1_500_000], 100),
    ]
}

/// The tasklets for flows.
fn operators(version: u8) -> impl Iterator<Item = Draft> {
    OPERATORS.into_iter().map(move |(name, deed, signature)| {
        let mut module = TimedExecutor::module(&[1500], 40);
        let place = TimedExecutor::times_bytes(&module);
        module[place] = deed as u8;
        *module.last_mut().expect("a module has bytes") = version;
        Draft::new(name, module, signature)
    })
}
