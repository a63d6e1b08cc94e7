//! `nimblenet ps`: the calls that a node has in progress.

use core::time::Duration;

use anyhow::Context;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use nimblenet_node::remote::JobSummary;
use nimblenet_tasklet::NodeId;
use nimblenet_tasklet::api::job;
use serde_json::{Value as Json, json};

use crate::output;
use crate::remote::{Address, Patience};


/// Lists the calls that a node has in progress.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  \
    nimblenet ps --node 127.0.0.1:5684\n  \
    nimblenet ps --node 127.0.0.1:5684 --json")]
pub(crate) struct Args {
    /// CoAP address of the node.
    #[arg(long, value_name = "ADDR")]
    node: Address,
    #[command(flatten)]
    patience: Patience,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Runs the verb.
///
/// # Errors
/// If the node gives no valid answer.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let jobs = args.patience.ask(&args.node, async |wait| {
        let mut node = wait.connect(&args.node).await?;
        let jobs = node.jobs().await;
        jobs.with_context(|| format!("asking {} for its calls failed", args.node))
    })?;
    if args.json {
        let jobs: Vec<_> = jobs.iter().map(to_json).collect();
        return output::json(&json!({ "calls": jobs }));
    }
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["CALL", "TASKLET", "STATE", "AT", "FOR", "CLIENT", "NUMBER", "PRIORITY", "DEPTH", "AGE", "LEFT"]);
    for job in &jobs {
        let none = || "-".to_owned();
        let node = |node: Option<NodeId>| node.map_or_else(none, |node| node.to_string());
        let number = |number: Option<u32>| number.map_or_else(none, |number| number.to_string());
        table.add_row([
            job.call.to_string(),
            tasklet(job).unwrap_or_else(|| "-".to_owned()),
            // Escape it, since it comes from elsewhere and goes to a terminal.
            job.state.escape_debug().to_string(),
            node(job.at),
            node(job.caller),
            number(job.client),
            number(job.number),
            // Escape it for the same reason.
            job.priority.as_ref().map_or_else(none, |it| it.escape_debug().to_string()),
            job.depth.to_string(),
            seconds(job.age),
            job.left.map_or_else(|| "-".to_owned(), seconds),
        ]);
    }
    output::text(&table.to_string())
}

fn tasklet(job: &JobSummary) -> Option<String> {
    job.tasklet.as_ref().map(ToString::to_string)
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn to_json(job: &JobSummary) -> Json {
    json!({
        job::CALL: job.call,
        job::TASKLET: tasklet(job),
        job::STATE: job.state,
        job::AT: job.at.map(|node| node.0),
        job::FOR: job.caller.map(|node| node.0),
        job::CLIENT: job.client,
        job::NUMBER: job.number,
        job::PRIORITY: job.priority,
        job::DEPTH: job.depth,
        job::AGE_MS: job.age.as_millis() as u64,
        job::LEFT_MS: job.left.map(|left| left.as_millis() as u64),
    })
}
