//! Crashes that nodes of the mesh have reported.

use alloc::collections::VecDeque;
use core::time::Duration;

use nimblenet_core::Instant;
use nimblenet_core::wire::{Cause, Report};
use nimblenet_tasklet::NodeId;

/// The most reports that are kept; the oldest goes first.
const KEPT: usize = 16;
/// The most of one node, so that no node makes the others' reports forgotten.
const OF_ONE_NODE: usize = 4;
/// A node's reports are one line of the log in this time at most.
const LINE: Duration = Duration::from_secs(60);
/// The most nodes that have a line in that time.
const LINES: usize = 16;

/// How the program of a node ended, as the next program has reported it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Crash {
    /// The node.
    pub node: NodeId,
    /// The cause: `panic`, `fault`, `interpreter-lost` or `watchdog`; `ledger-damaged` if the program goes
    /// on without the numbers that must not fall.
    pub cause: &'static str,
    /// The core on which it ended.
    pub core: u8,
    /// Milliseconds from its start to its end.
    pub uptime_ms: u32,
    /// Where it was: addresses in its image, which `addr2line` turns into lines.
    pub addresses: Vec<u32>,
    /// Its last message.
    pub text: String,
}

/// The newest reports.
#[derive(Default, Debug)]
pub(super) struct Crashes {
    kept: VecDeque<Crash>,
    /// The nodes that have had a line, and when.
    told: Vec<(NodeId, Instant)>,
}

impl Crashes {
    /// Takes note of a report and writes it to the log, unless there was one of that node a moment ago.
    pub(super) fn note(&mut self, now: Instant, node: NodeId, report: &Report<'_>) {
        let crash = Crash {
            node,
            cause: report.cause.name(),
            core: report.core,
            uptime_ms: report.uptime_ms,
            addresses: report.addresses().collect(),
            text: report.text.to_owned(),
        };
        if self.is_news(now, node) {
            crash.tell();
        }
        let of_node = |held: &Crash| held.node == node;
        let count = self.kept.iter().filter(|held| of_node(held)).count();
        if count == OF_ONE_NODE {
            let oldest = self.kept.iter().position(of_node);
            oldest.map(|oldest| self.kept.remove(oldest));
        }
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(crash);
    }

    fn is_news(&mut self, now: Instant, node: NodeId) -> bool {
        self.told.retain(|(_, told)| *told + LINE > now);
        let news = self.told.len() < LINES && self.told.iter().all(|(known, _)| *known != node);
        if news {
            self.told.push((node, now));
        }
        news
    }

    pub(super) fn list(&self) -> Vec<Crash> {
        self.kept.iter().cloned().collect()
    }
}

impl Crash {
    fn tell(&self) {
        // Escape the text, so that no board controls the operator's terminal.
        let (node, text) = (self.node.0, self.text.escape_debug());
        let (cause, uptime_ms) = (self.cause, self.uptime_ms);
        if cause == Cause::LedgerDamaged.name() {
            tracing::warn!(
                node,
                "a board's ledger is damaged: it takes no catalogue until `nimblenet provision --renew`"
            );
            return;
        }
        tracing::warn!(node, cause, uptime_ms, %text, addresses = %Hex(&self.addresses),
            "a node's program has crashed");
    }
}

struct Hex<'a>(&'a [u32]);

impl core::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        for (at, address) in self.0.iter().enumerate() {
            let space = if at == 0 { "" } else { " " };
            write!(f, "{space}{address:#x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(crashes: &mut Crashes, seconds: u64, node: u16, number: u32) {
        let addresses = [0x10, 0, 0x12, 0x34];
        let report = Report::new(number, Cause::Panic, 1, number, &addresses, "no room");
        let now = Instant::from_micros(seconds * 1_000_000);
        crashes.note(now, NodeId(node), &report.unwrap());
    }

    #[test]
    fn the_newest_reports_are_kept() {
        let mut crashes = Crashes::default();
        for number in 0..KEPT as u32 + 3 {
            report(&mut crashes, 0, number as u16, number);
        }
        let list = crashes.list();
        assert_eq!(list.len(), KEPT);
        assert_eq!((list[0].uptime_ms, list[KEPT - 1].uptime_ms), (3, 18));
        assert_eq!(list[0].addresses, [0x1000_1234]);
        assert_eq!(Hex(&[0x10, 0x20]).to_string(), "0x10 0x20");
    }

    #[test]
    fn att_18_a_node_that_reports_3000_times_has_a_line_a_minute_and_leaves_the_others_theirs() {
        let mut crashes = Crashes::default();
        report(&mut crashes, 0, 1, 77);
        let mut lines = 0;
        for number in 0..3000 {
            let told = crashes.told.len();
            report(&mut crashes, u64::from(number) / 30, 7, number);
            lines += usize::from(crashes.told.len() > told);
        }
        assert!(lines <= 2, "{lines}");
        let of = |node| {
            crashes
                .kept
                .iter()
                .filter(|it| it.node == NodeId(node))
                .count()
        };
        assert_eq!((of(1), of(7)), (1, OF_ONE_NODE));
    }
}
