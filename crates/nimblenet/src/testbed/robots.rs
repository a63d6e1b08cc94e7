//! The robots: clients at the edge of the air, which make the calls of a trace at the nodes that it
//! names. What they send and receive is not counted.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;

use nimblenet_core::{CallId, CallKey, ClientId, Event, Instant, Source, Step};
use nimblenet_node::remote::{CallOptions, Remote};
use nimblenet_sim::tally::Tally;
use nimblenet_sim::trace::{Trace, Trigger};
use nimblenet_sim::{Errands, HandOver, NAMESPACE, Observer as _, Question, chain_name};
use nimblenet_tasklet::api::step;
use nimblenet_tasklet::{Fault, NamespaceId, NodeId, TaskletName, TaskletRef};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::radio::Pace;
use crate::explained::Explained;

/// How long a robot waits for an answer after the end of the trace: every node that ends answers its
/// calls.
const GRACE: Duration = Duration::from_secs(20);
/// The arguments of all calls: none.
pub(super) const NOTHING: &[u8] = &[0x80];

/// How a call ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The node that took it.
    pub(crate) node: NodeId,
    /// Its chain.
    pub(crate) chain: u32,
    /// When it was made, from the beginning of the trace.
    pub(crate) made: Instant,
    /// When its answer came.
    pub(crate) at: Instant,
    /// The answer, or the code of the failure.
    pub(crate) answer: Result<Answered, String>,
}

/// What has come to a robot.
#[derive(Debug)]
enum Came {
    /// The answer to a call.
    Answer(CallId, Ended),
    /// The answer to its question for a result, at this node: the result's length, or the code of the
    /// failure.
    Result(NodeId, CallId, Result<(), String>),
}

/// The answer to a call that gave results.
#[derive(Debug)]
pub(crate) struct Answered {
    /// The time from the call to its end, as the node says.
    pub(crate) took: Duration,
    /// Where its tasklets came from.
    pub(crate) steps: Vec<Step>,
}

/// The robots of a replay.
#[derive(Debug)]
pub(crate) struct Robots<'a> {
    triggers: &'a [Trigger],
    names: Vec<TaskletName>,
    nodes: BTreeMap<NodeId, SocketAddr>,
    pace: Pace,
    begun: Instant,
    end: Instant,
    calls: JoinSet<Came>,
    /// What robots that have driven on ask for; none if they do not.
    errands: Option<Errands>,
    /// The number of the last call or question.
    number: u32,
    /// Triggers that have been.
    pub(crate) triggered: usize,
    /// Calls that were made.
    pub(crate) made: usize,
}

impl<'a> Robots<'a> {
    /// The robots of a trace, which begins now. With `hand_over`, those that have driven on ask for their
    /// results where they are.
    ///
    /// # Errors
    /// If a chain has no name, which does not happen.
    pub(crate) fn new(
        trace: &'a Trace,
        nodes: BTreeMap<NodeId, SocketAddr>,
        pace: Pace,
        begun: Instant,
        hand_over: bool,
    ) -> anyhow::Result<Self> {
        let names = (0..trace.taskset.chains.len() as u32).map(name);
        Ok(Self {
            triggers: &trace.triggers,
            names: names.collect::<anyhow::Result<_>>()?,
            nodes,
            pace,
            begun,
            end: begun + trace.duration(),
            calls: JoinSet::new(),
            errands: hand_over.then(|| Errands::new(&trace.contacts)),
            number: 0,
            triggered: 0,
            made: 0,
        })
    }

