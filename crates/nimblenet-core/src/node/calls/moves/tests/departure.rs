use super::*;
use crate::wire::job::MovedJob;
use crate::wire::{Go, Offer};

/// A job that was told to leave for the neighbour and stands still.
fn leaving(stage: &mut Stage, job: &Job, next: Next) -> Moves {
    let mut moves = Moves::new(3);
    let at = (place(), job.call);
    moves.order(&stage.post(), at, NEAR).unwrap();
    moves.depart(&mut stage.post(), job, next, epochs());
    moves
}

/// A job that was offered to the neighbour, and the offer.
fn offered(stage: &mut Stage) -> (Moves, Job, Offer) {
    let mut job = running();
    let mut moves = leaving(stage, &job, Next::Continue);
    for _ in 0..2 {
        answer_work(stage, &mut moves, &mut job, frozen_to(IMAGE));
    }
    let offer = offer(stage);
    (moves, job, offer)
}

fn offer(stage: &mut Stage) -> Offer {
    let Some((NEAR, Message::Offer(offer))) = stage.message() else {
        panic!("the job is offered");
    };
    offer
}

/// The neighbour answers the offer.
fn hear(
    stage: &mut Stage,
    moves: &mut Moves,
    (job, offer): (&Job, Offer),
    answer: Answer<'_>,
) -> OfferAnswer {
    let request = offer.request;
    let answer = Return { request, answer };
    moves.handle_offer_answer(&mut stage.post(), NEAR, &answer, job)
}

fn go(offer: Offer, told: u32) -> Option<(NodeId, Message<'static>)> {
    let (request, number) = (offer.request, number(told));
    Some((NEAR, Message::Go(Go { request, number })))
}

/// The executor thaws the job, which then stays here for this reason.
#[track_caller]
fn comes_back(stage: &mut Stage, moves: &mut Moves, job: &mut Job, fault: Fault) {
    for (at, import) in [Some(0), None].into_iter().enumerate() {
        assert!(moves.poll_passed().is_none());
        let work = ImageWork::Thaw {
            job: place(),
            at: depth(at),
        };
        assert_eq!(moves.work(), Some(work));
        answer_work(stage, moves, job, thawed(import));
    }
    stays(stage, moves, job, fault);
}

#[track_caller]
fn stays(stage: &Stage, moves: &mut Moves, job: &Job, fault: Fault) {
    let passed = moves.poll_passed();
    let Some(Passed::Stays(at, Next::Continue)) = passed else {
        panic!("{passed:?}");
    };
    assert_eq!((at, moves.job()), (place(), None));
    assert_eq!(news(moves), Some((job.call, NEAR, Err(fault))));
    assert_eq!(stage.ground.counters.moves_failed, 1);
}

#[test]
fn a_job_is_frozen_from_the_bottom_up_and_offered() {
    let mut stage = Stage::new();
    let mut job = running();
    job.caller = Some((OTHER, 66));
    job.deadline = Some(stage.now + Duration::from_millis(1500));
    stage.pass(Duration::from_millis(500));
    let mut moves = leaving(&mut stage, &job, Next::Continue);
    for at in 0..2 {
        assert!(stage.is_quiet() && moves.poll_timeout().is_none());
        let work = ImageWork::Freeze {
            job: place(),
            at: depth(at),
        };
        assert_eq!(moves.work(), Some(work));
        answer_work(&mut stage, &mut moves, &mut job, frozen_to(IMAGE));
    }
    assert_eq!((moves.work(), moves.waiting()), (None, None));
    let offer = offer(&mut stage);
    assert_eq!((offer.caller, offer.deadline_ms), ((OTHER, 66), 1000));
    let record = &stage.ground.image[..];
    assert_eq!(
        (offer.size, offer.digest),
        (record.len() as u32, Digest::of(record))
    );
    let record = MovedJob::parse(record).unwrap();
    assert_eq!((record.head.depth, record.head.next), (2, Next::Continue));
    assert_eq!(record.epoch(shop()), Some(7));
    let images: Vec<_> = record.activations().map(|it| (it.fuel, it.image)).collect();
    assert_eq!(images, [(FUEL, IMAGE), (FUEL, IMAGE)]);
    assert_eq!(moves.poll_timeout(), Some(stage.now + PATIENCE));
}

