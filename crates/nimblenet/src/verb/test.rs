//! `nimblenet test`: checks that a tasklet answers as its tests say.

use core::fmt;
use std::path::PathBuf;

use anyhow::{Context, bail};
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use nimblenet_pack::values::{self, Item};
use nimblenet_tasklet::{Fault, abi};
use serde_json::{Value as Json, json};

use crate::failure::{Coded, TESTS_FAILED};
use crate::local::{self, End, JobFailed, LocalHost, Request, Runner, Tasklets};
use crate::output;
use crate::project::{Build, Expected, Programs, Project, Trial, Trials};

/// Builds the tasklet of a folder and runs its tests.
///
/// Tests are in tests.toml or tests.csv: arguments, and the results or the fault that must follow.
/// Sensors, and native tasklets that are called, answer from CSV files. Each test runs on this
/// machine, with the fuel of the manifest.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  nimblenet test\n  nimblenet test loudness --json\n\n\
    tests.toml:\n  \
    [[test]]\n  args = [[1, 2, 6]]\n  results = [3]\n\n\
    tests.csv:\n  samples,result\n  \"[1, 2, 6]\",3")]
pub(crate) struct Args {
    /// Folder of the tasklet.
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Runs the verb.
///
/// # Errors
/// If the tasklet cannot be built, the tests are wrong, or one fails.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let project = Project::of(&args.folder)?;
    let trials = Trials::read(&project.root)?;
    let build = Build {
        project: &project,
        programs: &Programs::of_environment(),
        target: &project.target()?,
        output: None,
        verbose: false,
    };
    let file = build.package()?.file;
    let fuel = project.manifest.fuel;
    let mut ended = Vec::new();
    for trial in &trials.trials {
        let tasklets = Tasklets::load(&Request {
            root: &file,
            export: trial.invoke.as_deref(),
            with: &trials.with,
            memory_bytes: None,
            frozen: None,
            // What a test expects must not hang on what a device happens to say.
            devices: false,
        })?;
        let outcome = call(trial, &tasklets, fuel);
        let outcome = outcome.with_context(|| format!("the test {:?}", trial.name))?;
        ended.push(Ended { trial, outcome });
    }
    let failed = ended.iter().filter(|ended| !ended.passed()).count();
    let error = (failed > 0).then(|| {
        let sentence = format!("{failed} of {} tests failed", ended.len());
        Coded::new(TESTS_FAILED, sentence)
    });
    if args.json {
        let mut document = to_json(&ended);
        if let Some(error) = &error {
            document["error"] = error.to_json();
        }
        output::json(&document)?;
    } else {
        output::text(&table(&ended))?;
    }
    error.map_or(Ok(()), |error| Err(error.told().into()))
}

/// A test that has run.
struct Ended<'t> {
    trial: &'t Trial,
    outcome: Outcome,
}

/// The outcome of a call.
enum Outcome {
    Results(Vec<Item>),
    /// A failure with one of these codes.
    Failed {
        codes: Vec<&'static str>,
        message: String,
    },
}

/// Makes the call of a test.
fn call(trial: &Trial, tasklets: &Tasklets, fuel: u64) -> anyhow::Result<Outcome> {
    let root = &tasklets[0];
    let signature = root.signature(&tasklets.export);
    let signature = signature.context("the export has a signature")?;
    let args = values::encode(&trial.args);
    if let Err(error) = abi::check_args(&signature, &args) {
        let codes = vec![Fault::WrongArguments.code()];
        let message = format!("{}: {error}; it is {signature}", Fault::WrongArguments);
        return Ok(Outcome::Failed { codes, message });
    }
    let mut arena = local::arena(tasklets);
    let host = LocalHost::new(trial.sensors.clone(), tasklets.natives());
    match Runner::new(tasklets, &mut arena, host).run(&args, fuel, None) {
        Ok(End::Done(report)) => {
            let results = values::decode(&report.results);
            Ok(Outcome::Results(results.context("the results are not values")?))
        }
        Ok(End::Frozen { .. }) => bail!("it was frozen, although nobody asked for it"),
        Err(error) => match error.downcast_ref::<JobFailed>() {
            Some(failed) => Ok(Outcome::Failed {
                codes: failed.codes().collect(),
                message: failed.to_string(),
            }),
            None => Err(error),
        },
    }
}

impl Ended<'_> {
    fn passed(&self) -> bool {
        let expected = &self.trial.expected;
        match (&self.outcome, expected) {
            (Outcome::Results(found), _) => expected.is_met_by(found, self.trial.tolerance),
            (Outcome::Failed { codes, .. }, Expected::Fault(code)) => {
                codes.contains(&code.as_str())
            }
            (Outcome::Failed { .. }, Expected::Results(_)) => false,
        }
    }

    fn to_json(&self) -> Json {
        let mut json = json!({
            "name": self.trial.name,
            "passed": self.passed(),
            "args": values::to_json(&self.trial.args),
        });
        match &self.trial.expected {
            Expected::Results(results) => json["expected"] = values::to_json(results),
            Expected::Fault(code) => json["expected_fault"] = code.as_str().into(),
        }
        match &self.outcome {
            Outcome::Results(results) => json["results"] = values::to_json(results),
            Outcome::Failed { codes, message } => {
                json["fault"] = codes[0].into();
                json["message"] = message.as_str().into();
            }
        }
        json
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Results(results) => f.write_str(&listed(results)),
            Self::Failed { message, .. } => f.write_str(message),
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Results(results) => f.write_str(&listed(results)),
            Self::Fault(code) => f.write_str(code),
        }
    }
}

fn to_json(ended: &[Ended<'_>]) -> Json {
    let passed = ended.iter().filter(|ended| ended.passed()).count();
    json!({
        "tests": ended.iter().map(Ended::to_json).collect::<Json>(),
        "passed": passed,
        "failed": ended.len() - passed,
    })
}

/// A line for each test; below, the outcomes of those that failed.
fn table(ended: &[Ended<'_>]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    let mut below = String::new();
    for test in ended {
        let verdict = if test.passed() { "pass" } else { "FAIL" };
        table.add_row([verdict, &test.trial.name]);
        if !test.passed() {
            below += &format!(
                "\n{}: {}\n  expected {}\n  got      {}\n",
                test.trial.name,
                listed(&test.trial.args),
                test.trial.expected,
                test.outcome
            );
        }
    }
    let passed = ended.iter().filter(|test| test.passed()).count();
    format!("{table}\n{passed} of {} passed\n{below}", ended.len())
}

fn listed(items: &[Item]) -> String {
    let items: Vec<_> = items.iter().map(Item::to_string).collect();
    match items.is_empty() {
        true => "nothing".to_owned(),
        false => items.join(", "),
    }
}
