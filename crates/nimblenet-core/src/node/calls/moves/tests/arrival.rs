use super::*;
use crate::node::post::Owner;
use crate::node::stage::PART;

fn offer(size: usize) -> Offer {
    Offer {
        request: 5,
        deadline_ms: Offer::NO_DEADLINE,
        caller: (OTHER, 3),
        mtu: 200,
        size: size as u32,
        digest: Digest::of(IMAGE),
    }
}

/// A job that the neighbour offers.
fn begun(stage: &mut Stage) -> Moves {
    let mut moves = Moves::new(3);
    moves.take_in(&mut stage.post(), place(), NEAR, &offer(IMAGE.len()));
    assert!(stage.post().next_order().is_some());
    moves
}

/// The same job; its record is here.
fn fetched(stage: &mut Stage) -> Moves {
    let mut moves = begun(stage);
    stage.ground.image.set_len(IMAGE.len());
    stage.ground.image.copy_from_slice(IMAGE);
    moves.handle_fetched(&mut stage.post(), FetchEnd::Complete(None));
    moves
}

/// The same job, ready to run.
fn ready(stage: &mut Stage) -> (Moves, Job, GoNumber) {
    let (mut moves, mut job) = (fetched(stage), frozen());
    moves.poll_passed();
    moves.handle_unpacked(&mut stage.post(), &job, Ok(Next::Continue));
    for _ in 0..2 {
        moves.handle_module(&mut stage.post(), &job);
    }
    for import in [Some(0), None] {
        answer_work(stage, &mut moves, &mut job, thawed(import));
    }
    let passed = moves.poll_passed();
    let Some(Passed::Ready(_, number)) = passed else {
        panic!("{passed:?}");
    };
    (moves, job, number)
}

#[track_caller]
fn declined(moves: &mut Moves, reason: Fault) {
    let passed = moves.poll_passed();
    let Some(Passed::Declined(at, fault)) = passed else {
        panic!("{passed:?}");
    };
    assert_eq!((at, fault, moves.job()), (place(), reason, None));
    assert_eq!((moves.work(), moves.poll_timeout()), (None, None));
}

#[test]
fn an_offer_is_taken_in_if_its_image_fits_and_nothing_else_moves() {
    let mut stage = Stage::new();
    let moves = Moves::new(3);
    let room = stage.ground.image.capacity();
    let admitted = [0, 1, room, room + 1].map(|size| moves.admit(&stage.post(), &offer(size)));
    let expected = [Err(Fault::BadImage), Ok(()), Ok(()), Err(Fault::TooLarge)];
    assert_eq!(admitted, expected);
    let moves = begun(&mut stage);
    assert_eq!(moves.admit(&stage.post(), &offer(1)), Err(Fault::Busy));
    assert_eq!((moves.job(), moves.waiting()), (Some(place()), None));
}

#[test]
fn the_image_is_ordered_from_the_node_that_offers_it() {
    let mut stage = Stage::new();
    let mut moves = Moves::new(3);
    moves.take_in(&mut stage.post(), place(), NEAR, &offer(30));
    let order = stage.post().next_order().unwrap();
    assert_eq!((order.owner, order.source), (Owner::Arrival, NEAR));
    assert_eq!(order.object, Object::Job { request: 5 });
    assert_eq!((order.hops, order.expected), (None, Some(30)));
    assert_eq!(order.part, PART - (256 - 200), "the narrowest link counts");
    assert_eq!(moves.poll_timeout(), None, "the fetch has the time");
}

#[test]
fn an_image_is_read_if_its_digest_is_the_offer_s() {
    let mut stage = Stage::new();
    let mut moves = fetched(&mut stage);
    assert!(matches!(moves.poll_passed(), Some(Passed::Arrived(_))));
    let mut moves = begun(&mut stage);
    stage.ground.image.set_len(3);
    moves.handle_fetched(&mut stage.post(), FetchEnd::Complete(None));
    declined(&mut moves, Fault::DigestMismatch);
    assert_eq!(stage.ground.counters.digest_mismatches, 1);
}

#[test]
fn a_job_whose_image_cannot_be_had_is_declined() {
    let ends = [
        (FetchEnd::Changed, Fault::DigestMismatch),
        (FetchEnd::Refused, Fault::Unreachable),
        (FetchEnd::Silent, Fault::Unreachable),
        (FetchEnd::TooLong, Fault::TooLarge),
        (FetchEnd::NoRoom, Fault::TooLarge),
    ];
    for (end, reason) in ends {
        let mut stage = Stage::new();
        let mut moves = begun(&mut stage);
        moves.handle_fetched(&mut stage.post(), end);
        declined(&mut moves, reason);
    }
}

#[test]
fn a_job_whose_record_makes_no_sense_here_is_declined() {
    let mut stage = Stage::new();
    let mut moves = fetched(&mut stage);
    moves.poll_passed();
    let fault = Fault::UnknownTasklet;
    moves.handle_unpacked(&mut stage.post(), &frozen(), Err(fault));
    declined(&mut moves, fault);
}

