mod arrival;
mod departure;

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use nimblenet_tasklet::Digest;
use proptest::prelude::*;

use super::arrival::Arriving;
use super::*;
use crate::config::{ExecutorId, Limits};
use crate::job::{ExportName, Station};
use crate::node::stage::{
    FUEL, NEAR, OTHER, OWN, STRANGER, Stage, callee, entry, id_of, import, module, shop,
};
use crate::wire::{Answer, Message};

const PATIENCE: Duration = Duration::from_millis(400);
/// A node that works is asked again after eight times as long.
const WORKING: Duration = Duration::from_millis(3200);
const IMAGE: &[u8] = b"an image";

fn place() -> JobAt {
    JobAt::new(1)
}

fn depth(at: usize) -> Depth {
    Depth::new(at)
}

fn number(number: u32) -> GoNumber {
    GoNumber::new(number).unwrap()
}

/// A job that runs `outer`, which waits for `inner`.
fn job() -> Job {
    let mut job = Job::vacant(&Limits::board(), 2);
    job.call = CallId(12);
    job.name = "shop/outer".parse().unwrap();
    let outer = entry(0, "outer", 1, &module(9), &[import("shop", 1)]);
    let inner = entry(1, "inner", 1, &module(9), &[]);
    for (id, entry) in (1..).zip([outer, inner]) {
        let id = nimblenet_tasklet::ActivationId(id);
        let run = ExportName::new("run").unwrap();
        job.push(id, &callee(&entry), run, FUEL).unwrap();
    }
    job
}

/// The same job, held by an executor.
fn running() -> Job {
    let mut job = job();
    for at in 0..2 {
        job.activation_mut(depth(at)).unwrap().station = Station::At(ExecutorId(0));
    }
    job
}

/// The same job, as its record has it.
fn frozen() -> Job {
    let mut job = job();
    for at in 0..2 {
        job.activation_mut(depth(at)).unwrap().station = Station::Record;
    }
    job
}

fn epochs() -> impl ExactSizeIterator<Item = (NamespaceId, u32)> {
    [(shop(), 7), (id_of("yard"), 0)].into_iter()
}

/// Gives the executor's answer to the job and then to the move.
fn answer_work(stage: &mut Stage, moves: &mut Moves, job: &mut Job, outcome: Outcome<'_>) {
    let work = moves.work().expect("the executor is to do something");
    let (_, at) = work.place();
    let activation = job.activation_mut(at).unwrap();
    match (outcome, work) {
        (Outcome::Frozen { .. }, _)
        | (Outcome::Failed { .. } | Outcome::NoRoom { .. }, ImageWork::Thaw { .. }) => {
            activation.station = Station::Record;
        }
        (Outcome::Called { .. } | Outcome::Yielded { .. }, _) => {
            activation.station = Station::At(ExecutorId(0));
        }
        (Outcome::Failed { .. }, ImageWork::Freeze { .. }) => {
            activation.station = Station::Nowhere;
        }
        (
            Outcome::Done { .. }
            | Outcome::NotFrozen { .. }
            | Outcome::NoRoom { .. }
            | Outcome::Verified { .. },
            _,
        ) => {}
    }
    moves.handle_outcome(&mut stage.post(), work, job, outcome);
}

fn frozen_to(image: &[u8]) -> Outcome<'_> {
    let activation = nimblenet_tasklet::ActivationId(1);
    Outcome::Frozen { activation, image }
}

/// The answer to a thaw of a run that waits for what it called, or has yielded.
fn thawed(import: Option<u16>) -> Outcome<'static> {
    let (activation, fuel) = (nimblenet_tasklet::ActivationId(1), 5);
    match import {
        Some(import) => Outcome::Called {
            activation,
            import,
            args: &[0x80],
            fuel,
        },
        None => Outcome::Yielded { activation, fuel },
    }
}

fn failed(fault: Fault) -> Outcome<'static> {
    let activation = nimblenet_tasklet::ActivationId(1);
    Outcome::Failed {
        activation,
        fault,
        trap: None,
        place: None,
        fuel: 0,
    }
}

fn news(moves: &mut Moves) -> Option<(CallId, NodeId, Result<(), Fault>)> {
    let moved = moves.poll_news()?;
    Some((moved.call, moved.to, moved.result))
}

#[test]
fn one_job_moves_at_a_time() {
    let mut stage = Stage::new();
    let mut moves = Moves::new(3);
    let (at, other) = ((place(), CallId(12)), (JobAt::new(2), CallId(13)));
    assert_eq!(moves.order(&stage.post(), at, NEAR), Ok(()));
    assert_eq!(
        (moves.job(), moves.waiting()),
        (Some(place()), Some(place()))
    );
    assert_eq!(moves.order(&stage.post(), at, NEAR), Ok(()), "as before");
    let busy = Err(Fault::Busy);
    assert_eq!(moves.order(&stage.post(), at, OTHER), busy);
    assert_eq!(moves.order(&stage.post(), other, NEAR), busy);
    assert_eq!(moves.poll_timeout(), None);
    assert!(stage.is_quiet() && news(&mut moves).is_none());
}

