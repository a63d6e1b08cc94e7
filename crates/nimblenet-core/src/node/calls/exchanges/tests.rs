use alloc::vec;

use proptest::prelude::*;

use super::*;
use crate::config::Limits;
use crate::job::{ExportName, Next};
use crate::node::stage::{MTU, NEAR, OTHER, OWN, REGISTRY, Stage};

const PATIENCE: Duration = Duration::from_millis(400);
/// A node that works is asked again after eight times as long.
const WORKING: Duration = Duration::from_millis(3200);
const REQUEST: u32 = 41;
const JOBS: usize = 3;
/// A node's first run in these tests.
const CALLEES_RUN: u32 = 1;

fn place() -> JobAt {
    JobAt::new(1)
}

fn number(number: u32) -> GoNumber {
    GoNumber::new(number).unwrap()
}

/// A job that another node works on.
fn job(deadline: Option<Instant>) -> Job {
    let mut job = Job::vacant(&Limits::board(), 0);
    job.name = "shop/rms".parse().unwrap();
    job.export = ExportName::new("peak").unwrap();
    job.deadline = deadline;
    job.state = State::Remote;
    job.set_message(&[0x81, 0x07]);
    job
}

/// A call to the neighbour that was asked once.
fn begun(stage: &mut Stage) -> (Exchanges, Job) {
    let (mut exchanges, job) = (Exchanges::new(JOBS), job(None));
    exchanges.begin(
        place(),
        Exchange::call(stage.now, NEAR, REQUEST, Passes::PINNED),
    );
    exchanges.ask(&mut stage.post(), place(), &job);
    assert!(matches!(stage.message(), Some((NEAR, Message::Call(_)))));
    (exchanges, job)
}

fn hear<'a>(stage: &mut Stage, exchanges: &mut Exchanges, answer: Answer<'a>) -> Heard<'a> {
    exchanges.handle_return(&stage.post(), place(), answer)
}

#[test]
fn a_call_says_what_to_run_and_how_long_it_may_take() {
    let mut stage = Stage::new();
    let mut exchanges = Exchanges::new(JOBS);
    exchanges.begin(
        place(),
        Exchange::call(stage.now, NEAR, REQUEST, Passes::PINNED),
    );
    assert_eq!(exchanges.node_of(place()), Some(NEAR));
    assert_eq!(exchanges.find(NEAR, REQUEST), Some(place()));
    assert_eq!(exchanges.find(OTHER, REQUEST), None);
    assert_eq!(exchanges.find(NEAR, REQUEST + 1), None);
    let deadline = stage.now + Duration::from_millis(2500);
    stage.pass(Duration::from_millis(500));
    for (deadline, deadline_ms) in [(Some(deadline), 2000), (None, 60_000)] {
        exchanges.ask(&mut stage.post(), place(), &job(deadline));
        let call = Call {
            request: REQUEST,
            deadline_ms,
            run: 0,
            asked_ds: 5,
            oldest: 0,
            passes: Passes::PINNED,
            name: "shop/rms".parse().unwrap(),
            export: "peak",
            args: &[0x81, 0x07],
        };
        assert_eq!(stage.message(), Some((NEAR, Message::Call(call))));
    }
}

#[test]
fn a_repeated_call_says_since_when_it_is_asked_the_callee_s_run_and_what_is_asked_for_no_more() {
    let mut stage = Stage::new();
    let (mut exchanges, job) = begun(&mut stage);
    exchanges.begin(
        JobAt::new(0),
        Exchange::call(stage.now, NEAR, REQUEST - 6, Passes::PINNED),
    );
    exchanges.begin(
        JobAt::new(2),
        Exchange::call(stage.now, OTHER, REQUEST - 9, Passes::PINNED),
    );
    let said = |stage: &mut Stage, exchanges: &mut Exchanges| {
        exchanges.ask(&mut stage.post(), place(), &job);
        let Some((_, Message::Call(call))) = stage.message() else {
            panic!("a call is sent");
        };
        (call.run, call.asked_ds, call.oldest)
    };
    stage.pass(Duration::from_millis(401));
    assert_eq!(said(&mut stage, &mut exchanges), (0, 5, 6));
    hear(&mut stage, &mut exchanges, Answer::Working(77, Wait(0)));
    exchanges.forget(JobAt::new(0));
    assert_eq!(said(&mut stage, &mut exchanges), (77, 5, 0));
    let far = REQUEST.wrapping_sub(1 << 20);
    exchanges.begin(
        JobAt::new(0),
        Exchange::call(stage.now, NEAR, far, Passes::PINNED),
    );
    assert_eq!(said(&mut stage, &mut exchanges), (77, 5, u16::MAX));
}

