//! Reports a demonstration, as tables and as JSON.

use core::cmp::Reverse;

use comfy_table::{CellAlignment, Table, presets};
use nimblenet_core::Acquired;
use nimblenet_node::daemon::Status;
use serde_json::{Map, Value as Json, json};

use super::tally::Tally;
use crate::failure::{Coded, NOTHING_COMPLETED};

/// The most rows of nodes, so that the whole report has at most 24 lines.
const NODE_ROWS: usize = 12;
/// The most lines of reasons why calls failed.
const FAILURE_ROWS: usize = 1;
/// The text of the table and of the lines below it.
const LEGEND: &str =
    "sent, recv: frames of the mesh; local: in the cache; global: past the neighbours";

/// The numbers of one demonstration.
#[derive(Debug)]
pub(crate) struct Report {
    /// The counts of the robots.
    pub(crate) tally: Tally,
    /// The last numbers of every node, in the order of their ids.
    pub(crate) nodes: Vec<Status>,
    /// The last numbers of the registries.
    pub(crate) registries: Vec<Status>,
    /// Whether it ended before its time.
    pub(crate) interrupted: bool,
}

impl Report {
    /// The report as one JSON object.
    pub(crate) fn to_json(&self) -> Json {
        let tally = &self.tally;
        let acquired = self.acquired();
        let failures = tally.failures.iter();
        let failures = failures.map(|(code, count)| (code.clone(), (*count).into()));
        json!({
            "nodes": self.nodes.len(),
            "calls": tally.calls,
            "completed": tally.completed(),
            "failed": tally.failed(),
            "acquisitions": {
                "local": acquired.local,
                "neighbour": acquired.neighbour,
                "global": acquired.global,
                "registry": acquired.registry,
            },
            "tx_bytes": by_id(&self.nodes, |status| status.sent_bytes()),
            "mean_response_s": tally.mean_response_s(),
            "p99_response_s": tally.p99_response_s(),
            "triggers": tally.triggers(),
            "no_contact_share": tally.without_contact_share(),
            "failures": Map::from_iter(failures),
            "rx_bytes": by_id(&self.nodes, |status| status.received_bytes()),
            "cache_used_bytes": by_id(&self.nodes, |status| status.cache_used as u64),
            "evicted": by_id(&self.nodes, |status| status.evicted),
            "registry_tx_bytes": by_id(&self.registries, |status| status.sent_bytes()),
            "interrupted": self.interrupted,
        })
    }

    /// The error if no call completed.
    pub(crate) fn idle(&self) -> Option<Coded> {
        let Tally { calls, .. } = self.tally;
        if self.tally.completed() > 0 {
            return None;
        }
        let sentence = match calls {
            0 => "no robot met a node; let it run longer, or with more robots".to_owned(),
            calls => format!("not one of {calls} calls completed"),
        };
        Some(Coded::new(NOTHING_COMPLETED, sentence))
    }

    /// Acquisitions of all nodes by source.
    fn acquired(&self) -> Acquired {
        let of_nodes = self.nodes.iter().map(|status| status.counters.acquired);
        of_nodes.fold(Acquired::default(), |sum, node| Acquired {
            local: sum.local + node.local,
            neighbour: sum.neighbour + node.neighbour,
            global: sum.global + node.global,
            registry: sum.registry + node.registry,
        })
    }

