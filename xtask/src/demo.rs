//! The demo, as a user starts it, and whether it shows what it promises.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::workspace::{cargo, shown};

/// Runs a short demo and checks its numbers: nearly all calls complete, none fails, and tasklets
/// come from everywhere.
pub(crate) fn run() -> Result<()> {
    let mut command = cargo();
    command.args(["run", "--release", "--", "demo", "--seconds", "8", "--json"]);
    let output = command
        .output()
        .with_context(|| format!("cannot start {}", shown(&command)))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("the demo failed:\n{errors}");
    }
    let report: Value = serde_json::from_slice(&output.stdout).context("it printed no JSON")?;
    println!("{report}");
    let number = |pointer: &str| {
        let value = report.pointer(pointer).and_then(Value::as_f64);
        value.with_context(|| format!("the demo's report has no {pointer}"))
    };
    let calls = number("/calls")?;
    ensure!(calls > 0.0, "no call was made");
    ensure!(
        number("/completed")? >= 0.99 * calls,
        "fewer than 99 % of the calls completed"
    );
    ensure!(number("/failed")? == 0.0, "a call failed");
    for source in ["local", "neighbour", "registry"] {
        let acquired = number(&format!("/acquisitions/{source}"))?;
        ensure!(acquired > 0.0, "nothing was acquired from {source}");
    }
    Ok(())
}
