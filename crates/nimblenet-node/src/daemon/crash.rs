//! Crashes that nodes of the mesh have reported.

use alloc::collections::VecDeque;

use nimblenet_core::wire::Report;
use nimblenet_tasklet::NodeId;

/// The most reports that are kept; the oldest goes first.
const KEPT: usize = 16;

/// How the program of a node ended, as the next program has reported it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Crash {
    /// The node.
    pub node: NodeId,
    /// The cause: `panic`, `fault`, `interpreter-lost` or `watchdog`.
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
pub(super) struct Crashes(VecDeque<Crash>);

impl Crashes {
    /// Takes note of a report and writes it to the log.
    pub(super) fn note(&mut self, node: NodeId, report: &Report<'_>) {
        let crash = Crash {
            node,
            cause: report.cause.name(),
            core: report.core,
            uptime_ms: report.uptime_ms,
            addresses: report.addresses().collect(),
            text: report.text.to_owned(),
        };
        // Escape the text, so that no board controls the operator's terminal.
        let text = crash.text.escape_debug();
        let Crash {
            cause, uptime_ms, ..
        } = crash;
        tracing::warn!(node = node.0, cause, uptime_ms, %text, addresses = %Hex(&crash.addresses),
            "a node's program has crashed");
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(crash);
    }

    pub(super) fn list(&self) -> Vec<Crash> {
        self.0.iter().cloned().collect()
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
    use nimblenet_core::wire::Cause;

    use super::*;

    #[test]
    fn the_newest_reports_are_kept() {
        let mut crashes = Crashes::default();
        for number in 0..KEPT as u32 + 3 {
            let addresses = [0x10, 0, 0x12, 0x34];
            let report = Report::new(number, Cause::Panic, 1, number, &addresses, "no room");
            crashes.note(NodeId(7), &report.unwrap());
        }
        let list = crashes.list();
        assert_eq!(list.len(), KEPT);
        assert_eq!((list[0].uptime_ms, list[KEPT - 1].uptime_ms), (3, 18));
        assert_eq!(list[0].addresses, [0x1000_1234]);
        assert_eq!(Hex(&[0x10, 0x20]).to_string(), "0x10 0x20");
    }
}
