//! The robots: they move, and call the node in their reach over CoAP.

use core::net::SocketAddr;
use core::time::Duration;

use nimblenet_core::Instant;
use nimblenet_node::remote::{CallOptions, Remote};
use nimblenet_sim::floor::Floor;
use nimblenet_sim::robot::{Habits, Robot};
use nimblenet_tasklet::TaskletName;
use tokio::task::{JoinError, JoinSet};
use tokio::time;

use super::errand::{self, Errand};
use super::tally::{End, Tally};
use crate::interrupt::Interrupt;

/// How long a robot waits for an answer once the node has acknowledged the call.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the end waits for calls under way.
const GRACE: Duration = Duration::from_secs(12);
/// The same after a request to end.
const GRACE_INTERRUPTED: Duration = Duration::from_secs(2);

/// How long robots move, and how fast their time runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shift {
    /// Length in real time.
    pub(crate) length: Duration,
    /// Seconds on the floor for each real one.
    pub(crate) speedup: u32,
}

/// One call that has ended.
#[derive(Debug)]
pub(crate) struct Call {
    /// The robot's number.
    pub(crate) robot: usize,
    /// The node's place.
    pub(crate) node: usize,
    /// The tasklet.
    pub(crate) tasklet: TaskletName,
    /// How it ended.
    pub(crate) end: End,
}

/// Robots on a floor whose nodes are daemons.
#[derive(Debug)]
pub(crate) struct Crew {
    floor: Floor,
    robots: Vec<Robot>,
    errands: Vec<Errand>,
    /// The addresses at which nodes take calls, in the order of their ids.
    nodes: Vec<SocketAddr>,
}

impl Crew {
    /// This many robots on a floor whose nodes take calls at these addresses.
    ///
    /// # Errors
    /// If a built-in errand cannot be read.
    pub(crate) fn new(
        floor: Floor,
        nodes: Vec<SocketAddr>,
        robots: u64,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let robot = |number| {
            let chains = errand::of_robot(number);
            Robot::new(seed, number, &floor, &Habits::PAPER, chains)
        };
        let robots = (0..robots).map(robot).collect();
        Ok(Self {
            floor,
            robots,
            errands: errand::all()?,
            nodes,
        })
    }

    /// Lets the robots move until the shift is over or is interrupted, then waits for calls under
    /// way. `watch` sees every call that ends. Returns whether it was interrupted.
    pub(crate) async fn work(
        &mut self,
        shift: Shift,
        tally: &mut Tally,
        interrupt: &mut Interrupt,
        mut watch: impl FnMut(&Call),
    ) -> bool {
        let start = time::Instant::now();
        let mut calls = JoinSet::new();
        let mut interrupted = false;
        while let Some((robot, due)) = self.next_trigger(shift) {
            tokio::select! {
                () = interrupt.requested() => {
                    interrupted = true;
                    break;
                }
                Some(ended) = calls.join_next() => end(tally, ended, &mut watch),
                () = time::sleep_until(start + due) => self.trigger(robot, tally, &mut calls),
            }
        }
        if !interrupted {
            // A shift has its full length, even if its last trigger is early.
            tokio::select! {
                () = interrupt.requested() => interrupted = true,
                () = time::sleep_until(start + shift.length) => {}
            }
        }
        let grace = if interrupted {
            GRACE_INTERRUPTED
        } else {
            GRACE
        };
        let deadline = time::Instant::now() + grace;
        while !calls.is_empty() {
            tokio::select! {
                () = interrupt.requested() => {
                    interrupted = true;
                    break;
                }
                Some(ended) = calls.join_next() => end(tally, ended, &mut watch),
                () = time::sleep_until(deadline) => break,
            }
        }
        for _ in 0..calls.len() {
            tally.end(Err("not-answered".to_owned()));
        }
        interrupted
    }

    /// The robot that triggers next, and when in real time; nothing after the end of the shift.
    fn next_trigger(&self, shift: Shift) -> Option<(usize, Duration)> {
        let triggers = self.robots.iter().map(Robot::next_trigger);
        let (robot, at) = triggers.enumerate().min_by_key(|(_, at)| *at)?;
        let due = (at - Instant::ZERO) / shift.speedup;
        (due < shift.length).then_some((robot, due))
    }

    /// Carries out the trigger of a robot: a call, if a node is in reach.
    fn trigger(&mut self, robot: usize, tally: &mut Tally, calls: &mut JoinSet<Call>) {
        let mover = &mut self.robots[robot];
        let position = mover.position(mover.next_trigger());
        let errand = &self.errands[mover.trigger()];
        let Some(id) = self.floor.node_in_contact(position) else {
            tally.without_contact += 1;
            return;
        };
        let node = usize::from(id.0) - 1;
        tally.calls += 1;
        let (address, errand) = (self.nodes[node], errand.clone());
        calls.spawn(async move {
            Call {
                robot,
                node,
                tasklet: errand.name,
                end: call(address, errand).await,
            }
        });
    }
}

fn end(tally: &mut Tally, ended: Result<Call, JoinError>, watch: &mut impl FnMut(&Call)) {
    let call = ended.expect("calls neither panic nor are cancelled");
    watch(&call);
    tally.end(call.end);
}

/// One call, from a robot's socket to its answer.
async fn call(node: SocketAddr, errand: Errand) -> End {
    let start = time::Instant::now();
    let remote = Remote::connect(node, PATIENCE).await;
    let mut remote = remote.map_err(|error| error.kind().to_string())?;
    let answer = remote
        .call(&errand.name, &errand.args, CallOptions::default())
        .await;
    match answer {
        Ok(_) => Ok(start.elapsed()),
        Err(error) => Err(error.code().to_owned()),
    }
}
