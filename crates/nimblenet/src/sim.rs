//! Simulated experiments: which runs there are, and what comes out of them.

mod batch;
mod drawing;
mod files;
mod input;
mod sheet;
mod story;
mod swarm;
mod text;
mod vibration;

use core::time::Duration;
use std::path::{Path, PathBuf};

use nimblenet_core::{Eviction, Limits, Placement};
use nimblenet_sim::course::Course;
use nimblenet_sim::scenario::{Scenario, Sweep};
use nimblenet_sim::swarm::Trial;
use nimblenet_sim::tally::Accounting;
use nimblenet_sim::{Cut, Profile, Report, Settings};

use crate::failure::{BAD_SCENARIO, Coded};

pub(crate) use drawing::{Contest, contests, figures, page as html, write as draw};
pub(crate) use files::Files;
pub(crate) use input::{Input, Recipe, faults};
pub(crate) use sheet::csv;
pub(crate) use story::{Story, Which};
pub(crate) use swarm::{replay, run as swarm};
pub(crate) use text::page;
pub(crate) use vibration::{NAME as VIBRATION, run as vibration};

/// What a call between tasklets costs on an emulated board, in place of the model's 6 ms: by so much
/// longer than its waits a chain takes for each of its calls, if it is alone and acquires nothing.
const BOARD_CALL_COST: Duration = Duration::from_micros(2700);

/// What is to be simulated, and how.
#[derive(Debug)]
pub(crate) struct Experiment {
    /// What robots do, and the nodes and links.
    pub(crate) input: Input,
    /// The seeds, in order.
    pub(crate) seeds: Vec<u64>,
    /// A parameter to vary.
    pub(crate) sweep: Option<Sweep>,
    /// Protocols and task sets, each of which runs with each seed and value.
    pub(crate) pairs: Vec<(Profile, Cut)>,
    /// The policy that chooses what leaves a full cache; none for the profile's own.
    pub(crate) eviction: Option<&'static Eviction>,
    /// The policy that decides where calls run; none for the profile's own.
    pub(crate) placement: Option<&'static Placement>,
    /// What compressed modules have of their length; none if they travel as they run.
    pub(crate) code_ratio: Option<f64>,
    /// How bytes are counted.
    pub(crate) accounting: Accounting,
    /// Bytes counted for each packet besides its payload.
    pub(crate) header_bytes: u32,
    /// What befalls nodes and links.
    pub(crate) faults: Option<Trial>,
    /// The file that says so.
    pub(crate) faults_file: Option<PathBuf>,
    /// Whether nodes are boards: with the limits and times of these, and calls that do not say who
    /// makes them.
    pub(crate) boards: bool,
}

/// One run that is to be made.
#[derive(Debug)]
struct Case<'r> {
    recipe: &'r Recipe,
    settings: Settings,
    faults: Option<&'r Trial>,
    /// The value of the parameter that is varied.
    value: Option<f64>,
}

/// A run that was made.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// Its protocol.
    pub(crate) profile: Profile,
    /// Its task set.
    pub(crate) cut: Cut,
    /// The value of the parameter that was varied.
    pub(crate) value: Option<f64>,
    /// What came out.
    pub(crate) report: Report,
    /// How it went.
    pub(crate) course: Course,
}