    /// Goes on until a call ends, or `at` most until this moment: makes the calls that are due. Returns
    /// a call that has ended.
    pub(crate) async fn work(&mut self, until: Instant) -> Option<Ended> {
        loop {
            let in_time = |moment: &Instant| *moment < self.end;
            let trigger = self.triggers.get(self.triggered);
            let trigger = trigger.map(|trigger| self.moment(trigger.at_s));
            let trigger = trigger.filter(in_time);
            let contact = self.errands.as_ref().and_then(Errands::next_contact);
            let contact = contact.map(|at| self.begun + at.since(Instant::ZERO));
            let contact = contact.filter(in_time);
            let due = trigger.into_iter().chain(contact).min();
            let next = due.unwrap_or(until).min(until);
            tokio::select! {
                Some(came) = self.calls.join_next() => {
                    if let Some(ended) = came.ok().and_then(|came| self.take(came)) {
                        return Some(ended);
                    }
                    continue;
                }
                () = sleep(self.pace.until(next)) => {}
            }
            if contact.is_some_and(|at| at <= next) {
                let asked = self.errands.as_mut().map(Errands::arrive);
                asked.into_iter().flatten().for_each(|it| self.ask(&it));
            } else if trigger.is_some_and(|at| at <= next) {
                self.trigger();
            } else {
                return None;
            }
        }
    }

    /// Waits for the answers to all calls that are under way, for as long as nodes take to end.
    pub(crate) async fn come_home(&mut self) -> Vec<Ended> {
        let mut ended = Vec::new();
        let all = async {
            while let Some(came) = self.calls.join_next().await {
                ended.extend(came.ok().and_then(|came| self.take(came)));
            }
        };
        // Whoever has no answer then has none.
        let _ = tokio::time::timeout(GRACE, all).await;
        self.calls.abort_all();
        ended
    }

    /// How robots got their results; none if they did not ask for them elsewhere.
    pub(crate) fn outcome(&self) -> Option<HandOver> {
        self.errands.as_ref().map(|errands| errands.outcome(0))
    }

    /// Takes what has come to a robot; returns the call that has ended with it.
    fn take(&mut self, came: Came) -> Option<Ended> {
        let now = Instant::ZERO + self.pace.now().since(self.begun);
        let result = |answer: Result<(), &String>| answer.map_err(|code| fault(code));
        let (at, call, result, ended) = match came {
            Came::Answer(call, ended) => {
                let result = result(ended.answer.as_ref().map(drop));
                (ended.node, call, result, Some(ended))
            }
            Came::Result(at, call, answer) => (at, call, result(answer.as_ref().copied()), None),
        };
        let errands = self.errands.as_mut();
        let again = errands.and_then(|errands| errands.ended(now, (at, call), result));
        if let Some(question) = again {
            self.ask(&question);
        }
        ended
    }

    /// A robot asks the node in its reach for the result of an earlier call.
    fn ask(&mut self, question: &Question) {
        let Some(address) = self.nodes.get(&question.node).copied() else {
            return;
        };
        let now = Instant::ZERO + self.pace.now().since(self.begun);
        self.number += 1;
        let call = CallId(self.number);
        if let Some(errands) = &mut self.errands {
            errands.asked(now, question, call);
        }
        let patience = self.pace.until(self.end) + GRACE;
        let question = *question;
        self.calls.spawn(async move {
            let answer = claim(address, &question, patience).await;
            Came::Result(question.node, call, answer)
        });
    }

    fn moment(&self, at_s: f64) -> Instant {
        self.begun + Duration::from_secs_f64(at_s)
    }

    fn trigger(&mut self) {
        let trigger = self.triggers[self.triggered];
        self.triggered += 1;
        let node = trigger.node.map(NodeId);
        let Some((node, address)) = node.and_then(|id| Some((id, *self.nodes.get(&id)?))) else {
            return;
        };
        self.made += 1;
        let name = self.names[trigger.chain as usize];
        let (pace, begun) = (self.pace, self.begun);
        let patience = self.pace.until(self.end) + GRACE;
        self.number += 1;
        let (client, number) = (ClientId(trigger.robot), self.number);
        if let Some(errands) = &mut self.errands {
            let at = Instant::ZERO + pace.now().since(begun);
            let key = CallKey { client, number };
            errands.called(at, (node, CallId(number)), (key, name));
        }
        let to_keep = self.errands.as_ref().map(|_| number);
        self.calls.spawn(async move {
            let now = || Instant::ZERO + pace.now().since(begun);
            let made = now();
            let answer = call(address, &name, (client, to_keep), patience).await;
            let ended = Ended {
                node,
                chain: trigger.chain,
                made,
                at: now(),
                answer,
            };
            Came::Answer(CallId(number), ended)
        });
    }
}