#[test]
fn an_unanswered_call_is_repeated_and_given_up_after_six_askings() {
    let mut stage = Stage::new();
    let (mut exchanges, job) = begun(&mut stage);
    // A dead link takes its time to be noticed.
    let wait = |asked| match asked <= SLOWER_AFTER {
        true => PATIENCE,
        false => Duration::from_millis(1500),
    };
    for asked in 1..6 {
        assert_eq!(exchanges.poll_due(&mut stage.post()), None);
        assert_eq!(exchanges.poll_timeout(), Some(stage.now + wait(asked)));
        stage.pass(wait(asked));
        assert_eq!(
            exchanges.poll_due(&mut stage.post()),
            Some((place(), false))
        );
        exchanges.ask(&mut stage.post(), place(), &job);
        assert!(matches!(stage.message(), Some((NEAR, Message::Call(_)))));
    }
    stage.pass(wait(6));
    assert_eq!(exchanges.poll_due(&mut stage.post()), Some((place(), true)));
    exchanges.forget(place());
    assert_eq!(exchanges.poll_due(&mut stage.post()), None);
    assert_eq!(exchanges.poll_timeout(), None);
}

#[test]
fn a_node_that_works_is_left_to_it_for_longer_and_may_fall_silent_anew() {
    let mut stage = Stage::new();
    let (mut exchanges, job) = begun(&mut stage);
    for _ in 0..9 {
        let heard = hear(
            &mut stage,
            &mut exchanges,
            Answer::Working(CALLEES_RUN, Wait(0)),
        );
        assert_eq!(heard, Heard::Works);
        assert_eq!(exchanges.poll_timeout(), Some(stage.now + WORKING));
        stage.pass(WORKING);
        assert_eq!(
            exchanges.poll_due(&mut stage.post()),
            Some((place(), false))
        );
        exchanges.ask(&mut stage.post(), place(), &job);
        stage.hush();
    }
}

#[test]
fn results_and_failures_end_the_call() {
    let mut stage = Stage::new();
    let (mut exchanges, _) = begun(&mut stage);
    let result = &[0x80][..];
    let heard = hear(&mut stage, &mut exchanges, Answer::Done(result));
    assert_eq!(heard, Heard::Ended(Ok(result)));
    let trap = Some(Trap::DivideByZero);
    let failed = Answer::Failed(Fault::Trapped, trap);
    let heard = hear(&mut stage, &mut exchanges, failed);
    assert_eq!(heard, Heard::Ended(Err((Fault::Trapped, trap))));
}

#[test]
fn answers_to_an_offer_make_no_sense_for_a_call() {
    let mut stage = Stage::new();
    let (mut exchanges, _) = begun(&mut stage);
    let strays = [
        Answer::Adopting(None),
        Answer::Adopting(Some(number(5))),
        Answer::Refused(Fault::Busy, Some(number(5))),
    ];
    for answer in strays {
        let heard = hear(&mut stage, &mut exchanges, answer);
        assert_eq!(heard, Heard::Stray);
    }
}

#[test]
fn a_call_is_moved_once_the_node_that_runs_it_is_known_to() {
    let mut stage = Stage::new();
    let (mut exchanges, job) = begun(&mut stage);
    assert_eq!(exchanges.redirect(place(), OTHER), Some(Heard::Works));
    exchanges.ask(&mut stage.post(), place(), &job);
    assert!(matches!(stage.message(), Some((NEAR, Message::Call(_)))));
    let heard = hear(
        &mut stage,
        &mut exchanges,
        Answer::Working(CALLEES_RUN, Wait(0)),
    );
    assert_eq!(heard, Heard::Ask);
    exchanges.ask(&mut stage.post(), place(), &job);
    let order = Move {
        request: REQUEST,
        to: OTHER,
    };
    assert_eq!(stage.message(), Some((NEAR, Message::Move(order))));

    let heard = hear(&mut stage, &mut exchanges, Answer::Moving(OTHER));
    assert_eq!(heard, Heard::Redirected(OTHER, Ok(())));
    exchanges.ask(&mut stage.post(), place(), &job);
    assert!(matches!(stage.message(), Some((NEAR, Message::Call(_)))));
}

