//! The executor of a trial: what a tasklet gets, it gives back, unless it is one for flows.

use std::collections::BTreeMap;
use std::rc::Rc;

use core::cell::Cell;
use core::time::Duration;

use nimblenet_tasklet::{ActivationId, Answer, Fault, Start, Work};

use super::deed::Deed;
use crate::executor::{SimExecutor, TimedExecutor, verify};

/// The time to freeze or thaw one activation.
const FREEZE: Duration = Duration::from_micros(20);

/// Runs the modules of a [`TimedExecutor`](crate::TimedExecutor). A tasklet calls with its own
/// arguments, and its result is what the last callee gave; so a call ends with its own arguments,
/// whatever happens on the way, unless somebody else has answered.
#[derive(Default)]
pub(super) struct EchoExecutor {
    runs: BTreeMap<ActivationId, Run>,
    /// What is sensed next, by all executors of the trial.
    sensed: Rc<Cell<u32>>,
}

/// A tasklet that runs.
struct Run {
    times_us: Vec<u32>,
    /// How many of the times are over.
    over: usize,
    value: Vec<u8>,
}

impl Run {
    fn new(start: &Start<'_>, over: usize, value: &[u8]) -> Option<Self> {
        let (count, times) = start.code.split_first()?;
        let times = times.as_chunks().0.iter().take((*count).into());
        let times_us: Vec<u32> = times.map(|time| u32::from_be_bytes(*time)).collect();
        let value = value.to_vec();
        (over < times_us.len()).then_some(Self {
            times_us,
            over,
            value,
        })
    }
}

fn failed(activation: ActivationId, fault: Fault) -> (Duration, Answer<Vec<u8>>) {
    let answer = Answer::Failed {
        activation,
        fault,
        trap: None,
        place: None,
        fuel: 1,
    };
    (Duration::ZERO, answer)
}

impl EchoExecutor {
    /// An executor that senses one number after the other, as others with the same do.
    pub(super) fn new(sensed: Rc<Cell<u32>>) -> Self {
        let runs = BTreeMap::new();
        Self { runs, sensed }
    }

    /// What a tasklet makes of its arguments before its first call.
    fn made(&self, start: &Start<'_>) -> Option<Vec<u8>> {
        let place = TimedExecutor::times_bytes(start.code);
        let deed = Deed::from_number(*start.code.get(place)?)?;
        deed.results(start.args, || {
            let sensed = self.sensed.get();
            self.sensed.set(sensed.wrapping_add(1));
            sensed
        })
    }

    fn take_in(&mut self, start: &Start<'_>, over: usize, value: &[u8]) -> bool {
        let run = Run::new(start, over, value);
        let taken = run.map(|run| self.runs.insert(start.activation, run));
        taken.is_some()
    }

    /// Works until the next call, or the end.
    fn step(&mut self, activation: ActivationId) -> Option<(Duration, Answer<Vec<u8>>)> {
        let run = self.runs.get_mut(&activation)?;
        let took = Duration::from_micros(run.times_us[run.over].into());
        run.over += 1;
        let fuel = 1;
        if run.over < run.times_us.len() {
            return Some((took, called(activation, run)));
        }
        let result = self.runs.remove(&activation)?.value;
        let answer = Answer::Done {
            activation,
            result,
            fuel,
        };
        Some((took, answer))
    }

    fn thaw(&mut self, start: &Start<'_>, image: &[u8]) -> (Duration, Answer<Vec<u8>>) {
        let activation = start.activation;
        let taken = image
            .split_first()
            .is_some_and(|(over, value)| *over > 0 && self.take_in(start, (*over).into(), value));
        match self.runs.get(&activation).filter(|_| taken) {
            Some(run) => (FREEZE, called(activation, run)),
            None => failed(activation, Fault::BadImage),
        }
    }
}

/// A run calls the next callee.
fn called(activation: ActivationId, run: &Run) -> Answer<Vec<u8>> {
    Answer::Called {
        activation,
        import: run.over as u16 - 1,
        args: run.value.clone(),
        fuel: 1,
    }
}

impl SimExecutor for EchoExecutor {
    fn execute(&mut self, work: &Work<'_>) -> Option<(Duration, Answer<Vec<u8>>)> {
        match *work {
            Work::Start(start) => {
                let made = self.made(&start);
                if !made.is_some_and(|value| self.take_in(&start, 0, &value)) {
                    return Some(failed(start.activation, Fault::InvalidModule));
                }
                self.step(start.activation)
            }
            Work::Continue { activation } => self.step(activation),
            Work::Resume {
                activation,
                result: Ok(result),
                ..
            } => {
                self.runs.get_mut(&activation)?.value = result.to_vec();
                self.step(activation)
            }
            Work::Resume {
                activation,
                result: Err(fault),
                ..
            } => {
                self.runs.remove(&activation);
                Some(failed(activation, fault))
            }
            Work::Stop { activation } => {
                self.runs.remove(&activation);
                None
            }
            Work::Freeze { activation, room } => {
                if self.runs.get(&activation)?.value.len() >= room {
                    let fault = Fault::ValuesTooLarge;
                    return Some((FREEZE, Answer::NotFrozen { activation, fault }));
                }
                let run = self.runs.remove(&activation)?;
                let image = [&[run.over as u8], &run.value[..]].concat();
                Some((FREEZE, Answer::Frozen { activation, image }))
            }
            Work::Thaw { start, image } => Some(self.thaw(&start, image)),
            Work::Verify { .. } => Some((Duration::from_micros(10), verify(work)?)),
        }
    }
}