/// The full name of a chain.
pub(crate) fn name(chain: u32) -> anyhow::Result<TaskletName> {
    Ok(TaskletName::new(&format!(
        "{NAMESPACE}/{}",
        chain_name(chain)
    ))?)
}

/// One call, from a robot's socket to its answer.
async fn call(
    node: SocketAddr,
    name: &TaskletName,
    (robot, number): (ClientId, Option<u32>),
    patience: Duration,
) -> Result<Answered, String> {
    let remote = Remote::connect(node, patience).await;
    let mut remote = remote.map_err(|error| error.kind().to_string())?;
    let options = CallOptions {
        explain: true,
        client: Some(robot.0),
        number,
        ..CallOptions::default()
    };
    let answer = remote.call(name, NOTHING, options).await;
    let answer = answer.map_err(|error| error.code().to_owned())?;
    let explained = Explained::read(&answer).ok_or("malformed")?;
    let steps = explained.steps.iter().map(acquisition);
    Ok(Answered {
        took: Duration::from_micros(explained.took_us),
        steps: steps.collect::<Option<_>>().ok_or("malformed")?,
    })
}

/// A robot's question for the result of an earlier call, from its socket to the answer.
async fn claim(node: SocketAddr, question: &Question, patience: Duration) -> Result<(), String> {
    let remote = Remote::connect(node, patience).await;
    let mut remote = remote.map_err(|error| error.kind().to_string())?;
    let Question { at, key, name, .. } = question;
    let at = Some(*at).filter(|at| *at != question.node);
    let answer = remote.claim(name, at, (key.client.0, key.number)).await;
    answer.map(drop).map_err(|error| error.code().to_owned())
}

/// An acquisition as the node that made it has it. Catalogue numbers are those of the order of
/// publication, in which chains come first.
fn acquisition(told: &crate::steps::Step) -> Option<Step> {
    let name = TaskletName::new(told.tasklet()).ok()?;
    let (kind, id) = name.name.as_str().split_once('-')?;
    let id: u16 = id.parse().ok()?;
    let sources = [
        Source::Local,
        Source::Neighbour,
        Source::Global,
        Source::Registry,
        Source::Native,
    ];
    let source = sources.into_iter().find(|it| it.name() == told.source())?;
    Some(Step {
        tasklet: TaskletRef {
            namespace: NamespaceId::of(&name.namespace),
            number: if kind == "chain" { id } else { u16::MAX },
            sequence: told.number(step::VERSION) as u16,
        },
        name,
        source,
        hops: told.number(step::HOPS) as u8,
        attempts: told.number(step::ATTEMPTS) as u8,
        bytes: told.number(step::BYTES) as u32,
        took: Duration::from_micros(told.number(step::WAIT_US)),
    })
}

/// Counts a call that has ended.
pub(crate) fn count(tally: &mut Tally, ended: &Ended, number: u32) {
    let nothing = Vec::new();
    let (result, steps, took) = match &ended.answer {
        Ok(answered) => (Ok(NOTHING), &answered.steps, answered.took),
        Err(code) => (Err(fault(code)), &nothing, ended.at.since(ended.made)),
    };
    let event = Event::Finished {
        call: CallId(number),
        result,
        trap: None,
        blamed: None,
        place: None,
        steps,
        took,
    };
    tally.event(ended.at, ended.node, &event);
}

/// The fault with this code; that a node is out of reach, if it is none of a call.
fn fault(code: &str) -> Fault {
    let known = Fault::ALL.iter().find(|fault| fault.code() == code);
    known.copied().unwrap_or(Fault::Unreachable)
}