#[test]
fn a_job_that_is_where_it_is_wanted_has_been_moved() {
    let mut stage = Stage::new();
    let mut moves = Moves::new(3);
    let at = (place(), CallId(12));
    assert_eq!(moves.order(&stage.post(), at, OWN), Ok(()));
    assert_eq!(moves.job(), None);
    assert_eq!(news(&mut moves), Some((CallId(12), OWN, Ok(()))));
}

#[test]
fn news_that_nobody_takes_do_not_pile_up() {
    let mut stage = Stage::new();
    let mut moves = Moves::new(3);
    let capacity = moves.news.capacity();
    for call in 0..9 {
        let at = (place(), CallId(call));
        moves.order(&stage.post(), at, OWN).unwrap();
    }
    assert_eq!(moves.news.capacity(), capacity);
    assert_eq!(news(&mut moves).unwrap().0, CallId(0));
}

/// Everything that may happen to moves.
#[derive(Clone, Copy, Debug)]
enum Input {
    Order(NodeId),
    Depart,
    Outcome(u8),
    Answer {
        from: NodeId,
        ours: bool,
        kind: u8,
        number: u32,
    },
    Timeout(u64),
    Offer(u32),
    Fetched(u8),
    Module,
    Settle,
    Decline,
    Ended,
}

fn inputs() -> impl Strategy<Value = Input> {
    let likely = prop::bool::weighted(0.9);
    let answer = (likely, likely, 0u8..8, 1u32..4);
    let answer = answer.prop_map(|(near, ours, kind, number)| Input::Answer {
        from: if near { NEAR } else { STRANGER },
        ours,
        kind,
        number,
    });
    prop_oneof![
        2 => prop::sample::select(&[NEAR, NEAR, NEAR, OWN]).prop_map(Input::Order),
        4 => Just(Input::Depart),
        8 => (0u8..11).prop_map(Input::Outcome),
        6 => answer,
        4 => (0u64..4000).prop_map(Input::Timeout),
        2 => (0u32..9000).prop_map(Input::Offer),
        4 => (0u8..7).prop_map(Input::Fetched),
        4 => Just(Input::Module),
        1 => Just(Input::Settle),
        1 => Just(Input::Decline),
        1 => Just(Input::Ended),
    ]
}

fn outcome_of(kind: u8) -> Outcome<'static> {
    const LONG: &[u8] = &[7; 9000];
    let activation = nimblenet_tasklet::ActivationId(1);
    match kind {
        0..3 => frozen_to(IMAGE),
        3 => frozen_to(LONG),
        4 => Outcome::NotFrozen {
            activation,
            fault: Fault::ValuesTooLarge,
        },
        5 => failed(Fault::NoMemory),
        6 => failed(Fault::Trapped),
        7 => thawed(None),
        8 => thawed(Some(9)),
        _ => thawed(Some(0)),
    }
}

fn answer_of(kind: u8, told: GoNumber) -> Answer<'static> {
    match kind {
        0 => Answer::Working(1, crate::wire::Wait(0)),
        1 => Answer::Done(&[0x80]),
        2 => Answer::Failed(Fault::Trapped, None),
        3 => Answer::Adopting(None),
        4 | 5 => Answer::Adopting(Some(told)),
        6 => Answer::Refused(Fault::Busy, Some(told)),
        _ => Answer::Refused(Fault::Busy, None),
    }
}

/// A node's moves with what their parent knows of them.
struct Parent {
    stage: Stage,
    moves: Moves,
    job: Job,
    /// The request number of the last offer, and below the number of the last go.
    offered: u32,
    told: Option<GoNumber>,
    /// Whether the other node has given up the job that it was told to run.
    disowned: bool,
    lacks: bool,
}

impl Parent {
    fn new() -> Self {
        Self {
            stage: Stage::with(|config| config.limits.image_bytes = 4000),
            moves: Moves::new(3),
            job: job(),
            offered: 0,
            told: None,
            disowned: false,
            lacks: false,
        }
    }

