//! `nimblenet cancel`: a call that nobody wants any more.

use anyhow::Context;
use nimblenet_tasklet::TaskletName;
use nimblenet_tasklet::api::job;
use serde_json::json;

use crate::failure::misuse;
use crate::output;
use crate::remote::{Address, Patience};

/// Cancels a call: one of a client by its numbers, or any that a node lists.
///
/// The call ends as `cancelled`, whether it waits or runs, there or at another node of the mesh; a tasklet of
/// it that runs stops before its next slice of work. Whoever waits for its result, or asks for it within five
/// minutes, hears that it was cancelled. Numbers of a client are known to the node where the call was made, and
/// to no other.
#[derive(clap::Args, Debug)]
#[command(
    override_usage = "nimblenet cancel --node <ADDR> --call <N>\n       \
        nimblenet cancel --node <ADDR> --client <N> --number <N> <NS/NAME>",
    after_help = "Examples:\n  \
    nimblenet call shop/inspect --node 10.0.0.7 --client 7 --number 12 &\n  \
    nimblenet cancel shop/inspect --node 10.0.0.7 --client 7 --number 12\n\n  \
    nimblenet ps --node 10.0.0.7\n  \
    nimblenet cancel --call 40 --node 10.0.0.7"
)]
pub(crate) struct Args {
    /// The tasklet.
    #[arg(value_name = "NS/NAME", requires_all = ["client", "number"], required_unless_present = "call")]
    name: Option<TaskletName>,
    /// CoAP address of the node that has the call.
    #[arg(long, value_name = "ADDR")]
    node: Address,
    /// Number of the call as `nimblenet ps` shows it.
    #[arg(long, value_name = "N", conflicts_with_all = ["name", "client", "number"])]
    call: Option<u32>,
    /// Number of who has called.
    #[arg(long, value_name = "N", requires = "name")]
    client: Option<u32>,
    /// Number that it has given to the call.
    #[arg(long, value_name = "N", requires = "name")]
    number: Option<u32>,
    #[command(flatten)]
    patience: Patience,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Runs the verb.
///
/// # Errors
/// If the node cannot be reached, or has no such call in progress.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    match (args.call, args.name, args.client, args.number) {
        (Some(call), ..) => of_list(args, call),
        (None, Some(name), Some(client), Some(number)) => of_client(args, name, (client, number)),
        _ => Err(misuse("--call N, or NS/NAME with --client and --number, says which call").into()),
    }
}

fn of_list(args: &Args, call: u32) -> anyhow::Result<()> {
    let node = &args.node;
    args.patience.ask(node, async |wait| {
        let mut remote = wait.connect(node).await?;
        let cancelled = remote.cancel_job(call).await;
        cancelled.with_context(|| format!("cancelling call {call} at {node} failed"))
    })?;
    if args.json {
        return output::json(&json!({ "cancelled": { job::CALL: call } }));
    }
    output::text(&format!("call {call} is cancelled"))
}

fn of_client(args: &Args, name: TaskletName, key: (u32, u32)) -> anyhow::Result<()> {
    let (node, (client, number)) = (&args.node, key);
    args.patience.ask(node, async |wait| {
        let mut remote = wait.connect(node).await?;
        let cancelled = remote.cancel(&name, key).await;
        cancelled.with_context(|| format!("cancelling {name} at {node} failed"))
    })?;
    if args.json {
        return output::json(&json!({ "cancelled": { job::CLIENT: client, job::NUMBER: number } }));
    }
    output::text(&format!("{name}: call {number} of client {client} is cancelled"))
}
