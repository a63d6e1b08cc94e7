//! What a demonstration has shown, as tables and as JSON.

use core::fmt;

use comfy_table::{CellAlignment, Table, presets};
use nimblenet_core::Acquired;
use nimblenet_node::daemon::Status;
use serde_json::{Map, Value as Json, json};

use super::tally::Tally;

/// The numbers of one demonstration.
#[derive(Debug)]
pub(crate) struct Report {
    /// What robots have counted.
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

    fn node_table(&self) -> Table {
        let mut table = table([
            "node",
            "calls",
            "completed",
            "tx bytes",
            "rx bytes",
            "cache used",
            "evicted",
        ]);
        let daemons = self.nodes.iter().map(|status| (false, status));
        let registries = self.registries.iter().map(|status| (true, status));
        for (registry, status) in daemons.chain(registries) {
            let counters = &status.counters;
            table.add_row([
                if registry {
                    format!("registry {}", status.id)
                } else {
                    status.id.to_string()
                },
                counters.calls.to_string(),
                counters.completed.to_string(),
                status.sent_bytes().to_string(),
                status.received_bytes().to_string(),
                if registry {
                    "-".to_owned()
                } else {
                    format!("{} of {}", status.cache_used, status.cache_bytes)
                },
                status.evicted.to_string(),
            ]);
        }
        table
    }

    fn source_table(&self) -> Table {
        let acquired = self.acquired();
        let sources = [
            ("local", acquired.local),
            ("neighbour", acquired.neighbour),
            ("global", acquired.global),
            ("registry", acquired.registry),
        ];
        let all: u64 = sources.iter().map(|(_, count)| count).sum();
        let mut table = table(["source", "acquisitions", "share"]);
        for (source, count) in sources {
            let share = percent(count as f64 / all.max(1) as f64);
            table.add_row([source.to_owned(), count.to_string(), share]);
        }
        table
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tally = &self.tally;
        writeln!(f, "{}\n\n{}\n", self.node_table(), self.source_table())?;
        writeln!(
            f,
            "{} calls, {} completed, {} failed; {} of {} triggers without a node in reach ({})",
            tally.calls,
            tally.completed(),
            tally.failed(),
            tally.without_contact,
            tally.triggers(),
            percent(tally.without_contact_share()),
        )?;
        for (code, count) in &tally.failures {
            writeln!(f, "  failed with {code}: {count}")?;
        }
        if let (Some(mean_s), Some(p99_s)) = (tally.mean_response_s(), tally.p99_response_s()) {
            let (mean_ms, p99_ms) = (mean_s * 1000.0, p99_s * 1000.0);
            writeln!(f, "response: mean {mean_ms:.1} ms, p99 {p99_ms:.1} ms")?;
        }
        if self.interrupted {
            writeln!(f, "interrupted before the end")?;
        }
        Ok(())
    }
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