#[test]
fn what_has_not_started_is_not_frozen() {
    let mut stage = Stage::new();
    let mut job = running();
    job.activation_mut(depth(1)).unwrap().station = Station::Nowhere;
    let mut moves = leaving(&mut stage, &job, Next::Start);
    answer_work(&mut stage, &mut moves, &mut job, frozen_to(IMAGE));
    let offer = offer(&mut stage);
    assert_eq!(
        (offer.caller, offer.deadline_ms),
        ((NodeId::EVERYONE, 0), u32::MAX)
    );
    let record = MovedJob::parse(&stage.ground.image).unwrap();
    let images: Vec<_> = record.activations().map(|it| it.image).collect();
    assert_eq!(images, [IMAGE, b""]);
}

#[test]
fn a_node_that_gets_ready_is_given_time_and_the_image() {
    let mut stage = Stage::new();
    let (mut moves, job, offer) = offered(&mut stage);
    let request = offer.request;
    let image = Object::Job { request };
    assert!(moves.offers(NEAR, image) && !moves.offers(OTHER, image));
    let other = Object::Job {
        request: request + 1,
    };
    assert!(!moves.offers(NEAR, other));
    let heard = hear(
        &mut stage,
        &mut moves,
        (&job, offer),
        Answer::Adopting(None),
    );
    assert!(matches!(heard, OfferAnswer::Taken));
    assert_eq!(moves.poll_timeout(), Some(stage.now + WORKING));
    assert!(stage.is_quiet());
}

#[test]
fn a_node_that_is_ready_is_told_to_go_by_its_number_and_nobody_gets_the_image_any_more() {
    let mut stage = Stage::new();
    let (mut moves, job, offer) = offered(&mut stage);
    let ready = |told| Answer::Adopting(Some(number(told)));
    hear(&mut stage, &mut moves, (&job, offer), ready(30));
    assert_eq!(stage.message(), go(offer, 30));
    let request = offer.request;
    assert!(!moves.offers(NEAR, Object::Job { request }));
    assert_eq!(moves.poll_timeout(), Some(stage.now + PATIENCE));
    // The neighbour has not heard the go, and may hear it again.
    hear(&mut stage, &mut moves, (&job, offer), ready(30));
    assert_eq!(stage.message(), go(offer, 30));
    // Another life of the neighbour gets no go.
    hear(&mut stage, &mut moves, (&job, offer), ready(31));
    assert!(stage.is_quiet());
    assert_eq!(moves.job(), Some(place()));
}

#[test]
fn once_the_other_node_speaks_of_the_job_as_its_own_it_is() {
    let failed = Answer::Failed(Fault::Trapped, None);
    for answer in [
        Answer::Working(1, crate::wire::Wait(0)),
        Answer::Done(&[0x80]),
        failed,
    ] {
        let mut stage = Stage::new();
        let (mut moves, job, offer) = offered(&mut stage);
        let heard = hear(&mut stage, &mut moves, (&job, offer), answer);
        assert!(matches!(heard, OfferAnswer::Taken), "nobody said go");
        assert_eq!(moves.job(), Some(place()));
        hear(
            &mut stage,
            &mut moves,
            (&job, offer),
            Answer::Adopting(Some(number(30))),
        );
        let due = stage.now + PATIENCE;
        let heard = hear(&mut stage, &mut moves, (&job, offer), answer);
        let OfferAnswer::HandedOver(gone) = heard else {
            panic!("{heard:?}");
        };
        assert_eq!((gone.to, gone.request), (NEAR, offer.request));
        assert_eq!((gone.number, gone.due), (number(30), due));
        assert_eq!((moves.job(), stage.ground.counters.moved_out), (None, 1));
        assert_eq!(news(&mut moves), Some((job.call, NEAR, Ok(()))));
    }
}

#[test]
fn answers_of_others_or_to_other_offers_are_not_meant() {
    let mut stage = Stage::new();
    let (mut moves, job, offer) = offered(&mut stage);
    let refused = Answer::Refused(Fault::Busy, None);
    for (from, request) in [(OTHER, offer.request), (NEAR, offer.request + 1)] {
        let answer = Return {
            request,
            answer: refused,
        };
        let heard = moves.handle_offer_answer(&mut stage.post(), from, &answer, &job);
        assert!(matches!(heard, OfferAnswer::Other));
    }
    assert_eq!((moves.work(), moves.job()), (None, Some(place())));
}