    fn handle(&mut self, input: Input) {
        let Self {
            stage, moves, job, ..
        } = self;
        let idle = moves.job().is_none();
        match input {
            Input::Order(to) => {
                let _ = moves.order(&stage.post(), (place(), job.call), to);
                if idle {
                    self.begin(running());
                }
            }
            Input::Depart => {
                if moves.waiting().is_some() {
                    moves.depart(&mut stage.post(), job, Next::Continue, epochs());
                }
            }
            Input::Outcome(kind) => {
                if moves.work().is_some() {
                    answer_work(stage, moves, job, outcome_of(kind));
                }
            }
            Input::Answer {
                from,
                ours,
                kind,
                number: told,
            } => {
                let request = self.offered + u32::from(!ours);
                let answer = answer_of(kind, number(told));
                if let (NEAR, true, Answer::Refused(_, refused)) = (from, ours, answer) {
                    self.disowned |= self.told.is_some() && refused == self.told;
                }
                let answer = Return { request, answer };
                let heard = moves.handle_offer_answer(&mut stage.post(), from, &answer, job);
                if let OfferAnswer::HandedOver(gone) = heard {
                    assert_eq!((gone.to, Some(gone.number)), (NEAR, self.told));
                    assert!(moves.job().is_none());
                }
            }
            Input::Timeout(ms) => {
                stage.pass(Duration::from_millis(ms));
                if moves.job().is_some() {
                    moves.handle_timeout(&mut stage.post(), job);
                }
            }
            Input::Offer(size) => self.offer(size),
            Input::Fetched(end) => self.fetched(end),
            Input::Module => {
                if core::mem::take(&mut self.lacks) {
                    moves.handle_module(&mut stage.post(), job);
                }
            }
            // Only a job that is ready has a number for go.
            Input::Settle => {
                let ready = |arrival: &Arrival| matches!(arrival.step, Arriving::Ready { .. });
                if matches!(&moves.transit, Transit::In(arrival) if ready(arrival)) {
                    assert!(moves.settle(&mut stage.post()).is_some());
                }
            }
            Input::Decline => moves.decline(Fault::Stopped),
            Input::Ended => moves.ended(&mut stage.post(), place(), job.call, Fault::Stopped),
        }
        self.carry();
        let due = self.moves.poll_timeout();
        let waited = matches!(input, Input::Timeout(_));
        assert!(!waited || due.is_none_or(|due| due > self.stage.now));
    }

    fn begin(&mut self, job: Job) {
        self.job = job;
        (self.told, self.disowned, self.lacks) = (None, false, false);
    }

    fn offer(&mut self, size: u32) {
        let offer = Offer {
            request: 5,
            deadline_ms: Offer::NO_DEADLINE,
            caller: (OWN, 3),
            mtu: 256,
            size,
            digest: Digest::of(IMAGE),
        };
        let post = &mut self.stage.post();
        if self.moves.admit(post, &offer).is_ok() {
            self.moves.take_in(post, place(), NEAR, &offer);
            assert!(post.next_order().is_some());
            self.begin(frozen());
        }
    }

    /// The fetch ends for the arrival that ordered it.
    fn fetched(&mut self, end: u8) {
        let fetching = |arrival: &Arrival| matches!(arrival.step, Arriving::Fetching);
        if !matches!(&self.moves.transit, Transit::In(arrival) if fetching(arrival)) {
            return;
        }
        let ends = [FetchEnd::Changed, FetchEnd::Refused, FetchEnd::Silent];
        let end = ends.get(usize::from(end)).copied();
        let (end, image) = match end {
            Some(end) => (end, &b""[..]),
            None => (FetchEnd::Complete(None), IMAGE),
        };
        self.stage.ground.image.set_len(image.len());
        self.stage.ground.image.copy_from_slice(image);
        self.moves.handle_fetched(&mut self.stage.post(), end);
    }

    fn carry(&mut self) {
        while let Some((_, message)) = self.stage.message() {
            if let Message::Offer(offer) = message {
                assert!(self.told.is_none(), "no second node can get ready");
                self.offered = offer.request;
            } else if let Message::Go(go) = message {
                assert!(self.told.is_none_or(|told| told == go.number));
                self.told = Some(go.number);
            } else {
                panic!("{message:?} is no word of a move");
            }
        }
        while let Some(passed) = self.moves.poll_passed() {
            let (post, job) = (&mut self.stage.post(), &self.job);
            match passed {
                Passed::Failed(at, fault) => self.moves.ended(post, at, job.call, fault),
                Passed::Stays(..) => {
                    let here = self.told.is_none() || self.disowned;
                    assert!(here, "the job may run twice");
                    assert!(
                        job.activations()
                            .iter()
                            .all(|held| held.station != Station::Record)
                    );
                }
                Passed::Arrived(_) => self.moves.handle_unpacked(post, job, Ok(Next::Continue)),
                Passed::Lacks(..) => self.lacks = true,
                Passed::Ready(..) | Passed::Declined(..) => {}
            }
        }
        self.moves.assert_invariants();
        assert!(self.moves.news.len() <= 3);
        if self.moves.job().is_none() {
            assert!(self.moves.work().is_none() && self.moves.poll_timeout().is_none());
        }
    }
}

proptest! {
    #[test]
    fn whatever_comes_a_job_runs_in_one_place(inputs in prop::collection::vec(inputs(), 1..200)) {
        let mut parent = Parent::new();
        let capacity = parent.moves.news.capacity();
        for input in inputs {
            parent.handle(input);
            prop_assert_eq!(parent.moves.news.capacity(), capacity);
        }
        parent.handle(Input::Decline);
        parent.handle(Input::Ended);
        prop_assert_eq!(parent.moves.job(), None);
        prop_assert_eq!(parent.stage.ground.cache.reservations(), 0);
    }
}