#[test]
fn a_move_that_is_refused_is_told_and_not_asked_for_again() {
    let mut stage = Stage::new();
    let (mut exchanges, job) = begun(&mut stage);
    hear(
        &mut stage,
        &mut exchanges,
        Answer::Working(CALLEES_RUN, Wait(0)),
    );
    assert_eq!(exchanges.redirect(place(), OTHER), Some(Heard::Ask));
    let refused = Answer::Unmoved(OTHER, Fault::Busy);
    let heard = hear(&mut stage, &mut exchanges, refused);
    assert_eq!(heard, Heard::Redirected(OTHER, Err(Fault::Busy)));
    let heard = hear(&mut stage, &mut exchanges, refused);
    assert_eq!(heard, Heard::Works);
    exchanges.ask(&mut stage.post(), place(), &job);
    assert!(matches!(stage.message(), Some((NEAR, Message::Call(_)))));
}

#[test]
fn a_refused_move_is_no_refusal_of_a_placed_call_that_may_be_on_its_way() {
    let mut stage = Stage::new();
    let (mut exchanges, _) = (Exchanges::new(JOBS), job(None));
    let exchange = Exchange::call(stage.now, NEAR, REQUEST, Passes::PLACED);
    exchanges.begin(place(), exchange);
    for fault in [Fault::UnknownCall, Fault::Busy] {
        let heard = hear(&mut stage, &mut exchanges, Answer::Unmoved(OTHER, fault));
        assert_eq!(heard, Heard::Works);
        assert_eq!(exchanges.unheard(place()), Some(NEAR));
    }
    let refused = Answer::Refused(Fault::Busy, None);
    assert_eq!(hear(&mut stage, &mut exchanges, refused), Heard::Refused);
}

#[test]
fn a_node_that_moves_the_call_elsewhere_has_not_agreed() {
    let mut stage = Stage::new();
    let (mut exchanges, _) = begun(&mut stage);
    exchanges.redirect(place(), OTHER);
    let heard = hear(&mut stage, &mut exchanges, Answer::Moving(REGISTRY));
    assert_eq!(heard, Heard::Works);
    let heard = hear(&mut stage, &mut exchanges, Answer::Moving(OTHER));
    assert_eq!(heard, Heard::Redirected(OTHER, Ok(())));
}

#[test]
fn a_call_that_is_there_already_has_been_moved() {
    let mut stage = Stage::new();
    let (mut exchanges, _) = begun(&mut stage);
    exchanges.redirect(place(), OTHER);
    let there = Some(Heard::Redirected(NEAR, Ok(())));
    assert_eq!(exchanges.redirect(place(), NEAR), there);
    let heard = hear(
        &mut stage,
        &mut exchanges,
        Answer::Working(CALLEES_RUN, Wait(0)),
    );
    assert_eq!(heard, Heard::Works, "the order before is void");
    assert_eq!(exchanges.redirect(JobAt::new(0), OTHER), None);
}

#[test]
fn a_job_that_came_home_needs_no_answer_to_its_move() {
    let mut stage = Stage::new();
    let (mut exchanges, _) = begun(&mut stage);
    exchanges.redirect(place(), OWN);
    let home = exchanges.redirected(place(), None, Ok(()));
    assert_eq!(home, Heard::Redirected(OWN, Ok(())));
}

#[test]
fn a_job_that_was_handed_over_is_asked_after_by_its_number() {
    let mut stage = Stage::new();
    let (mut exchanges, job) = (Exchanges::new(JOBS), job(None));
    let due = stage.now + PATIENCE;
    let gone = Gone {
        to: OTHER,
        request: 6,
        number: number(99),
        due,
    };
    exchanges.begin(place(), Exchange::gone(gone));
    assert_eq!(exchanges.poll_timeout(), Some(due));
    exchanges.ask(&mut stage.post(), place(), &job);
    let go = Go {
        request: 6,
        number: number(99),
    };
    assert_eq!(stage.message(), Some((OTHER, Message::Go(go))));
}

/// Asserts what the caller of a job in this state is told.
#[track_caller]
fn told(state: State, answer: Answer<'_>) {
    let mut stage = Stage::new();
    let mut job = job(None);
    job.caller = Some((NEAR, REQUEST));
    job.number = Some(number(8));
    job.trap = Some(Trap::Host);
    job.state = state;
    super::answer(&mut stage.post(), &job, Wait(0));
    let request = REQUEST;
    let told = Message::Return(Return { request, answer });
    assert_eq!(stage.message(), Some((NEAR, told)));
}

#[test]
fn a_caller_is_told_how_its_job_stands() {
    for state in [
        State::Resolving,
        State::Running(Next::Start),
        State::Remote,
        State::Leaving,
    ] {
        told(state, Answer::Working(CALLEES_RUN, Wait(0)));
    }
    told(State::Answered(Ok(())), Answer::Done(&[0x81, 0x07]));
    let failed = Answer::Failed(Fault::Trapped, Some(Trap::Host));
    told(State::Answered(Err(Fault::Trapped)), failed);
    told(State::Arriving(None), Answer::Adopting(Some(number(8))));
    let refused = Answer::Refused(Fault::Busy, Some(number(8)));
    told(State::Declined(Fault::Busy), refused);
}

