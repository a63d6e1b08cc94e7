//! `nimblenet logs`: what tasklets have written to the log of a node.

use std::path::PathBuf;

use anyhow::Context;
use nimblenet_node::remote::LineSummary;
use nimblenet_tasklet::TaskletName;
use nimblenet_tasklet::api::line;
use serde_json::{Value as Json, json};

use crate::names::FunctionNames;
use crate::output;
use crate::remote::{self, Address, Patience};

/// How often a node is asked for further lines.
const PAUSE: core::time::Duration = core::time::Duration::from_millis(500);

/// Prints the newest lines that tasklets have written to the log of a node.
///
/// Tasklets write by the capability nimblenet:log; a tasklet that fails leaves a line that says
/// why. A node keeps the newest 512 lines and 64 KiB of
/// text, until it ends. Each is printed with the seconds from the node's start, the number of the
/// call as in `nimblenet ps`, and the tasklet.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  \
    nimblenet logs --node 127.0.0.1:5684\n  \
    nimblenet logs shop/rms --node 127.0.0.1:5684 --follow\n  \
    nimblenet logs --node 127.0.0.1:5684 --json")]
pub(crate) struct Args {
    /// Only lines of this tasklet.
    #[arg(value_name = "NS/NAME")]
    name: Option<TaskletName>,
    /// CoAP address of the node.
    #[arg(long, value_name = "ADDR")]
    node: Address,
    /// File of function names that `pack` has written, to say where a tasklet failed; give it once
    /// for each tasklet.
    #[arg(long, value_name = "FILE")]
    names: Vec<PathBuf>,
    /// Go on with lines that come, until Ctrl-C.
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    patience: Patience,
    /// Print JSON; with --follow, a document for each line.
    #[arg(long)]
    pub(super) json: bool,
}

/// Runs the verb.
///
/// # Errors
/// If the node does not answer as it should.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let names = FunctionNames::read(&args.names)?;
    if !args.follow {
        let lines = ask(args, &names, 0)?;
        let lines: Vec<_> = lines.iter().filter(|line| is_wanted(args, line)).collect();
        if args.json {
            let lines: Vec<_> = lines.into_iter().map(to_json).collect();
            return output::json(&json!({ "lines": lines }));
        }
        return lines.into_iter().try_for_each(|line| output::text(&shown(line)));
    }
    let mut last = 0;
    loop {
        let lines = ask(args, &names, last)?;
        for line in lines.iter().filter(|line| is_wanted(args, line)) {
            match args.json {
                true => output::json(&to_json(line))?,
                false => output::text(&shown(line))?,
            }
        }
        last = lines.last().map_or(last, |line| line.number);
        remote::block_on(async {
            tokio::time::sleep(PAUSE).await;
            Ok(())
        })?;
    }
}

fn ask(args: &Args, names: &FunctionNames, from: u64) -> anyhow::Result<Vec<LineSummary>> {
    args.patience.ask(&args.node, async |wait| {
        let mut node = wait.connect(&args.node).await?;
        let lines = node.lines(from).await;
        let lines = lines.with_context(|| format!("asking {} for its log failed", args.node))?;
        let named = |line: LineSummary| line.named(|tasklet, at| names.of(tasklet, at));
        Ok(lines.into_iter().map(named).collect())
    })
}

fn is_wanted(args: &Args, line: &LineSummary) -> bool {
    let wanted = args.name.map(|name| name.to_string());
    wanted.is_none_or(|wanted| wanted == line.tasklet)
}

/// A line as a person reads it.
pub(super) fn shown(line: &LineSummary) -> String {
    let call = line.call.map_or_else(|| "-".to_owned(), |call| call.to_string());
    let seconds = line.at.as_secs_f64();
    // Escaped: they come from elsewhere and go to a terminal.
    let (tasklet, text) = (line.tasklet.escape_debug(), line.text.trim_end());
    let text: String = text
        .chars()
        .map(|next| if next.is_control() { ' ' } else { next })
        .collect();
    format!("{seconds:.3} s  call {call}  {tasklet}: {text}")
}

/// A line in a JSON document.
pub(super) fn to_json(line: &LineSummary) -> Json {
    json!({
        line::NUMBER: line.number,
        line::AT_MS: line.at.as_millis() as u64,
        line::TASKLET: line.tasklet,
        line::CALL: line.call,
        line::FUNCTION: line.place.map(|place| place.function()),
        line::OFFSET: line.place.map(|place| place.offset()),
        line::TEXT: line.text,
    })
}
