//! `nimblenet move`: a call in progress goes on at another node.

use anyhow::Context;
use nimblenet_tasklet::NodeId;
use serde_json::json;

use crate::output;
use crate::remote::{self, Address, Patience};

/// Lets a call that is in progress go on at another node; its result still comes back to whoever
/// called.
///
/// The tasklets of the call are frozen where they run and thawed at the other node, where nothing
/// runs again that has run before. If that node does not take them, the call goes on where it was.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  \
    nimblenet ps --node 127.0.0.1:5684\n  \
    nimblenet move 7 --node 127.0.0.1:5684 --to 12")]
pub(crate) struct Args {
    /// Number of the call, as `nimblenet ps` shows it.
    #[arg(value_name = "CALL", value_parser = call_number)]
    call: u32,
    /// CoAP address of the node that has the call.
    #[arg(long, value_name = "ADDR")]
    node: Address,
    /// The node of the mesh that is to go on with it.
    #[arg(long, value_name = "ID", value_parser = remote::node_id)]
    to: NodeId,
    #[command(flatten)]
    patience: Patience,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Runs the verb.
///
/// # Errors
/// If the node cannot be reached, has no such call, or the call goes on where it was.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    args.patience.ask(&args.node, async |wait| {
        let mut node = wait.connect(&args.node).await?;
        let moved = node.move_call(args.call, args.to).await;
        moved.with_context(|| {
            let Args { call, node, to, .. } = args;
            format!("moving call {call} of {node} to node {to} failed")
        })
    })?;
    if args.json {
        return output::json(&json!({ "call": args.call, "to": args.to.0 }));
    }
    output::text(&format!("call {} is moved to node {}", args.call, args.to))
}

fn call_number(text: &str) -> Result<u32, &'static str> {
    let number = text.parse().ok();
    number.ok_or("the number of a call is expected, as `nimblenet ps` shows it")
}