#[test]
fn modules_come_first_then_the_stack_is_thawed_from_the_bottom_up() {
    let mut stage = Stage::new();
    let (mut moves, mut job) = (fetched(&mut stage), frozen());
    moves.poll_passed();
    moves.handle_unpacked(&mut stage.post(), &job, Ok(Next::Continue));
    for at in 0..2 {
        let passed = moves.poll_passed();
        let Some(Passed::Lacks(_, lacking)) = passed else {
            panic!("{passed:?}");
        };
        assert_eq!((lacking, moves.work()), (depth(at), None));
        moves.handle_module(&mut stage.post(), &job);
    }
    for (at, import) in [Some(0), None].into_iter().enumerate() {
        assert!(moves.poll_passed().is_none());
        let (place, at) = (place(), depth(at));
        assert_eq!(moves.work(), Some(ImageWork::Thaw { job: place, at }));
        answer_work(&mut stage, &mut moves, &mut job, thawed(import));
    }
    let passed = moves.poll_passed();
    let Some(Passed::Ready(_, number)) = passed else {
        panic!("{passed:?}");
    };
    // It is the number of the packet that says "ready".
    assert_eq!(number.get(), stage.ground.mesh.next_sequence());
    assert_eq!(moves.poll_timeout(), Some(stage.now + PATIENCE));
    assert_eq!(moves.work(), None);
}

#[test]
fn a_job_that_has_not_started_has_nothing_to_thaw() {
    let mut stage = Stage::new();
    let mut moves = fetched(&mut stage);
    moves.poll_passed();
    let mut job = job();
    job.pop();
    moves.handle_unpacked(&mut stage.post(), &job, Ok(Next::Start));
    assert!(matches!(moves.poll_passed(), Some(Passed::Lacks(..))));
    moves.handle_module(&mut stage.post(), &job);
    assert!(matches!(moves.poll_passed(), Some(Passed::Ready(..))));
}

#[test]
fn a_native_tasklet_needs_no_module() {
    let mut stage = Stage::new();
    let mut moves = fetched(&mut stage);
    moves.poll_passed();
    let mut job = job();
    job.activation_mut(depth(0)).unwrap().has_module = false;
    moves.handle_unpacked(&mut stage.post(), &job, Ok(Next::Continue));
    let passed = moves.poll_passed();
    let Some(Passed::Lacks(_, lacking)) = passed else {
        panic!("{passed:?}");
    };
    assert_eq!(lacking, depth(1));
}

#[test]
fn an_activation_that_waits_for_something_else_than_its_record_says_is_no_image() {
    // The bottom activation waits for its import number 0.
    let ends = [
        (thawed(None), Fault::BadImage),
        (thawed(Some(1)), Fault::BadImage),
        (frozen_to(IMAGE), Fault::BadImage),
        (failed(Fault::NoMemory), Fault::NoMemory),
    ];
    for (outcome, reason) in ends {
        let mut stage = Stage::new();
        let (mut moves, mut job) = (fetched(&mut stage), frozen());
        moves.poll_passed();
        moves.handle_unpacked(&mut stage.post(), &job, Ok(Next::Continue));
        for _ in 0..2 {
            moves.handle_module(&mut stage.post(), &job);
        }
        moves.poll_passed();
        answer_work(&mut stage, &mut moves, &mut job, outcome);
        declined(&mut moves, reason);
    }
}

#[test]
fn a_job_that_is_ready_says_so_six_times_and_is_declined_if_nobody_says_go() {
    let mut stage = Stage::new();
    let (mut moves, job, told) = ready(&mut stage);
    for _ in 1..6 {
        stage.wait(moves.poll_timeout());
        moves.handle_timeout(&mut stage.post(), &job);
        let passed = moves.poll_passed();
        let Some(Passed::Ready(at, number)) = passed else {
            panic!("{passed:?}");
        };
        assert_eq!((at, number), (place(), told));
    }
    stage.wait(moves.poll_timeout());
    assert_eq!(stage.now, Instant::ZERO + 6 * PATIENCE);
    moves.handle_timeout(&mut stage.post(), &job);
    declined(&mut moves, Fault::Unreachable);
}

#[test]
fn before_its_time_a_job_that_is_ready_waits() {
    let mut stage = Stage::new();
    let (mut moves, job, _) = ready(&mut stage);
    stage.pass(PATIENCE / 2);
    moves.handle_timeout(&mut stage.post(), &job);
    assert!(moves.poll_passed().is_none());
}

#[test]
fn a_job_that_is_settled_goes_on_with_what_its_record_says() {
    let mut stage = Stage::new();
    let (mut moves, ..) = ready(&mut stage);
    let settled = moves.settle(&mut stage.post()).unwrap();
    assert_eq!((settled.next, settled.home), (Next::Continue, None));
    assert_eq!((moves.job(), stage.ground.counters.moved_in), (None, 1));
    assert!(moves.settle(&mut stage.post()).is_none());
    assert!(moves.poll_passed().is_none());
}

#[test]
fn a_job_that_this_node_called_for_comes_home() {
    let mut stage = Stage::new();
    let mut moves = Moves::new(3);
    let offer = Offer {
        caller: (OWN, 3),
        ..offer(IMAGE.len())
    };
    moves.take_in(&mut stage.post(), place(), NEAR, &offer);
    let settled = moves.settle(&mut stage.post()).unwrap();
    assert_eq!(settled.home, Some((NEAR, 3)));
}

#[test]
fn only_a_job_that_arrives_is_declined_or_settled() {
    let mut stage = Stage::new();
    let mut moves = Moves::new(3);
    let at = (place(), CallId(12));
    moves.order(&stage.post(), at, NEAR).unwrap();
    moves.decline(Fault::Busy);
    assert!(moves.settle(&mut stage.post()).is_none());
    assert!(moves.poll_passed().is_none());
    assert_eq!(moves.waiting(), Some(place()));
}
