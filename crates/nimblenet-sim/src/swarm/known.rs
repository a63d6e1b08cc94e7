//! Faults of the protocol that are known, and stay until it is made robust against them.

use super::trial::Trial;
use super::{Verdict, perform};

/// A fault that is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Known {
    /// Its name: that of its file in `known`.
    pub name: &'static str,
    /// The smallest trial that shows it. Its checker and causes say which trials do.
    pub file: &'static str,
}

/// Declares the list, a file of `known/` each.
macro_rules! known {
    ($($name:literal),* $(,)?) => {
        /// Every known fault.
        pub const KNOWN: &[Known] = &[$(Known {
            name: $name,
            file: include_str!(concat!("../../known/", $name, ".toml")),
        }),*];
    };
}

known![
    "forged-results",
    "mutated-calls",
    "mutated-items",
    "replayed-calls",
    "rollback-over-restart",
];

impl Known {
    /// The trial that shows it.
    ///
    /// # Panics
    /// If its file is no trial.
    pub fn trial(&self) -> Trial {
        let trial = Trial::read(self.file);
        trial.unwrap_or_else(|error| panic!("known/{}.toml: {error}", self.name))
    }
}

/// The known faults that let this trial fail at this checker; the trial without what causes them, and
/// how that one goes.
pub(super) fn explain(
    trial: &Trial,
    checker: &str,
) -> Option<(Vec<&'static Known>, Trial, Verdict)> {
    let mut all = Vec::new();
    let mut without_all = trial.clone();
    for (fault, shown) in KNOWN.iter().map(|fault| (fault, fault.trial())) {
        let fails = shown
            .checker
            .iter()
            .chain(&shown.also)
            .any(|fails| fails == checker);
        let mut without = trial.clone();
        if !fails || !without.remove_all(&shown.causes) {
            continue;
        }
        if let Some(verdict) = passes(&without, checker) {
            return Some((vec![fault], without, verdict));
        }
        without_all.remove_all(&shown.causes);
        all.push(fault);
    }
    let verdict = (all.len() > 1)
        .then(|| passes(&without_all, checker))
        .flatten()?;
    Some((all, without_all, verdict))
}

/// How a trial goes in which this checker finds nothing.
fn passes(trial: &Trial, checker: &str) -> Option<Verdict> {
    let verdict = perform(trial);
    let failure = verdict.failure.as_ref();
    failure
        .is_none_or(|failure| failure.checker != checker)
        .then_some(verdict)
}
