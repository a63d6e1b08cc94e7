//! How a link of a trial behaves.

use nimblenet_core::MIN_MTU;
use serde::{Deserialize, Serialize};

use crate::link::{Bursts, LinkModel};
use crate::scenario::{BadScenario, BandwidthTable, BurstTable, within};
use crate::trace::duration;

/// How a link of a trial behaves in one direction. What a file leaves out is perfect.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinkForm {
    /// The time from the end of a transmission to its arrival, in seconds.
    pub delay_s: f64,
    /// Additional time, random between zero and this, in seconds; it reorders frames.
    #[serde(skip_serializing_if = "is_zero")]
    pub jitter_s: f64,
    /// Share of frames lost, each by itself.
    #[serde(skip_serializing_if = "is_zero")]
    pub loss: f64,
    /// Share of frames that arrive twice.
    #[serde(skip_serializing_if = "is_zero")]
    pub duplication: f64,
    /// Share of frames of which one bit arrives wrong.
    #[serde(skip_serializing_if = "is_zero")]
    pub corruption: f64,
    /// The longest frame that arrives, in bytes; the link swallows longer ones without a sign.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longest: Option<u16>,
    /// Loss in bursts, besides the other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bursts: Option<BurstTable>,
    /// How fast frames leave; without it their transmission takes no time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<BandwidthTable>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(share: &f64) -> bool {
    *share == 0.0
}

impl Default for LinkForm {
    /// A perfect link, 10 ms long.
    fn default() -> Self {
        Self {
            delay_s: 0.01,
            jitter_s: 0.0,
            loss: 0.0,
            duplication: 0.0,
            corruption: 0.0,
            longest: None,
            bursts: None,
            bandwidth: None,
        }
    }
}

impl LinkForm {
    pub(super) fn model(&self) -> LinkModel {
        LinkModel {
            delay: duration(self.delay_s),
            jitter: duration(self.jitter_s),
            loss: self.loss,
            bursts: self.bursts.map(|bursts| Bursts {
                begin: bursts.begin,
                end: bursts.end,
                loss: bursts.loss,
            }),
            duplication: self.duplication,
            corruption: self.corruption,
            bandwidth: self.bandwidth.map(BandwidthTable::bandwidth),
            mtu: self.longest.map_or(usize::MAX, usize::from),
        }
    }

    /// Takes a fault from it, if it has one of this name.
    pub(super) fn heal(&mut self, cause: &str) {
        match cause {
            "loss" => self.loss = 0.0,
            "bursts" => self.bursts = None,
            "duplication" => self.duplication = 0.0,
            "corruption" => self.corruption = 0.0,
            "jitter" => self.jitter_s = 0.0,
            "bandwidth" => self.bandwidth = None,
            "longest" => self.longest = None,
            _ => {}
        }
    }

    /// Checks the values of the table that a file calls `table`.
    pub(super) fn check(&self, table: &str) -> Result<(), BadScenario> {
        let field = |name| format!("{table}.{name}");
        within(field("delay_s"), self.delay_s, 0.0, 60.0)?;
        within(field("jitter_s"), self.jitter_s, 0.0, 60.0)?;
        within(field("loss"), self.loss, 0.0, 1.0)?;
        within(field("duplication"), self.duplication, 0.0, 1.0)?;
        within(field("corruption"), self.corruption, 0.0, 1.0)?;
        let longest = self.longest.unwrap_or(MIN_MTU);
        within(field("longest"), longest, 1, u16::MAX)?;
        if let Some(bursts) = self.bursts {
            within(field("bursts.begin"), bursts.begin, 0.0, 1.0)?;
            within(field("bursts.end"), bursts.end, 0.0, 1.0)?;
            within(field("bursts.loss"), bursts.loss, 0.0, 1.0)?;
        }
        if let Some(bandwidth) = self.bandwidth {
            let bits = bandwidth.bits_per_s;
            within(field("bandwidth.bits_per_s"), bits, 100, u32::MAX)?;
            let queue = bandwidth.queue_bytes;
            within(field("bandwidth.queue_bytes"), queue, 1, u32::MAX)?;
            let header = bandwidth.header_bytes;
            within(field("bandwidth.header_bytes"), header, 0, 1000)?;
        }
        Ok(())
    }
}
