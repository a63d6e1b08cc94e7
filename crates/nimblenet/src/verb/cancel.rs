//! `nimblenet cancel`: a call that nobody wants any more.

use anyhow::Context;
use nimblenet_tasklet::TaskletName;
use serde_json::json;

use crate::output;
use crate::remote::{Address, Patience};

/// Cancels a call that a client has made with a number.
///
/// The call ends as `cancelled`, whether it waits or runs, there or at another node of the mesh; a tasklet of
/// it that runs stops before its next slice of work. Whoever waits for its result, or asks for it within five
/// minutes, hears that it was cancelled. Ask the node where the call was made: no other knows it.
#[derive(clap::Args, Debug)]
#[command(override_usage = "nimblenet cancel --node <ADDR> --client <N> --number <N> <NS/NAME>", after_help = "Example:\n  \
    nimblenet call shop/inspect --node 127.0.0.1:5684 --client 7 --number 12 &\n  \
    nimblenet cancel shop/inspect --node 127.0.0.1:5684 --client 7 --number 12")]
pub(crate) struct Args {
    /// The tasklet.
    #[arg(value_name = "NS/NAME")]
    name: TaskletName,
    /// CoAP address of the node where the call was made.
    #[arg(long, value_name = "ADDR")]
    node: Address,
    /// Number of who has called.
    #[arg(long, value_name = "N")]
    client: u32,
    /// Number that it has given to the call.
    #[arg(long, value_name = "N")]
    number: u32,
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
    let Args {
        name,
        node,
        client,
        number,
        ..
    } = args;
    args.patience.ask(node, async |wait| {
        let mut remote = wait.connect(node).await?;
        let cancelled = remote.cancel(name, (*client, *number)).await;
        cancelled.with_context(|| format!("cancelling {name} at {node} failed"))
    })?;
    if args.json {
        return output::json(&json!({ "cancelled": { "client": client, "number": number } }));
    }
    output::text(&format!("{name}: call {number} of client {client} is cancelled"))
}
