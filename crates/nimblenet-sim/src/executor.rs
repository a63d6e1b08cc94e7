//! Executors in virtual time.

use std::collections::BTreeMap;

use core::time::Duration;

use nimblenet_core::Abilities;
use nimblenet_tasklet::{ActivationId, Answer, Fault, Start, Work};

use crate::publisher::sign;

/// The time to freeze or thaw one activation.
const FREEZE: Duration = Duration::from_micros(20);

/// An executor of a simulated node.
pub trait SimExecutor {
    /// Does `work`. The node gets the outcome after the returned time.
    fn execute(&mut self, work: &Work<'_>) -> Option<(Duration, Answer<Vec<u8>>)>;

    /// What it can run.
    fn abilities(&self) -> Abilities {
        Abilities::new()
    }
}

/// Answers a signature check; nothing for other work, which is the executor's.
pub(crate) fn verify(work: &Work<'_>) -> Option<Answer<Vec<u8>>> {
    let verified = work.verified(|key, message, signature| sign(key, message) == *signature);
    verified.map(|outcome| outcome.owned())
}

/// The CBOR array without values.
pub(crate) fn nothing() -> Vec<u8> {
    vec![0x80]
}

pub(crate) fn failed(activation: ActivationId, fault: Fault, fuel: u64) -> Answer<Vec<u8>> {
    Answer::Failed {
        activation,
        fault,
        trap: None,
        place: None,
        fuel,
    }
}

/// Runs tasklets that only take time: a tasklet works for a while, calls its imports one after the
/// other with a while of work in between, and ends. Its module has the times: their number in one
/// byte, one more than it has imports, and then each as 32 bits, big-endian, in microseconds.
///
/// An image is one byte: how many of the times are over.
#[derive(Default, Debug)]
pub struct TimedExecutor {
    runs: BTreeMap<ActivationId, (Vec<u32>, usize)>,
    /// How much longer a run takes that another has called.
    call_cost: Duration,
}

impl TimedExecutor {
    /// An executor on which each call between tasklets costs this much: the caller is saved and
    /// restored, the callee loaded.
    pub fn with_call_cost(call_cost: Duration) -> Self {
        let runs = BTreeMap::new();
        Self { runs, call_cost }
    }

    /// The module of a tasklet that works for these times, `len` bytes long.
    pub fn module(times_us: &[u32], len: usize) -> Vec<u8> {
        let mut module: Vec<u8> = vec![times_us.len() as u8];
        module.extend(times_us.iter().flat_map(|time| time.to_be_bytes()));
        module.resize(len.max(module.len()), 0);
        module
    }

    /// How many bytes at the start of a module are its times.
    pub(crate) fn times_bytes(module: &[u8]) -> usize {
        1 + 4 * module.first().map_or(0, |count| usize::from(*count))
    }

    /// Takes a run in; nothing if its module has no times.
    fn take_in(&mut self, start: &Start<'_>, over: usize) -> Option<()> {
        let count = usize::from(*start.code.first()?);
        let times = start.code[1..].chunks_exact(4).take(count);
        let times = times.map(|time| u32::from_be_bytes([time[0], time[1], time[2], time[3]]));
        let times: Vec<u32> = times.collect();
        if times.is_empty() {
            return None;
        }
        self.runs.insert(start.activation, (times, over));
        Some(())
    }

    fn step(&mut self, activation: ActivationId) -> (Duration, Answer<Vec<u8>>) {
        let (times, at) = self.runs.get_mut(&activation).expect("it was started");
        let took = Duration::from_micros(u64::from(times[*at]));
        *at += 1;
        let outcome = if *at < times.len() {
            Answer::Called {
                activation,
                import: *at as u16 - 1,
                args: nothing(),
                fuel: 1,
            }
        } else {
            self.runs.remove(&activation);
            Answer::Done {
                activation,
                result: nothing(),
                fuel: 1,
            }
        };
        (took, outcome)
    }
}

impl TimedExecutor {
    /// Thaws a run, which waits for the callee that it waited for before, and has not called it
    /// twice.
    fn thaw(&mut self, start: &Start<'_>, image: &[u8]) -> Answer<Vec<u8>> {
        let activation = start.activation;
        let over = image.first().copied().filter(|_| image.len() == 1);
        let taken = over.and_then(|over| {
            self.take_in(start, over.into())?;
            let (times, over) = self.runs.get(&activation)?;
            (1..times.len()).contains(over).then_some(*over)
        });
        let Some(over) = taken else {
            self.runs.remove(&activation);
            return failed(activation, Fault::BadImage, 1);
        };
        Answer::Called {
            activation,
            import: over as u16 - 1,
            args: nothing(),
            fuel: 1,
        }
    }
}

impl SimExecutor for TimedExecutor {
    fn execute(&mut self, work: &Work<'_>) -> Option<(Duration, Answer<Vec<u8>>)> {
        match *work {
            Work::Start(start) => {
                let activation = start.activation;
                if self.take_in(&start, 0).is_none() {
                    let failed = failed(activation, Fault::InvalidModule, 1);
                    return Some((Duration::ZERO, failed));
                }
                let (took, outcome) = self.step(activation);
                let called = start.parent.map_or(Duration::ZERO, |_| self.call_cost);
                Some((called + took, outcome))
            }
            Work::Resume {
                activation,
                result: Ok(_),
                ..
            }
            | Work::Continue { activation } => Some(self.step(activation)),
            Work::Resume {
                activation,
                result: Err(fault),
                fuel,
            } => {
                self.runs.remove(&activation);
                Some((Duration::ZERO, failed(activation, fault, fuel)))
            }
            Work::Stop { activation } => {
                self.runs.remove(&activation);
                None
            }
            Work::Freeze { activation, room } => {
                if room == 0 {
                    let fault = Fault::ValuesTooLarge;
                    return Some((FREEZE, Answer::NotFrozen { activation, fault }));
                }
                let (_, over) = self.runs.remove(&activation)?;
                let image = vec![over as u8];
                Some((FREEZE, Answer::Frozen { activation, image }))
            }
            Work::Thaw { start, image } => Some((FREEZE, self.thaw(&start, image))),
            Work::Verify { .. } => Some((Duration::from_micros(10), verify(work)?)),
        }
    }
}
