//! `nimblenet call`: a tasklet on a node.

use core::time::Duration;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use anyhow::Context;
use nimblenet_core::Priority;
use nimblenet_tasklet::api::explained;
use nimblenet_tasklet::{NodeId, TaskletName};
use serde_json::json;
use tokio::time::sleep;

use nimblenet_node::remote::{CallOptions, JobSummary, LineSummary, RemoteError};
use nimblenet_pack::values::{self, Item};

use super::logs;
use crate::explained::Explained;
use crate::failure::{self, Coded, complain};
use crate::local;
use crate::names::FunctionNames;
use crate::output;
use crate::remote::{self, Address, Patience, Wait};
use crate::steps::milliseconds;

/// How often a person is told what a call waits for.
const LONG: Duration = Duration::from_secs(4);

/// Runs a tasklet on a node, which fetches what it needs, and prints the results.
///
/// Any CoAP client can do the same: POST coap://ADDR/t/NS/NAME with a CBOR array of arguments.
#[derive(clap::Args, Debug)]
#[command(after_help = "Arguments are values in CBOR diagnostic notation:\n  \
    -7  0xff  1.5  NaN  true  '\"text\"'  \"h'00ff'\"  '[1, 2, 3]'\n  \
    -- -Infinity    (after --, for its minus)\n  \
    @FILE is what a file holds: a list in .csv, one value in .json or .cbor\n\n\
    Example:\n  \
    nimblenet call shop/rms '[3, 4]' --node 127.0.0.1:5684 --explain\n\n\
    Within 2 seconds or not at all, before calls that are less urgent:\n  \
    nimblenet call shop/rms '[3, 4]' --node 127.0.0.1:5684 \\\n      \
    --priority high --deadline 2\n\n\
    A robot calls node 7, drives on, and gets the result where it is then:\n  \
    nimblenet call shop/check --node 10.0.0.7 --client 3 --number 12\n  \
    nimblenet call shop/check --node 10.0.0.8 --client 3 --number 12 \\\n      \
    --result --at 7")]
pub(crate) struct Args {
    /// The tasklet.
    #[arg(value_name = "NS/NAME")]
    name: TaskletName,
    /// Arguments, in CBOR diagnostic notation, or @FILE (.csv, .json or .cbor).
    #[arg(value_name = "ARG", allow_negative_numbers = true, value_parser = local::argument)]
    args: Vec<Item>,
    /// CoAP address of the node.
    #[arg(long, value_name = "ADDR")]
    node: Address,
    /// Another node of the mesh that runs it, for example a board behind a serial link.
    #[arg(long, value_name = "ID", value_parser = remote::node_id)]
    at: Option<NodeId>,
    /// Export to call [default: run]
    #[arg(long, value_name = "NAME")]
    invoke: Option<String>,
    /// Say where each tasklet came from and how long that took.
    #[arg(long)]
    explain: bool,
    /// Print what the tasklets write to the log in this call, on standard error; with --json, in
    /// the document.
    #[arg(long)]
    logs: bool,
    /// Number of who calls, the same each time: the node keeps what it calls while it is there.
    #[arg(long, value_name = "NUMBER")]
    client: Option<u32>,
    /// Number of the call, which the client gives to no other one: the node keeps the result for five
    /// minutes, and a call with this number runs once, however often it is made.
    #[arg(long, value_name = "NUMBER", requires = "client")]
    number: Option<u32>,
    /// Run nothing: wait for the result of the call that the client has made with this number, at the
    /// node --at or at this one.
    #[arg(long, requires = "number", conflicts_with_all = ["args", "invoke", "explain", "logs"])]
    result: bool,
    /// How urgent it is: of the calls that wait at a node, those of a higher priority come first.
    #[arg(long, value_enum, default_value_t, value_name = "LEVEL")]
    priority: Level,
    /// Seconds that it may take: within a priority the call that must end first comes first, and one that
    /// cannot end in time is refused at once [default: the node's call_ms]
    #[arg(long, value_name = "S", value_parser = deadline)]
    deadline: Option<Duration>,
    /// File of function names that `pack` has written, to say where a tasklet failed; give it once
    /// for each tasklet.
    #[arg(long, value_name = "FILE")]
    names: Vec<PathBuf>,
    #[command(flatten)]
    patience: Patience,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// How urgent a call is.
#[derive(clap::ValueEnum, Clone, Copy, Default, Debug)]
enum Level {
    /// It may wait while others do not.
    Low,
    /// As a call that says nothing.
    #[default]
    Normal,
    /// It goes before others.
    High,
}

impl From<Level> for Priority {
    fn from(level: Level) -> Self {
        match level {
            Level::Low => Self::Low,
            Level::Normal => Self::Normal,
            Level::High => Self::High,
        }
    }
}

/// Seconds, to the millisecond, from a millisecond to a day.
fn deadline(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "it is a number of seconds".to_owned())?;
    match seconds {
        0.001..=86_400.0 => Ok(Duration::from_millis((seconds * 1000.0).round() as u64)),
        _ => Err("it is from 0.001 to 86400 seconds".to_owned()),
    }
}

