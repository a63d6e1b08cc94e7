//! Swarms: many short random runs that look for the protocol's faults.
//!
//! A seed makes a [`Trial`]: a small mesh, calls, flows, and faults of nodes, links, clocks, registries
//! and neighbours that lie. While it runs, checkers look at everything that happens. What a checker finds
//! is compared with the list of faults that are [known](KNOWN), and made as small as possible if it is
//! none of them.
//!
//! ```
//! use nimblenet_sim::swarm;
//!
//! let judgement = swarm::judge(1);
//! assert!(judgement.unknown.is_none());
//! ```

mod check;
mod deed;
mod draw;
mod echo;
mod feeding;
mod flow;
mod form;
mod goods;
mod intruder;
mod known;
mod link;
mod minimise;
mod stage;
mod trial;
mod upheaval;
mod watch;

use std::collections::BTreeMap;

pub use draw::draw;
pub use flow::{Flow, Operator};
pub use known::{KNOWN, Known};
pub use link::LinkForm;
pub use minimise::minimise;
pub use trial::{Call, Incident, Level, Lie, Mesh, Trial, What};
pub use upheaval::{Upheaval, schedule};

use check::{CHECKERS, OWN};

/// How often each kind of thing has happened: faults, and what they led to.
pub type Fired = BTreeMap<&'static str, u64>;

/// What a checker has found.
#[derive(Clone, PartialEq, Debug)]
pub struct Failure {
    /// The checker.
    pub checker: &'static str,
    /// When, in seconds.
    pub at_s: f64,
    /// What has happened.
    pub what: String,
}

/// How a trial has gone.
#[derive(Clone, PartialEq, Debug)]
pub struct Verdict {
    /// What the first checker that found something has found.
    pub failure: Option<Failure>,
    /// How often each kind of thing has happened.
    pub fired: Fired,
    /// The steps of the simulation.
    pub steps: u64,
    /// A number that differs if anything happened otherwise.
    pub event_log_hash: u64,
}

/// What is to be thought of a seed.
#[derive(Clone, PartialEq, Debug)]
pub struct Judgement {
    /// The seed.
    pub seed: u64,
    /// How its trial has gone.
    pub verdict: Verdict,
    /// The known faults that it shows, each with what was found.
    pub known: Vec<(&'static Known, Failure)>,
    /// What it shows besides, and the smallest trial that was found to show it.
    pub unknown: Option<(Failure, Trial)>,
}

/// How many known faults one seed may show.
const KNOWN_MAX: usize = 8;
/// How many smaller trials are tried.
const SMALLER_MAX: u32 = 300;

/// The names of the checkers, and what each makes sure of.
pub fn checkers() -> impl Iterator<Item = (&'static str, &'static str)> {
    let observers = CHECKERS.iter().map(|entry| (entry.name, entry.about));
    observers.chain(OWN)
}

/// Runs a trial with a mesh.
///
/// # Panics
/// If it has none, or was not checked.
pub fn perform(trial: &Trial) -> Verdict {
    stage::perform(trial)
}

/// Runs the trial of a seed. If it fails as a known fault lets it fail, it runs without what causes
/// that one, until nothing fails any more or it fails otherwise.
pub fn judge(seed: u64) -> Judgement {
    let mut trial = draw(seed);
    let verdict = perform(&trial);
    let mut failure = verdict.failure.clone();
    let (mut known, mut unknown) = (Vec::new(), None);
    while let Some(found) = failure.take() {
        let explained = (known.len() < KNOWN_MAX).then(|| known::explain(&trial, found.checker));
        if let Some((faults, without, next)) = explained.flatten() {
            known.extend(faults.into_iter().map(|fault| (fault, found.clone())));
            (trial, failure) = (without, next.failure);
        } else {
            let smallest = minimise(&trial, found.checker, SMALLER_MAX);
            unknown = Some((found, smallest));
        }
    }
    Judgement {
        seed,
        verdict,
        known,
        unknown,
    }
}
