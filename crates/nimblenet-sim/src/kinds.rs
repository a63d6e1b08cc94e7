//! Kinds of executors: nodes that lack one, and tasklets that need one.
//!
//! A node that lacks a kind answers [`Fault::NoExecutor`] to a
//! start of that kind, as a device does that has no interpreter or no such function. What becomes of
//! the call is the nodes' affair.

use std::collections::BTreeMap;
use std::rc::Rc;

use core::time::Duration;

use nimblenet_core::Abilities;
use nimblenet_tasklet::{Answer, Executor, Fault, TaskletName, Work};

use crate::executor::{SimExecutor, TimedExecutor, failed, nothing};

/// Which tasklets are native, and how many nodes lack a kind.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Kinds {
    /// How many of the algorithms are native: the first ones.
    pub natives: u32,
    /// The share of nodes that do not run WebAssembly.
    pub without_wasm: f64,
    /// The share of nodes that have no native tasklets.
    pub without_native: f64,
}

/// Whether the node at this place, from 0, is one of the share that lacks something. They are spread
/// evenly over the places, and the same for every seed.
pub fn lacks(at: usize, share: f64) -> bool {
    let so_far = |places: usize| (places as f64 * share + 1e-9).floor();
    so_far(at + 1) > so_far(at)
}

/// An executor that runs only some kinds.
pub(crate) struct KindsExecutor {
    timed: TimedExecutor,
    runs_wasm: bool,
    /// How long the device's own tasklets run; none if it has none.
    natives: Option<Rc<BTreeMap<TaskletName, Duration>>>,
    call_cost: Duration,
}

impl KindsExecutor {
    pub(crate) fn new(
        call_cost: Duration,
        runs_wasm: bool,
        natives: Option<Rc<BTreeMap<TaskletName, Duration>>>,
    ) -> Self {
        Self {
            timed: TimedExecutor::with_call_cost(call_cost),
            runs_wasm,
            natives,
            call_cost,
        }
    }

    /// Runs a native tasklet; nothing if the device does not have it.
    fn native(&self, name: &TaskletName) -> Option<Duration> {
        self.natives.as_ref()?.get(name).copied()
    }
}

impl SimExecutor for KindsExecutor {
    fn execute(&mut self, work: &Work<'_>) -> Option<(Duration, Answer<Vec<u8>>)> {
        let Some(start) = work.begin() else {
            return self.timed.execute(work);
        };
        let activation = start.activation;
        match start.entry.terms.executor {
            Executor::Wasm if self.runs_wasm => self.timed.execute(work),
            Executor::Native => match self.native(&start.name) {
                Some(time) => {
                    let fuel = 1;
                    let result = nothing();
                    let answer = Answer::Done {
                        activation,
                        result,
                        fuel,
                    };
                    let called = start.parent.map_or(Duration::ZERO, |_| self.call_cost);
                    Some((called + time, answer))
                }
                None => Some((Duration::ZERO, failed(activation, Fault::NoExecutor, 1))),
            },
            Executor::Wasm => Some((Duration::ZERO, failed(activation, Fault::NoExecutor, 1))),
        }
    }

    fn abilities(&self) -> Abilities {
        let natives = self.natives.iter().flat_map(|natives| natives.keys());
        Abilities {
            modules: self.runs_wasm,
            natives: natives.copied().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::lacks;

    #[test]
    fn nodes_that_lack_something_are_spread_evenly() {
        let who = |share: f64| -> Vec<usize> { (0..12).filter(|at| lacks(*at, share)).collect() };
        assert_eq!(who(0.25), [3, 7, 11]);
        assert!(who(0.0).is_empty());
        assert_eq!(who(1.0).len(), 12);
        assert_eq!(who(1.0 / 3.0), [2, 5, 8, 11]);
    }
}