#[test]
fn a_job_that_is_refused_is_thawed_and_stays() {
    let mut stage = Stage::new();
    let (mut moves, mut job, offer) = offered(&mut stage);
    let refused = Answer::Refused(Fault::TooLarge, None);
    hear(&mut stage, &mut moves, (&job, offer), refused);
    comes_back(&mut stage, &mut moves, &mut job, Fault::TooLarge);
}

#[test]
fn after_go_only_a_refusal_by_that_number_brings_the_job_back() {
    let mut stage = Stage::new();
    let (mut moves, mut job, offer) = offered(&mut stage);
    hear(
        &mut stage,
        &mut moves,
        (&job, offer),
        Answer::Adopting(Some(number(30))),
    );
    for wrong in [None, Some(number(31))] {
        let refused = Answer::Refused(Fault::Busy, wrong);
        hear(&mut stage, &mut moves, (&job, offer), refused);
        assert_eq!((moves.work(), moves.job()), (None, Some(place())));
    }
    let refused = Answer::Refused(Fault::Busy, Some(number(30)));
    hear(&mut stage, &mut moves, (&job, offer), refused);
    comes_back(&mut stage, &mut moves, &mut job, Fault::Busy);
}

/// The neighbour stays silent; returns how often it was asked until the move ends.
fn silence(stage: &mut Stage, moves: &mut Moves, job: &Job) -> usize {
    let mut asked = 0;
    loop {
        stage.wait(moves.poll_timeout());
        moves.handle_timeout(&mut stage.post(), job);
        if stage.message().is_none() {
            return asked;
        }
        asked += 1;
    }
}

#[test]
fn a_node_that_is_silent_before_go_does_not_get_the_job() {
    let mut stage = Stage::new();
    let (mut moves, mut job, _) = offered(&mut stage);
    assert_eq!(silence(&mut stage, &mut moves, &job), 5, "after the first");
    assert_eq!(stage.now, Instant::ZERO + 6 * PATIENCE);
    comes_back(&mut stage, &mut moves, &mut job, Fault::Unreachable);
}

#[test]
fn a_node_that_is_silent_after_go_may_run_the_job_so_nobody_else_does() {
    let mut stage = Stage::new();
    let (mut moves, job, offer) = offered(&mut stage);
    hear(
        &mut stage,
        &mut moves,
        (&job, offer),
        Answer::Adopting(Some(number(30))),
    );
    stage.hush();
    assert_eq!(silence(&mut stage, &mut moves, &job), 5, "after the first");
    let passed = moves.poll_passed();
    let Some(Passed::Failed(at, Fault::Unreachable)) = passed else {
        panic!("{passed:?}");
    };
    assert_eq!((at, moves.work()), (place(), None));
    moves.ended(&mut stage.post(), at, job.call, Fault::Unreachable);
    assert_eq!(moves.job(), None);
}

#[test]
fn a_node_that_never_gets_ready_is_offered_the_job_sixty_four_times() {
    let mut stage = Stage::new();
    let (mut moves, mut job, offer) = offered(&mut stage);
    let mut offers = 1;
    loop {
        hear(
            &mut stage,
            &mut moves,
            (&job, offer),
            Answer::Adopting(None),
        );
        stage.wait(moves.poll_timeout());
        moves.handle_timeout(&mut stage.post(), &job);
        if stage.message().is_none() {
            break;
        }
        offers += 1;
    }
    assert_eq!(offers, 64);
    comes_back(&mut stage, &mut moves, &mut job, Fault::Unreachable);
}

#[test]
fn a_job_whose_record_fits_no_buffer_stays() {
    let mut stage = Stage::with(|config| config.limits.image_bytes = 16);
    let job = running();
    let mut moves = leaving(&mut stage, &job, Next::Continue);
    assert!(stage.is_quiet() && moves.work().is_none());
    stays(&stage, &mut moves, &job, Fault::TooLarge);
}

