//! `nimblenet drain`: a node gives its jobs away, so that it can be switched off.

use core::time::Duration;

use anyhow::Context;
use nimblenet_node::remote::JobSummary;
use serde_json::json;
use tokio::time::sleep;

use crate::failure::Coded;
use crate::output;
use crate::remote::{Address, Patience, Wait};

/// The code of the error that jobs are left when the time is over.
const JOBS_LEFT: &str = "jobs-left";
/// The node is asked so often what is left.
const ASKED_EVERY: Duration = Duration::from_millis(300);

/// Empties a node, so that it can be switched off: it takes no new call, and its jobs go on at its
/// neighbours, where nothing runs again that has run before.
///
/// Waits until the node has no call in progress: results of calls that its own clients have made still come
/// back to them over this node. New calls go to neighbours if the node places calls, and are refused as
/// `busy` else. A job that runs leaves at its next call of a tasklet or slice of work; one that no
/// neighbour takes goes on here and is offered again. The node drains until it ends or `--end` is given.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  \
    nimblenet drain --node 127.0.0.1:5684\n  \
    nimblenet drain --node 127.0.0.1:5684 --timeout 600\n  \
    nimblenet drain --node 127.0.0.1:5684 --end")]
pub(crate) struct Args {
    /// CoAP address of the node.
    #[arg(long, value_name = "ADDR")]
    node: Address,
    /// Let the node keep its jobs and take new calls again.
    #[arg(long)]
    end: bool,
    #[command(flatten)]
    patience: Patience,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Runs the verb.
///
/// # Errors
/// If the node cannot be reached, or has calls in progress when the time is over.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let left = args.patience.ask(&args.node, async |wait| {
        let mut node = wait.connect(&args.node).await?;
        let told = node.drain(!args.end).await;
        told.with_context(|| format!("telling {} to drain failed", args.node))?;
        match args.end {
            true => Ok(Vec::new()),
            false => wait_until_empty(args, wait).await,
        }
    })?;
    let Args { node, end, .. } = args;
    if !left.is_empty() {
        let calls = match left.len() {
            1 => "1 call".to_owned(),
            many => format!("{many} calls"),
        };
        let sentence = format!(
            "{node} still has {calls} in progress ({}); it goes on to drain: `nimblenet ps --node {node}` \
             shows them, the same command again waits longer, `--end` ends it",
            states(&left)
        );
        return Err(Coded::new(JOBS_LEFT, sentence).into());
    }
    if args.json {
        return output::json(&json!({ "draining": !end, "calls": left.len() }));
    }
    match end {
        true => output::text(&format!("{node} takes calls again")),
        false => output::text(&format!(
            "{node} is empty, and takes no call until it is started again or told `--end`"
        )),
    }
}

/// Waits until the node has no call in progress; what is left when the time is over.
async fn wait_until_empty(args: &Args, wait: Wait) -> anyhow::Result<Vec<JobSummary>> {
    let mut told = None;
    loop {
        let mut node = wait.connect(&args.node).await?;
        let jobs = node.jobs().await;
        let jobs = jobs.with_context(|| format!("asking {} for its calls failed", args.node))?;
        if jobs.is_empty() || wait.is_over() {
            return Ok(jobs);
        }
        let now = states(&jobs);
        if told.as_ref() != Some(&now) {
            eprintln!("{}: {now}", args.node);
            told = Some(now);
        }
        sleep(ASKED_EVERY).await;
    }
}

/// How many calls stand how.
fn states(jobs: &[JobSummary]) -> String {
    let count = |state: &str| jobs.iter().filter(|job| job.state == state).count();
    let known = ["running", "queued", "waiting", "moving", "remote"];
    let counted = known.map(|state| (count(state), state));
    let some = counted.iter().filter(|(count, _)| *count > 0);
    let texts: Vec<_> = some.map(|(count, state)| format!("{count} {state}")).collect();
    texts.join(", ")
}
