//! What is run: a trace from a file, or one that a scenario makes.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use nimblenet_sim::scenario::{BadScenario, Parameter, Scenario, path};
use nimblenet_sim::swarm::Trial;
use nimblenet_sim::trace::Trace;

use super::{Overrides, VIBRATION};
use crate::failure::{BAD_SCENARIO, BAD_TRACE, Coded, misuse};
use crate::inlet;

/// Where traces come from, and the nodes and links that they run on.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    /// Of a trace from a file, only nodes and links of this count.
    scenario: Scenario,
    trace: Option<Arc<Trace>>,
}

impl Input {
    /// Reads the files that the command line names.
    ///
    /// # Errors
    /// If a file cannot be read, or says what cannot be.
    pub(crate) fn read(overrides: &Overrides) -> anyhow::Result<Self> {
        let (mut scenario, place) = match &overrides.scenario {
            None => (Scenario::default(), None),
            Some(name) => {
                match Scenario::built_in(name) {
                    Some(text) => (scenario(name, text)?, Some(name.as_str())),
                    None => {
                        let text =
                        inlet::text(Path::new(name), inlet::TEXT_BYTES).with_context(|| {
                            let known = Scenario::BUILT_IN.join(", ");
                            format!("reading the scenario {name}, which is none of {known}, {VIBRATION}")
                        })?;
                        (scenario(name, &text)?, Some(name.as_str()))
                    }
                }
            }
        };
        overrides.apply(&mut scenario);
        check(place.unwrap_or("the command line"), &scenario)?;
        let trace = overrides.trace.as_deref().map(trace).transpose()?;
        let seconds = overrides.seconds.unwrap_or(f64::INFINITY);
        if let (Some(trace), Some(seconds)) = (&trace, overrides.seconds)
            && seconds > trace.duration_s
        {
            let lasts = trace.duration_s;
            let message =
                format!("--seconds {seconds}: the trace lasts {lasts} s; give at most that");
            return Err(misuse(message).into());
        }
        let trace = trace.map(|trace| Arc::new(trace.cut(seconds)));
        Ok(Self { scenario, trace })
    }

    /// The seed that a trace from a file was made with.
    pub(crate) fn trace_seed(&self) -> Option<u64> {
        self.trace.as_ref().map(|trace| trace.seed)
    }

    /// What of it is no part of a trace, and not as usual: its fields.
    pub(crate) fn left_out(&self) -> Vec<&'static str> {
        self.scenario.left_out()
    }

    /// The same with only those tasklets of a recorded trace that it uses.
    pub(crate) fn used(self) -> Self {
        let used = |trace: Arc<Trace>| Arc::new(Trace::clone(&trace).used());
        Self {
            trace: self.trace.map(used),
            ..self
        }
    }

    /// The same with another value of one parameter.
    ///
    /// # Errors
    /// If there cannot be such a scenario, or the parameter is one of a recorded trace.
    pub(crate) fn with(&self, parameter: Parameter, value: f64) -> anyhow::Result<Self> {
        let name = parameter.name();
        let of_links = match parameter {
            Parameter::Loss
            | Parameter::Repeats
            | Parameter::CacheBytes
            | Parameter::Mtu
            | Parameter::Preload
            | Parameter::Bandwidth
            | Parameter::Churn => true,
            Parameter::Sharing
            | Parameter::Algorithms
            | Parameter::Zipf
            | Parameter::SizeFactor
            | Parameter::Nodes
            | Parameter::Speed => false,
        };
        if self.trace.is_some() && !of_links {
            let message = format!("--sweep {name} needs a scenario: a recorded trace has its own");
            return Err(misuse(message).into());
        }
        let scenario = self.scenario.clone().with(parameter, value);
        check(&format!("--sweep {name}={value}"), &scenario)?;
        let trace = self.trace.clone();
        Ok(Self { scenario, trace })
    }
}

/// Reads a file of faults.
///
/// # Errors
/// If the file cannot be read, or says what cannot be.
pub(crate) fn faults(path: &Path) -> anyhow::Result<Trial> {
    let place = path.display();
    let text = inlet::text(path, inlet::TEXT_BYTES).context("reading the faults")?;
    let trial = Trial::read(&text).and_then(|trial| trial.check_effect().map(|()| trial));
    trial.map_err(|error| bad_scenario(&place.to_string(), &error))
}

fn scenario(name: &str, text: &str) -> anyhow::Result<Scenario> {
    Scenario::read(text).map_err(|error| bad_scenario(name, &error))
}

fn check(place: &str, scenario: &Scenario) -> anyhow::Result<()> {
    let checked = scenario.check();
    checked.map_err(|error| bad_scenario(place, &error))
}

fn bad_scenario(place: &str, error: &BadScenario) -> anyhow::Error {
    Coded::new(BAD_SCENARIO, format!("{place}: {error}")).into()
}

fn trace(path: &Path) -> anyhow::Result<Trace> {
    let place = path.display();
    let bytes = inlet::read(path, inlet::TRACE_BYTES).context("reading the trace")?;
    let trace = Trace::read(&bytes);
    trace.map_err(|error| Coded::new(BAD_TRACE, format!("{place}: {error}")).into())
}

/// The trace of one seed, made by whoever needs it first.
#[derive(Debug)]
pub(crate) struct Recipe {
    input: Input,
    seed: u64,
    made: OnceLock<Arc<Trace>>,
}

impl Recipe {
    /// That of a seed.
    pub(crate) fn new(input: Input, seed: u64) -> Self {
        let made = OnceLock::new();
        Self { input, seed, made }
    }

    /// The seed.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// The scenario; of a trace from a file, only its nodes and links count.
    pub(crate) fn scenario(&self) -> &Scenario {
        &self.input.scenario
    }

    /// The trace.
    pub(crate) fn trace(&self) -> &Arc<Trace> {
        self.made.get_or_init(|| match &self.input.trace {
            Some(trace) => trace.clone(),
            None => Arc::new(self.input.scenario.trace(self.seed)),
        })
    }

    /// Where a robot goes, in metres; nothing if only its contacts are known.
    pub(crate) fn path(&self, robot: u32, until_s: f64) -> Option<Vec<(f64, f64)>> {
        if self.input.trace.is_some() {
            return None;
        }
        let places = path(&self.input.scenario, self.seed, robot, until_s);
        Some(places.iter().map(|at| (at.x_m, at.y_m)).collect())
    }

    /// How long it lasts, in seconds.
    pub(crate) fn duration_s(&self) -> f64 {
        let trace = self.input.trace.as_ref();
        trace.map_or(self.input.scenario.duration_s, |trace| trace.duration_s)
    }
}
