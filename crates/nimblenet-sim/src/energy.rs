//! Energy: what nodes use, by what they do. The simulator knows how long each node runs tasklets, and how
//! many bytes it sends and receives; the rest is a table of powers.

use serde::{Deserialize, Serialize};

/// The powers of a node, in watts, and the rate of its radio.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Energy {
    /// All the time: what sleeps, and a radio that listens now and then.
    pub idle_w: f64,
    /// More while an executor runs a tasklet.
    pub run_w: f64,
    /// More while the radio sends.
    pub send_w: f64,
    /// More while it receives.
    pub receive_w: f64,
    /// Bits that the radio carries in a second.
    pub bits_per_s: u32,
}

impl Default for Energy {
    /// A microcontroller with an IEEE 802.15.4 radio: 25 mA at 3.3 V while it computes, 17 and 19 mA at 3 V
    /// while it sends and receives 250 kbit/s, 10 mW in all for the rest. These are assumptions.
    fn default() -> Self {
        Self {
            idle_w: 0.010,
            run_w: 0.080,
            send_w: 0.052,
            receive_w: 0.056,
            bits_per_s: 250_000,
        }
    }
}

impl Energy {
    /// What a node has used in `seconds` in which it did this, in joules.
    pub fn joules(&self, duty: Duty, seconds: f64) -> f64 {
        let more = self.run_w * duty.run + self.send_w * duty.send + self.receive_w * duty.receive;
        (self.idle_w + more) * seconds
    }

    /// What a node has done in `seconds`: it ran tasklets for `run_s`, and sent and received so many bytes.
    pub fn duty(&self, seconds: f64, run_s: f64, (sent, received): (u64, u64)) -> Duty {
        let radio = |bytes: u64| bytes as f64 * 8.0 / f64::from(self.bits_per_s) / seconds;
        Duty {
            run: run_s / seconds,
            send: radio(sent),
            receive: radio(received),
        }
    }
}

/// How much of the time a node does something, each a share of the run. Several executors count several
/// times.
#[derive(Clone, Copy, PartialEq, Default, Debug, Serialize)]
pub struct Duty {
    /// It runs tasklets.
    pub run: f64,
    /// It sends.
    pub send: f64,
    /// It receives.
    pub receive: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_uses_what_its_parts_use_while_they_are_on() {
        let energy = Energy {
            idle_w: 1.0,
            run_w: 10.0,
            send_w: 100.0,
            receive_w: 1000.0,
            bits_per_s: 8000,
        };
        let duty = energy.duty(100.0, 20.0, (5000, 1000));
        let expected = Duty {
            run: 0.2,
            send: 0.05,
            receive: 0.01,
        };
        assert_eq!(duty, expected);
        let joules = energy.joules(duty, 100.0);
        assert!(
            (joules - (100.0 + 200.0 + 500.0 + 1000.0)).abs() < 1e-9,
            "{joules}"
        );
    }
}