#[test]
fn a_call_from_outside_has_nobody_to_tell() {
    let mut stage = Stage::new();
    let mut job = job(None);
    job.state = State::Finished(Ok(()));
    answer(&mut stage.post(), &job, Wait(0));
    assert!(stage.is_quiet());
}

#[test]
fn a_result_that_fits_no_frame_fails_the_call() {
    let longest = usize::from(MTU) - HEADER_LEN - OVERHEAD - 5;
    for (len, fits) in [(longest, true), (longest + 1, false)] {
        let mut stage = Stage::new();
        let mut job = job(None);
        job.caller = Some((NEAR, REQUEST));
        job.state = State::Answered(Ok(()));
        let result = vec![0; len];
        assert!(job.set_message(&result));
        answer(&mut stage.post(), &job, Wait(0));
        let told = if fits {
            Answer::Done(&result)
        } else {
            Answer::Failed(Fault::ValuesTooLarge, None)
        };
        let told = Message::Return(Return {
            request: REQUEST,
            answer: told,
        });
        assert_eq!(stage.message(), Some((NEAR, told)));
    }
}

#[test]
fn a_placed_call_is_answered_by_the_node_that_runs_it_and_then_by_no_other() {
    let (mut stage, mut exchanges) = (Stage::new(), Exchanges::new(JOBS));
    let placed = Exchange::call(stage.now, NEAR, REQUEST, Passes::PLACED);
    exchanges.begin(place(), placed);
    let pinned = Exchange::call(stage.now, NEAR, REQUEST + 1, Passes::PINNED);
    exchanges.begin(JobAt::new(0), pinned);
    assert_eq!(exchanges.answered(OTHER, REQUEST + 1), None);
    assert_eq!(exchanges.answered(OTHER, REQUEST), Some(place()));
    let working = Answer::Working(CALLEES_RUN, Wait(0));
    exchanges.handle_return(&stage.post(), place(), working);
    assert_eq!(exchanges.node_of(place()), Some(OTHER));
    assert_eq!(exchanges.answered(NEAR, REQUEST), None);
    let job = job(None);
    stage.wait(exchanges.poll_timeout());
    exchanges.ask(&mut stage.post(), place(), &job);
    let asked = stage.message();
    assert!(matches!(asked, Some((OTHER, Message::Call(call))) if call.run == CALLEES_RUN));
}

#[test]
fn a_refused_call_comes_back_only_if_placement_has_sent_it_and_nobody_works_on_it() {
    let (mut stage, mut exchanges) = (Stage::new(), Exchanges::new(JOBS));
    let refused = Answer::Refused(Fault::Busy, None);
    for (passes, heard) in [
        (Passes::PLACED, Heard::Refused),
        (Passes::PINNED, Heard::Stray),
    ] {
        exchanges.begin(place(), Exchange::call(stage.now, NEAR, REQUEST, passes));
        assert_eq!(
            exchanges.handle_return(&stage.post(), place(), refused),
            heard
        );
    }
    exchanges.begin(
        place(),
        Exchange::call(stage.now, NEAR, REQUEST, Passes::PLACED),
    );
    let working = Answer::Working(CALLEES_RUN, Wait(0));
    exchanges.handle_return(&stage.post(), place(), working);
    let heard = exchanges.handle_return(&stage.post(), place(), refused);
    assert_eq!(heard, Heard::Stray, "it is too late");
}

#[test]
fn a_node_that_works_is_asked_again_after_the_wait_that_it_tells_but_not_very_late() {
    for (wait_s, from_s, to_s) in [(0, 3, 4), (10, 10, 12), (600, 20, 30)] {
        let (mut stage, mut exchanges) = (Stage::new(), Exchanges::new(JOBS));
        exchanges.begin(
            place(),
            Exchange::call(stage.now, NEAR, REQUEST, Passes::PLACED),
        );
        let working = Answer::Working(CALLEES_RUN, Wait(wait_s * 100));
        exchanges.handle_return(&stage.post(), place(), working);
        let due = (exchanges.poll_timeout().unwrap() - stage.now).as_secs();
        assert!((from_s..to_s).contains(&due), "{wait_s} s: {due} s");
    }
}

/// Everything that may happen to exchanges.
#[derive(Clone, Copy, Debug)]
enum Input {
    Begin(usize, bool),
    Return(usize, u8, NodeId),
    Redirect(usize, NodeId),
    Home(usize),
    Timeout(u64),
    Forget(usize),
}

