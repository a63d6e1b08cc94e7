//! Errands: what robots do for the results of their calls once they have driven on. They know where they
//! have called, and ask for each result at the node that they come to.

use std::collections::BTreeMap;

use core::time::Duration;

use nimblenet_core::{CallId, CallKey, ClientId, Instant};
use nimblenet_tasklet::{Fault, NodeId, TaskletName};
use serde::Serialize;

use crate::trace::{Contact, moment};

/// How often a robot asks a node for one result while it is there.
const ASKS: u8 = 3;

/// How robots got the results of their calls.
#[derive(Clone, Copy, PartialEq, Default, Debug, Serialize)]
pub struct HandOver {
    /// At the node that they had called, without having left it.
    pub at_once: u64,
    /// At another node.
    pub elsewhere: u64,
    /// At the node that they had called, when they came back.
    pub back: u64,
    /// Not at all: the node that they had called knows no more of it.
    pub lost: u64,
    /// Not by the end.
    pub open: u64,
    /// There is none: the node was down, or did not take the call.
    pub not_taken: u64,
    /// From asking at a node to the result there, in the mean, in seconds; none if nobody asked.
    pub mean_wait_s: Option<f64>,
    /// Bytes of claims and of what they were answered with.
    pub bytes: u64,
}

/// The results that robots wait for.
#[derive(Debug)]
pub struct Errands {
    /// By the time at which they begin, the last first.
    contacts: Vec<Contact>,
    /// Where each robot is, and until when.
    places: BTreeMap<u32, (NodeId, Instant)>,
    open: BTreeMap<CallKey, Errand>,
    /// The calls and claims in progress.
    by_call: BTreeMap<(NodeId, CallId), (CallKey, Instant)>,
    waits: (u64, Duration),
    outcome: HandOver,
}

/// A result that a robot waits for.
#[derive(Clone, Copy, Debug)]
struct Errand {
    /// Where it has called.
    at: NodeId,
    name: TaskletName,
    /// How often it has asked where it is now; none if it has not left.
    asked: Option<u8>,
}

/// What a robot asks a node for.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// The node in reach.
    pub node: NodeId,
    /// Where the robot has called.
    pub at: NodeId,
    /// The call.
    pub key: CallKey,
    /// Its tasklet.
    pub name: TaskletName,
}

impl Errands {
    /// Those of robots that are in contact with nodes at these times.
    pub fn new(contacts: &[Contact]) -> Self {
        let mut contacts = contacts.to_vec();
        contacts.sort_by(|a, b| b.from_s.total_cmp(&a.from_s));
        Self {
            contacts,
            places: BTreeMap::new(),
            open: BTreeMap::new(),
            by_call: BTreeMap::new(),
            waits: (0, Duration::ZERO),
            outcome: HandOver::default(),
        }
    }

    /// When the next contact begins.
    pub fn next_contact(&self) -> Option<Instant> {
        self.contacts.last().map(|contact| moment(contact.from_s))
    }

    /// Lets the next contact begin; returns what its robot asks for.
    pub fn arrive(&mut self) -> Vec<Question> {
        let Some(contact) = self.contacts.pop() else {
            return Vec::new();
        };
        let (robot, node) = (contact.robot, NodeId(contact.node));
        self.places.insert(robot, (node, moment(contact.to_s)));
        let its = self.open.iter_mut();
        let its = its.filter(|(key, _)| key.client == ClientId(robot));
        let asked = its.map(|(key, errand)| {
            errand.asked = Some(1);
            Question {
                node,
                at: errand.at,
                key: *key,
                name: errand.name,
            }
        });
        asked.collect()
    }

    /// A robot has called.
    pub fn called(
        &mut self,
        now: Instant,
        (at, call): (NodeId, CallId),
        (key, name): (CallKey, TaskletName),
    ) {
        let asked = None;
        self.open.insert(key, Errand { at, name, asked });
        self.by_call.insert((at, call), (key, now));
    }

    /// A robot has called in vain: the node does not answer, or does not take the call.
    pub fn not_taken(&mut self) {
        self.outcome.not_taken += 1;
    }

    /// A node has taken a question.
    pub fn asked(&mut self, now: Instant, question: &Question, call: CallId) {
        let call = (question.node, call);
        self.by_call.insert(call, (question.key, now));
    }

    /// A call or a claim has ended; returns what its robot asks for now.
    pub fn ended(
        &mut self,
        now: Instant,
        call: (NodeId, CallId),
        result: Result<(), Fault>,
    ) -> Option<Question> {
        let (key, since) = self.by_call.remove(&call)?;
        let errand = self.open.get_mut(&key)?;
        let (node, _) = call;
        let is_here = |(place, until): &(NodeId, Instant)| *place == node && now <= *until;
        if !self.places.get(&key.client.0).is_some_and(is_here) {
            return None;
        }
        let claims = errand.asked.is_some();
        match result {
            // The node is silent; the call itself may also have failed so.
            Err(Fault::Unreachable | Fault::Busy) if claims => {
                let asked = errand.asked.as_mut().filter(|asked| **asked < ASKS)?;
                *asked += 1;
                let (at, name) = (errand.at, errand.name);
                return Some(Question {
                    node,
                    at,
                    key,
                    name,
                });
            }
            Err(Fault::UnknownCall) => self.outcome.lost += 1,
            _ if !claims => self.outcome.at_once += 1,
            _ if errand.at == node => self.outcome.back += 1,
            _ => self.outcome.elsewhere += 1,
        }
        if claims {
            self.waits.0 += 1;
            self.waits.1 += now - since;
        }
        self.open.remove(&key);
        None
    }

    /// A node is down: what it worked on ends with it.
    pub fn lose(&mut self, node: NodeId) {
        self.by_call.retain(|(at, _), _| *at != node);
    }

    /// How robots got their results so far; claims and their answers had so many `bytes`.
    pub fn outcome(&self, bytes: u64) -> HandOver {
        let (waits, waited) = self.waits;
        HandOver {
            open: self.open.len() as u64,
            mean_wait_s: (waits > 0).then(|| waited.as_secs_f64() / waits as f64),
            bytes,
            ..self.outcome
        }
    }
}