/// Runs the verb.
///
/// # Errors
/// If the node cannot be reached, or the call fails.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let names = FunctionNames::read(&args.names)?;
    let name_of = |tasklet: &TaskletName, function| names.of(tasklet, function);
    let values = values::encode(&args.args);
    let options = CallOptions {
        export: args.invoke.as_deref(),
        at: args.at,
        explain: args.explain,
        logs: args.logs,
        client: args.client,
        number: args.number,
        priority: args.priority.into(),
        deadline: args.deadline,
    };
    let answer = args.patience.ask(&args.node, async |wait| {
        let mut node = wait.connect(&args.node).await?;
        let answer = async {
            match (args.client, args.number) {
                (Some(client), Some(number)) if args.result => {
                    node.claim(&args.name, args.at, (client, number)).await
                }
                _ => node.call(&args.name, &values, options).await,
            }
        };
        let answer = tokio::select! {
            answer = answer => answer,
            () = watch(args, wait) => unreachable!("watching has no end"),
        };
        Ok((answer.map_err(|error| error.named(name_of)), wait.is_over()))
    });
    let (answer, in_vain) = answer?;
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            let lines: Vec<_> = error.lines().to_vec();
            let what = if args.result { "asking for the result of" } else { "calling" };
            let mut context = format!("{what} {} at {} failed", args.name, args.node);
            if in_vain {
                context.push_str("; ");
                context.push_str(&args.patience.in_vain(&args.node));
                if matches!(error, RemoteError::Client(_)) {
                    let more = "; a call that it has taken goes on there, and --timeout waits longer";
                    context.push_str(more);
                }
            }
            let error = anyhow::Error::new(error).context(context);
            return Err(failed(args, error, lines, name_of));
        }
    };
    let explained = if args.explain || args.logs {
        Explained::read(&answer)
    } else {
        values::decode(&answer).map(Explained::results)
    };
    let explained = explained.context("the node's answer is not what it should be")?;
    let named = |line: &LineSummary| line.clone().named(name_of);
    let lines: Vec<_> = explained.lines.iter().map(named).collect();
    if args.json {
        let mut document = explained.to_json(args.explain);
        if args.logs {
            document[explained::LINES] = lines.iter().map(logs::to_json).collect();
        }
        return output::json(&document);
    }
    if args.logs {
        tell(args, &lines);
    }
    let results: Vec<_> = explained.results.iter().map(Item::to_string).collect();
    if !results.is_empty() {
        output::text(&results.join("\n"))?;
    }
    if args.explain {
        match args.at {
            Some(at) if explained.steps.is_empty() => {
                let took = milliseconds(explained.took_us);
                output::text(&format!(
                    "node {at} ran it and keeps where its tasklets came from to itself\ntook {took}"
                ))?;
            }
            _ => output::text(&explained.table())?,
        }
    }
    Ok(())
}

/// Tells a person at a terminal, whenever that changes, what a call waits for that takes long, as the node
/// lists it.
async fn watch(args: &Args, wait: Wait) {
    let mut told = String::new();
    while io::stderr().is_terminal() {
        sleep(LONG).await;
        let jobs = async { wait.connect(&args.node).await?.jobs().await.context("no list") };
        let Ok(jobs) = jobs.await else {
            continue;
        };
        let mut own = jobs.iter().filter(|it| it.tasklet == Some(args.name) && it.caller.is_none());
        let now = own.next_back().map(standing).unwrap_or_default();
        if told != now {
            complain(&format!("{}: {now}\n", args.name));
            told = now;
        }
    }
    core::future::pending().await
}

/// What a call in progress waits for, in words.
fn standing(job: &JobSummary) -> String {
    match (job.state.as_str(), job.at) {
        ("waiting", _) => "the node waits for a catalogue, a module or a place for it".to_owned(),
        ("queued", _) => "it waits for its turn on an executor".to_owned(),
        ("running", _) => "it runs".to_owned(),
        ("moving", _) => "it is on its way to another node".to_owned(),
        (_, Some(at)) => format!("node {at} has it"),
        (other, None) => other.escape_debug().to_string(),
    }
}

/// Tells what the tasklets of a call that failed have written, if that was asked for.
fn failed<'n>(
    args: &Args,
    error: anyhow::Error,
    lines: Vec<LineSummary>,
    name_of: impl Fn(&TaskletName, u32) -> Option<&'n str>,
) -> anyhow::Error {
    if !args.logs {
        return error;
    }
    let lines: Vec<_> = lines.into_iter().map(|line| line.named(&name_of)).collect();
    if !args.json {
        tell(args, &lines);
        return error;
    }
    let coded = Coded::new(failure::code(&error), format!("{error:#}"));
    let lines: Vec<_> = lines.iter().map(logs::to_json).collect();
    match output::json(&json!({ explained::LINES: lines, "error": coded.to_json() })) {
        Ok(()) => coded.told().into(),
        Err(unwritten) => unwritten,
    }
}

/// Prints lines of the log beside the results.
fn tell(args: &Args, lines: &[LineSummary]) {
    for line in lines {
        complain(&format!("{}\n", logs::shown(line)));
    }
    if let (Some(at), []) = (args.at, lines) {
        complain(&format!(
            "node {at} runs the call and keeps its lines; ask it with `nimblenet logs`\n"
        ));
    }
}