    /// The table of nodes and registries; of many nodes it has only the busiest unless `all` is
    /// set, and one row for the others together.
    fn node_table(&self, all: bool) -> Table {
        let mut table = table([
            "node", "calls", "done", "sent kB", "recv kB", "cache B", "evicted",
        ]);
        let mut busiest: Vec<&Status> = self.nodes.iter().collect();
        let mut others = Vec::new();
        if !all && busiest.len() > NODE_ROWS {
            busiest.sort_by_key(|status| Reverse(status.counters.calls));
            others = busiest.split_off(NODE_ROWS - 1);
            busiest.sort_by_key(|status| status.id);
        }
        for status in busiest {
            let cache = format!("{} of {}", status.cache_used, status.cache_bytes);
            table.add_row(row(status.id.to_string(), &[status], cache));
        }
        if !others.is_empty() {
            let who = format!("{} others", others.len());
            let used: usize = others.iter().map(|status| status.cache_used).sum();
            table.add_row(row(who, &others, used.to_string()));
        }
        for status in &self.registries {
            let who = format!("registry {}", status.id);
            table.add_row(row(who, &[status], "-".to_owned()));
        }
        table
    }

    /// Where tasklets came from, in two lines.
    fn sources(&self) -> String {
        let acquired = self.acquired();
        let sources = [
            ("local", acquired.local),
            ("neighbour", acquired.neighbour),
            ("global", acquired.global),
            ("registry", acquired.registry),
        ];
        let all: u64 = sources.iter().map(|(_, count)| count).sum();
        let sources = sources.map(|(source, count)| {
            let share = percent(count as f64 / all.max(1) as f64);
            format!("{source} {count} ({share})")
        });
        let [local, neighbour, global, registry] = sources;
        format!("{local}, {neighbour},\n               {global}, {registry}")
    }

    /// The report for a person, 80 columns wide; with `all`, a row for each node whatever their
    /// number.
    pub(crate) fn to_text(&self, all: bool) -> String {
        let tally = &self.tally;
        let mut lines = vec![
            format!("{}\n", self.node_table(all)),
            format!(
                "calls: {} made, {} completed, {} failed{}",
                tally.calls,
                tally.completed(),
                tally.failed(),
                if self.interrupted {
                    "; interrupted"
                } else {
                    ""
                },
            ),
        ];
        for (code, count) in tally.failures.iter().take(FAILURE_ROWS) {
            lines.push(format!("  failed with {code}: {count}"));
        }
        if let Some(more) = tally.failures.get(FAILURE_ROWS..)
            && !more.is_empty()
        {
            let count: u64 = more.iter().map(|(_, count)| count).sum();
            lines.push(format!("  failed otherwise: {count} (--json tells all)"));
        }
        if let (Some(mean_s), Some(p99_s)) = (tally.mean_response_s(), tally.p99_response_s()) {
            let (mean_ms, p99_ms) = (mean_s * 1000.0, p99_s * 1000.0);
            lines.push(format!(
                "response: mean {mean_ms:.1} ms, p99 {p99_ms:.1} ms"
            ));
        }
        lines.push(format!("tasklets from: {}", self.sources()));
        lines.push(format!(
            "triggers: {}, {} of them ({}) out of reach of every node",
            tally.triggers(),
            tally.without_contact,
            percent(tally.without_contact_share()),
        ));
        lines.push(LEGEND.to_owned());
        lines.join("\n")
    }
}

/// A row of numbers that several nodes have together.
fn row(who: String, nodes: &[&Status], cache: String) -> [String; 7] {
    let sum = |number: fn(&Status) -> u64| nodes.iter().map(|status| number(status)).sum();
    let kilobytes = |bytes: u64| format!("{:.1}", bytes as f64 / 1000.0);
    let count = |number: u64| number.to_string();
    [
        who,
        count(sum(|status| status.counters.calls)),
        count(sum(|status| status.counters.completed)),
        kilobytes(sum(Status::sent_bytes)),
        kilobytes(sum(Status::received_bytes)),
        cache,
        count(sum(|status| status.evicted)),
    ]
}

fn by_id(statuses: &[Status], number: impl Fn(&Status) -> u64) -> Map<String, Json> {
    let numbers = statuses
        .iter()
        .map(|status| (status.id.to_string(), number(status).into()));
    numbers.collect()
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// A table whose first column has names and whose others have numbers.
fn table<const COLUMNS: usize>(header: [&str; COLUMNS]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