#[test]
fn a_job_that_the_executor_cannot_freeze_stays() {
    let faults = [
        (Fault::ValuesTooLarge, Fault::TooLarge),
        (Fault::NoExecutor, Fault::NoExecutor),
    ];
    for (fault, reason) in faults {
        let mut stage = Stage::new();
        let mut job = running();
        let mut moves = leaving(&mut stage, &job, Next::Continue);
        answer_work(&mut stage, &mut moves, &mut job, frozen_to(IMAGE));
        let activation = nimblenet_tasklet::ActivationId(2);
        let kept = Outcome::NotFrozen { activation, fault };
        answer_work(&mut stage, &mut moves, &mut job, kept);
        // The activation that was frozen before is thawed.
        let (job_at, at) = (place(), depth(0));
        assert_eq!(moves.work(), Some(ImageWork::Thaw { job: job_at, at }));
        answer_work(&mut stage, &mut moves, &mut job, thawed(Some(0)));
        stays(&stage, &mut moves, &job, reason);
        assert!(stage.is_quiet());
    }
}

#[test]
fn an_executor_that_loses_the_job_or_its_image_fails_it() {
    let long = vec![0; 7000];
    let ends = [
        (failed(Fault::Trapped), Fault::Trapped),
        (frozen_to(&long), Fault::BadImage),
        (thawed(None), Fault::BadImage),
    ];
    for (outcome, reason) in ends {
        let mut stage = Stage::new();
        let mut job = running();
        let mut moves = leaving(&mut stage, &job, Next::Continue);
        answer_work(&mut stage, &mut moves, &mut job, outcome);
        let passed = moves.poll_passed();
        let Some(Passed::Failed(at, fault)) = passed else {
            panic!("{passed:?}");
        };
        assert_eq!((at, fault), (place(), reason));
    }
}

#[test]
fn a_job_that_comes_back_to_a_full_executor_waits_for_room() {
    let mut stage = Stage::new();
    let (mut moves, mut job, offer) = offered(&mut stage);
    let refused = Answer::Refused(Fault::Busy, None);
    hear(&mut stage, &mut moves, (&job, offer), refused);
    let work = moves.work();
    let pause = stage.ground.config.pace.local_search;
    let activation = nimblenet_tasklet::ActivationId(1);
    let no_room = Outcome::NoRoom { activation };
    for outcome in [no_room, failed(Fault::NoMemory), failed(Fault::Busy)] {
        answer_work(&mut stage, &mut moves, &mut job, outcome);
        assert_eq!(moves.work(), None);
        assert_eq!(moves.poll_timeout(), Some(stage.now + pause));
        stage.pass(pause);
        moves.handle_timeout(&mut stage.post(), &job);
        assert_eq!((moves.work(), moves.poll_timeout()), (work, None));
    }
    comes_back(&mut stage, &mut moves, &mut job, Fault::Busy);
}

#[test]
fn a_job_for_which_there_is_never_room_fails_after_sixty_four_waits() {
    let mut stage = Stage::new();
    let (mut moves, mut job, offer) = offered(&mut stage);
    let refused = Answer::Refused(Fault::Busy, None);
    hear(&mut stage, &mut moves, (&job, offer), refused);
    let mut waits = 0;
    let passed = loop {
        answer_work(&mut stage, &mut moves, &mut job, failed(Fault::NoMemory));
        if let Some(passed) = moves.poll_passed() {
            break passed;
        }
        stage.wait(moves.poll_timeout());
        moves.handle_timeout(&mut stage.post(), &job);
        waits += 1;
    };
    assert!(matches!(passed, Passed::Failed(_, Fault::NoMemory)));
    assert_eq!(waits, 64);
}

#[test]
fn a_job_that_ends_ends_its_move_and_no_other() {
    let mut stage = Stage::new();
    let (mut moves, job, _) = offered(&mut stage);
    moves.ended(&mut stage.post(), JobAt::new(2), CallId(13), Fault::Stopped);
    assert_eq!(moves.job(), Some(place()));
    moves.ended(&mut stage.post(), place(), job.call, Fault::Deadline);
    assert_eq!((moves.job(), moves.poll_timeout()), (None, None));
    let told = (job.call, NEAR, Err(Fault::Deadline));
    assert_eq!(news(&mut moves), Some(told));
    assert_eq!(stage.ground.counters.moves_failed, 1);
}