fn inputs() -> impl Strategy<Value = Input> {
    let nodes = prop::sample::select(&[NEAR, OTHER, OWN, REGISTRY]);
    prop_oneof![
        3 => (0..JOBS, any::<bool>()).prop_map(|(at, gone)| Input::Begin(at, gone)),
        6 => (0..JOBS, 0u8..7, nodes.clone()).prop_map(|(at, kind, to)| Input::Return(at, kind, to)),
        3 => (0..JOBS, nodes).prop_map(|(at, to)| Input::Redirect(at, to)),
        1 => (0..JOBS).prop_map(Input::Home),
        6 => (0u64..4000).prop_map(Input::Timeout),
        1 => (0..JOBS).prop_map(Input::Forget),
    ]
}

fn answer_of(kind: u8, to: NodeId) -> Answer<'static> {
    match kind {
        0 => Answer::Working(CALLEES_RUN, Wait(0)),
        1 => Answer::Done(&[0x80]),
        2 => Answer::Failed(Fault::Trapped, None),
        3 => Answer::Adopting(Some(number(4))),
        4 => Answer::Refused(Fault::Busy, None),
        5 => Answer::Refused(Fault::Busy, Some(number(4))),
        _ => Answer::Moving(to),
    }
}

proptest! {
    #[test]
    fn whatever_comes_every_question_is_answered_repeated_or_given_up(
        inputs in prop::collection::vec(inputs(), 1..200),
    ) {
        let (mut stage, job) = (Stage::new(), job(None));
        let mut exchanges = Exchanges::new(JOBS);
        // The number of questions since the last answer; none if no other node works on the job.
        let mut asked: [Option<u32>; JOBS] = [None; JOBS];
        for input in inputs {
            match input {
                Input::Begin(at, gone) => if asked[at].is_none() {
                    let (to, request, due) = (NEAR, at as u32, stage.now);
                    let gone = gone.then_some(Gone { to, request, number: number(4), due });
                    let placed = if at % 2 == 0 { Passes::PLACED } else { Passes::PINNED };
                    let call = Exchange::call(due, to, request, placed);
                    exchanges.begin(JobAt::new(at), gone.map_or(call, Exchange::gone));
                    exchanges.ask(&mut stage.post(), JobAt::new(at), &job);
                    asked[at] = Some(1);
                },
                Input::Return(at, kind, to) => {
                    if let Some(at) = exchanges.answered(NEAR, at as u32) {
                        let answer = answer_of(kind, to);
                        match exchanges.handle_return(&stage.post(), at, answer) {
                            Heard::Ended(_) | Heard::Refused => {
                                exchanges.forget(at);
                                asked[at.index()] = None;
                            }
                            Heard::Ask => {
                                exchanges.ask(&mut stage.post(), at, &job);
                                asked[at.index()] = Some(1);
                            }
                            Heard::Stray => {}
                            Heard::Works | Heard::Redirected(..) => asked[at.index()] = Some(0),
                        }
                    }
                }
                Input::Redirect(at, to) => {
                    let heard = exchanges.redirect(JobAt::new(at), to);
                    prop_assert_eq!(heard.is_some(), asked[at].is_some());
                    if heard == Some(Heard::Ask) {
                        exchanges.ask(&mut stage.post(), JobAt::new(at), &job);
                        asked[at] = Some(1);
                    }
                }
                Input::Home(at) => {
                    exchanges.redirected(JobAt::new(at), None, Ok(()));
                }
                Input::Timeout(ms) => stage.pass(Duration::from_millis(ms)),
                Input::Forget(at) => {
                    exchanges.forget(JobAt::new(at));
                    asked[at] = None;
                }
            }
            let mut turns = 0;
            while let Some((at, silent)) = exchanges.poll_due(&mut stage.post()) {
                let count = asked[at.index()].as_mut().unwrap();
                prop_assert_eq!(silent, *count == 6, "asked {} times", count);
                if silent {
                    exchanges.forget(at);
                    asked[at.index()] = None;
                } else {
                    *count += 1;
                    exchanges.ask(&mut stage.post(), at, &job);
                }
                turns += 1;
                prop_assert!(turns <= JOBS, "each is due once");
            }
            exchanges.assert_invariants(|at| asked[at.index()].is_some());
            prop_assert!(exchanges.poll_timeout().is_none_or(|due| due > stage.now));
            stage.hush();
        }
        for at in (0..JOBS).map(JobAt::new) {
            exchanges.forget(at);
        }
        prop_assert_eq!(exchanges.poll_timeout(), None);
        prop_assert_eq!(exchanges.table.len(), JOBS);
    }
}
