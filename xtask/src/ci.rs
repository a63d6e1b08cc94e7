//! Everything that continuous integration runs, in order.

use std::sync::OnceLock;

use anyhow::{Result, bail};

use crate::host::Totals;
use crate::step::Step;
use crate::{
    book, demo, emulator, firmware, host, licences, no_std, same_seed, tasklets, templates, tidy,
};

/// What of it to run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Names the steps and runs none.
    #[arg(long)]
    list: bool,
    /// Runs only these steps.
    #[arg(long, value_delimiter = ',', value_name = "STEP")]
    only: Vec<String>,
    /// Stops at the first step that fails.
    #[arg(long)]
    fail_fast: bool,
}

/// The cheap steps come first, so that a slip shows within a minute.
const STEPS: &[Step] = &[
    Step {
        name: "fmt",
        about: "everything is formatted",
        action: || host::fmt(true),
        leaves: &[],
    },
    Step {
        name: "tidy",
        about: "rules the compiler does not know",
        action: || tidy::run(false),
        leaves: &[],
    },
    Step {
        name: "deny",
        about: "licences and versions of dependencies",
        action: licences::run,
        leaves: &[],
    },
    Step {
        name: "clippy",
        about: "no warnings on any target",
        action: host::clippy,
        leaves: &[],
    },
    Step {
        name: "test",
        about: "all tests of the workspace",
        action: test,
        leaves: &[],
    },
    Step {
        name: "dispatch",
        about: "the interpreter's tests, dispatched as on small boards",
        action: host::test_compact,
        leaves: &["compact"],
    },
    Step {
        name: "placement",
        about: "nodes place calls when they are built as for a board",
        action: host::test_boards,
        leaves: &[],
    },
    Step {
        name: "demo",
        about: "a real mesh with robots, as a user starts it",
        action: demo::run,
        leaves: &[],
    },
    Step {
        name: "tasklets",
        about: "packed tasklets are those of their sources",
        action: || tasklets::run(true),
        leaves: &[],
    },
    Step {
        name: "templates",
        about: "new tasklets build and run in every language, from `new` to a call",
        action: templates::run,
        leaves: &[],
    },
    Step {
        name: "programs",
        about: "public programs become tasklets that give what is known",
        action: templates::programs::run,
        leaves: &["authors", "programs", "templates", "ziglang"],
    },
    Step {
        name: "book",
        about: "what README and book print runs as printed",
        action: book::run,
        leaves: &["book"],
    },
    Step {
        name: "same-seed",
        about: "a seed gives the same simulated run in a 32-bit build",
        action: same_seed::run,
        leaves: &["i686-unknown-linux-musl"],
    },
    Step {
        name: "no-std",
        about: "device crates build for bare metal",
        action: no_std::run,
        leaves: &["no-std", "imports"],
    },
    Step {
        name: "firmware",
        about: "images for boards build and are within their limits",
        action: || firmware::run(false, true),
        leaves: &[],
    },
    Step {
        name: "runner",
        about: "the images run on emulated boards",
        action: emulator::test,
        leaves: &[],
    },
    Step {
        name: "doc",
        about: "the documentation builds",
        action: host::doc,
        leaves: &[],
    },
];

/// What the test step counted, for the closing line.
static TOTALS: OnceLock<Totals> = OnceLock::new();

fn test() -> Result<()> {
    let totals = host::test(&[])?;
    TOTALS.get_or_init(|| totals);
    Ok(())
}

/// Runs the steps; ends with the totals of the tests as the last line of standard output.
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.list {
        for step in STEPS {
            println!("{:<10} {}", step.name, step.about);
        }
        return Ok(());
    }
    let known = |name: &String| STEPS.iter().any(|step| step.name == name);
    if let Some(unknown) = options.only.iter().find(|name| !known(name)) {
        bail!("there is no step {unknown}; `cargo xtask ci --list` names them");
    }
    let wanted =
        |step: &&Step| options.only.is_empty() || options.only.iter().any(|name| name == step.name);
    let mut ended = Vec::new();
    for step in STEPS.iter().filter(wanted) {
        ended.push(step.run());
        if options.fail_fast && ended.iter().any(crate::step::Ended::failed) {
            break;
        }
    }
    eprintln!();
    for step in &ended {
        eprintln!("{step}");
    }
    let failed = ended.iter().filter(|step| step.failed()).count();
    if failed > 0 {
        bail!("{failed} of {} steps failed", ended.len());
    }
    if let Some(totals) = TOTALS.get() {
        println!("{totals}");
    }
    Ok(())
}
