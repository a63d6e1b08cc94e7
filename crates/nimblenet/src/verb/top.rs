//! `nimblenet top`: shows the numbers of nodes, each second.

use alloc::collections::BTreeMap;
use core::time::Duration;
use std::io::{self, IsTerminal as _};
use std::time::Instant;

use anyhow::{Context, bail};
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use nimblenet_tasklet::api::status;
use serde_json::{Map, Value as Json, json};
use tokio::task::JoinSet;

use crate::clock;
use crate::failure::{self, Coded};
use crate::output;
use crate::remote::{self, Address, Patience};

/// The time between two requests for the numbers.
const REFRESH: Duration = Duration::from_secs(1);
/// The time that a node has to answer before the table is shown without it.
const LATE: Duration = Duration::from_secs(3);
/// Shows the numbers of nodes or registries, on a terminal anew each second.
///
/// CALLS came from outside, DONE of them gave results; JOBS run or wait. CACHE is bytes of modules,
/// TX and RX are bytes of frames; all since the node's start. /S is per second since the last look.
/// K, M and G are thousands, millions and thousand millions. A node that drains and a registry that is
/// degraded have a line below; `nimblenet status` shows all of one. Ctrl-C ends it.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  \
    nimblenet top --node 127.0.0.1:5684\n  \
    nimblenet top --node 127.0.0.1:5684 --node 127.0.0.1:5685 --once\n  \
    nimblenet top --node 127.0.0.1:5684 --json")]
pub(crate) struct Args {
    /// CoAP address of a node or registry; give it once for each.
    #[arg(long, value_name = "ADDR", required = true)]
    node: Vec<Address>,
    /// Show the numbers once. So it is without a terminal, too.
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    patience: Patience,
    /// Print JSON, once.
    #[arg(long)]
    pub(super) json: bool,
}

/// The numbers of a node at one moment, by the keys of its status.
#[derive(Clone, Debug)]
struct Look {
    at: Instant,
    numbers: BTreeMap<String, u64>,
    degraded: Option<String>,
    draining: bool,
}

/// A node's numbers now and before, or why there are none.
struct Row<'a> {
    address: &'a Address,
    now: anyhow::Result<Look>,
    before: Option<Look>,
}

/// Runs the verb.
///
/// # Errors
/// If a node gives no valid answer, unless the numbers are shown again each second.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if args.once || args.json || !io::stdout().is_terminal() {
        let looks = look(args, args.patience)?;
        let rows = rows(args, looks, &[]);
        if args.json {
            output::json(&to_json(&rows))?;
        } else {
            output::text(&to_text(&rows))?;
        }
        return match rows.into_iter().find_map(|row| row.now.err()) {
            Some(error) if args.json => {
                let error = Coded::new(failure::code(&error), format!("{error:#}"));
                Err(error.told().into())
            }
            Some(error) => Err(error),
            None => Ok(()),
        };
    }
    let mut before: Vec<Option<Look>> = Vec::new();
    loop {
        let looks = look(args, args.patience.at_most(LATE))?;
        let kept = looks.iter().zip(before.iter().chain(core::iter::repeat(&None)));
        let kept = kept.map(|(now, before)| now.as_ref().ok().or(before.as_ref()).cloned());
        let kept: Vec<_> = kept.collect();
        let rows = rows(args, looks, &before);
        // Print from the first place of the screen, and clear the rest.
        output::text(&format!("\x1b[H\x1b[J{}\n\nCtrl-C ends", to_text(&rows)))?;
        before = kept;
        remote::block_on(async {
            tokio::time::sleep(REFRESH).await;
            Ok(())
        })?;
    }
}

/// Asks all nodes at once for their numbers.
fn look(args: &Args, patience: Patience) -> anyhow::Result<Vec<anyhow::Result<Look>>> {
    let Some(whom) = args.node.first() else {
        bail!("--node says whom to ask");
    };
    patience.ask(whom, async |wait| {
        let mut asked = JoinSet::new();
        for (at, address) in args.node.iter().cloned().enumerate() {
            asked.spawn(async move {
                let look = async {
                    let mut node = wait.connect(&address).await?;
                    let status = node.status().await?;
                    let at = clock::now();
                    anyhow::Ok(Look {
                        at,
                        numbers: status.numbers,
                        degraded: status.degraded,
                        draining: status.draining,
                    })
                };
                let look = look.await;
                (at, look.with_context(|| format!("asking {address} for its numbers failed")))
            });
        }
        let mut looks = asked.join_all().await;
        looks.sort_by_key(|(at, _)| *at);
        Ok(looks.into_iter().map(|(_, look)| look).collect())
    })
}