impl Experiment {
    /// Makes all runs, on all cores. They come in the order of values, protocols and task sets, and
    /// seeds.
    ///
    /// # Errors
    /// If a value of the sweep makes no scenario, or faults are to befall what a trace does not have.
    pub(crate) fn run(&self) -> anyhow::Result<Vec<Outcome>> {
        let values = self.sweep.as_ref().map_or(vec![None], |sweep| {
            sweep.values.iter().copied().map(Some).collect()
        });
        let mut recipes = Vec::new();
        for value in values {
            let input = match (&self.sweep, value) {
                (Some(sweep), Some(value)) => self.input.with(sweep.parameter, value)?,
                _ => self.input.clone(),
            };
            let of_seed = |seed: &u64| Recipe::new(input.clone(), *seed);
            let of_seeds: Vec<Recipe> = self.seeds.iter().map(of_seed).collect();
            recipes.push((value, of_seeds));
        }
        let mut cases = Vec::new();
        for (value, recipes) in &recipes {
            for (profile, cut) in &self.pairs {
                cases.extend(recipes.iter().map(|recipe| {
                    let settings = self.settings(recipe, *profile, *cut);
                    let value = *value;
                    Case {
                        recipe,
                        settings,
                        faults: self.faults.as_ref(),
                        value,
                    }
                }));
            }
        }
        let outcomes = batch::run(&cases);
        outcomes.map_err(|error| {
            let file = self.faults_file.as_deref().map(Path::display);
            let place = file.map_or_else(|| "--faults".to_owned(), |file| file.to_string());
            Coded::new(BAD_SCENARIO, format!("{place}: {error}")).into()
        })
    }

    /// How a recipe is run with a protocol and a task set.
    pub(crate) fn settings(&self, recipe: &Recipe, profile: Profile, cut: Cut) -> Settings {
        let mut settings = Settings {
            profile,
            cut,
            eviction: self.eviction,
            placement: self.placement,
            code_ratio: self.code_ratio,
            header_bytes: self.header_bytes,
            accounting: self.accounting,
            seed: recipe.seed(),
            catalogue_moves: self.faults.as_ref().is_some_and(Trial::loses_catalogue),
            ..Settings::default()
        };
        recipe.scenario().settle(&mut settings);
        if self.boards {
            let limits = Limits::board();
            settings.limits = Some(limits);
            settings.call_cost = BOARD_CALL_COST;
            settings.cache_bytes = limits.cache_bytes;
            settings.clients = false;
        }
        settings
    }
}

/// What the command line says instead of the scenario.
#[derive(Clone, Default, Debug)]
pub(crate) struct Overrides {
    /// A built-in scenario, or its file.
    pub(crate) scenario: Option<String>,
    /// A file with a trace.
    pub(crate) trace: Option<PathBuf>,
    /// How many nodes there are.
    pub(crate) nodes: Option<u16>,
    /// How many robots there are.
    pub(crate) robots: Option<u32>,
    /// How long it lasts.
    pub(crate) seconds: Option<f64>,
    /// Bytes of each node's cache.
    pub(crate) cache_bytes: Option<u32>,
    /// Executors of each node; the inner none for as many as needed.
    pub(crate) executors: Option<Option<u16>>,
    /// Share of frames lost.
    pub(crate) loss: Option<f64>,
    /// How often a frame is repeated that is not acknowledged.
    pub(crate) repeats: Option<u8>,
    /// The longest frame.
    pub(crate) mtu: Option<u16>,
    /// Bits a second of each link.
    pub(crate) bandwidth: Option<u32>,
    /// How wrong declared costs are.
    pub(crate) cost_error: Option<f64>,
    /// Whether robots ask for results where they are.
    pub(crate) hand_over: bool,
}

impl Overrides {
    /// Changes a scenario.
    fn apply(&self, scenario: &mut Scenario) {
        fn set<T: Copy>(place: &mut T, value: Option<T>) {
            *place = value.unwrap_or(*place);
        }
        set(&mut scenario.floor.nodes, self.nodes);
        set(&mut scenario.robots.count, self.robots);
        set(&mut scenario.duration_s, self.seconds);
        set(&mut scenario.nodes.cache_bytes, self.cache_bytes);
        set(&mut scenario.nodes.executors, self.executors);
        set(&mut scenario.tasks.cost_error, self.cost_error);
        set(&mut scenario.link.loss, self.loss);
        set(&mut scenario.link.repeats, self.repeats);
        set(&mut scenario.link.mtu, self.mtu);
        scenario.robots.hand_over |= self.hand_over;
        if let Some(bits_per_s) = self.bandwidth {
            scenario.link.set_bits_per_s(bits_per_s);
        }
    }
}