fn rows<'a>(
    args: &'a Args,
    looks: Vec<anyhow::Result<Look>>,
    before: &[Option<Look>],
) -> Vec<Row<'a>> {
    let rows = args.node.iter().zip(looks).enumerate();
    let rows = rows.map(|(at, (address, now))| Row {
        address,
        now,
        before: before.get(at).cloned().flatten(),
    });
    rows.collect()
}

impl Look {
    /// How fast a number has grown since `before`, per second. Nothing for a node that has
    /// restarted in between.
    fn rate(&self, before: Option<&Self>, key: &str) -> Option<f64> {
        let before = before?;
        let grown = self.numbers.get(key)?.checked_sub(*before.numbers.get(key)?)?;
        let seconds = self.at.duration_since(before.at).as_secs_f64();
        (seconds > 0.0).then(|| grown as f64 / seconds)
    }
}

fn to_text(rows: &[Row<'_>]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header([
        "NODE", "CALLS", "/S", "DONE", "FAILED", "JOBS", "CACHE", "TX", "/S", "RX", "/S",
    ]);
    let mut remarks = String::new();
    for row in rows {
        let now = match &row.now {
            Ok(now) => now,
            Err(error) => {
                remarks.push_str(&format!("\n{}: {}", row.address, failure::code(error)));
                continue;
            }
        };
        if now.draining {
            remarks.push_str(&format!("\n{} drains: it takes no new calls", row.address));
        }
        if let Some(why) = &now.degraded {
            // Escape it, since it comes from elsewhere and goes to a terminal.
            remarks.push_str(&format!("\n{} is degraded: {}", row.address, why.escape_debug()));
        }
        let number = |key: &str| match now.numbers.get(key) {
            Some(value) => short(*value as f64),
            None => "-".to_owned(),
        };
        let rate = |key: &str| match now.rate(row.before.as_ref(), key) {
            Some(rate) => short(rate.round()),
            None => "-".to_owned(),
        };
        table.add_row([
            now.numbers.get(status::ID).map_or_else(|| "-".to_owned(), u64::to_string),
            number(status::CALLS),
            rate(status::CALLS),
            number(status::COMPLETED),
            number(status::FAILED),
            number(status::JOBS),
            number(status::CACHE_USED),
            number(status::TX_BYTES),
            rate(status::TX_BYTES),
            number(status::RX_BYTES),
            rate(status::RX_BYTES),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{table}{remarks}")
}

/// A number in at most five places.
fn short(value: f64) -> String {
    let units = [(1e9, "G"), (1e6, "M"), (1e3, "K")];
    match units.iter().find(|(unit, _)| value >= 10.0 * unit) {
        Some((unit, name)) if value < 100.0 * unit => format!("{:.1}{name}", value / unit),
        Some((unit, name)) => format!("{:.0}{name}", value / unit),
        None => format!("{value:.0}"),
    }
}

fn to_json(rows: &[Row<'_>]) -> Json {
    let mut document = json!({});
    let nodes = rows.iter().map(|row| {
        let address = row.address.to_string();
        let now = match &row.now {
            Ok(now) => now,
            Err(error) => {
                let error = Coded::new(failure::code(error), format!("{error:#}"));
                return json!({ "address": address, "error": error.to_json() });
            }
        };
        let mut node: Map<String, Json> = Map::new();
        node.insert("address".to_owned(), address.into());
        let numbers = now.numbers.iter();
        node.extend(numbers.map(|(key, value)| (key.clone(), (*value).into())));
        if now.draining {
            node.insert(status::DRAINING.to_owned(), true.into());
        }
        if let Some(why) = &now.degraded {
            node.insert(status::DEGRADED.to_owned(), why.as_str().into());
        }
        node.into()
    });
    document["nodes"] = nodes.collect();
    let error = rows.iter().find_map(|row| row.now.as_ref().err());
    if let Some(error) = error {
        let error = Coded::new(failure::code(error), format!("{error:#}"));
        document["error"] = error.to_json();
    }
    document
}
