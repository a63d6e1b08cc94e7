use nimblenet_tasklet::Import;

use super::*;
use crate::job::Source;
use crate::node::stage::{FUEL, NEAR, Stage, callee, entry, import, module, shop, tasklet};
use crate::places::AcquisitionAt;
use crate::wire::job::{JobHead, MovedActivation};

const CALLER: Caller = (NEAR, 40);
const NAMESPACES: usize = 2;

fn jobs() -> (Stage, Jobs) {
    let stage = Stage::new();
    let jobs = Jobs::new(&stage.ground.config.limits, NAMESPACES);
    (stage, jobs)
}

fn name() -> TaskletName {
    "shop/outer".parse().unwrap()
}

fn opening(caller: Option<Caller>) -> Opening<'static> {
    Opening {
        client: None,
        from: None,
        name: name(),
        export: ExportName::default(),
        args: &[0x80],
        caller,
        deadline: None,
        priority: Full::of(Priority::Normal),
        state: State::Resolving,
        since: None,
    }
}

/// A tasklet that calls `imports`.
fn outer(imports: &[Import<'_>]) -> Vec<u8> {
    entry(0, "outer", 1, &module(9), imports)
}

fn inner() -> Vec<u8> {
    entry(1, "inner", 1, &module(9), &[])
}

fn run() -> ExportName {
    ExportName::new("run").unwrap()
}

/// A job that runs `outer`, whose only import is `inner`.
fn running(stage: &Stage, jobs: &mut Jobs) -> JobAt {
    let at = jobs.open(stage.now, opening(None)).unwrap();
    let outer = outer(&[import("shop", 1)]);
    jobs.push(at, &callee(&outer), run(), FUEL).unwrap();
    jobs.set(at, State::Running(Next::Start));
    at
}

/// A reserved module of the tasklet number `number`.
fn reserved(stage: &mut Stage, number: u16) -> SlotId {
    let slot = stage.keep(tasklet(number, 1), &module(9));
    stage.ground.cache.reserve(slot);
    slot
}

#[test]
fn as_many_jobs_as_the_limit_allows_have_places_which_are_made_when_they_are_needed() {
    let (stage, _) = jobs();
    let mut limits = stage.ground.config.limits;
    limits.jobs = PLACES_AT_ONCE + 3;
    let mut jobs = Jobs::new(&limits, NAMESPACES);
    assert_eq!(jobs.table.len(), PLACES_AT_ONCE);
    for held in 0..limits.jobs {
        assert!(jobs.has_free_place());
        let at = jobs.open(stage.now, opening(None)).unwrap();
        assert_eq!(at, JobAt::new(held));
    }
    assert!(!jobs.has_free_place());
    assert_eq!(jobs.open(stage.now, opening(None)), Err(Fault::Busy));
    jobs.close(JobAt::new(7));
    assert_eq!(jobs.get(JobAt::new(7)).map(|job| job.call), None);
    assert_eq!(jobs.open(stage.now, opening(None)), Ok(JobAt::new(7)));
    assert_eq!(jobs.table.len(), limits.jobs);
}

#[test]
fn as_many_jobs_are_open_as_there_are_places_and_none_with_longer_arguments_than_fit() {
    let (stage, mut jobs) = jobs();
    let long = [0; 1025];
    let longer = Opening {
        args: &long,
        ..opening(None)
    };
    let fault = Err(Fault::ValuesTooLarge);
    assert_eq!(jobs.open(stage.now, longer), fault);
    let longest = Opening {
        args: &long[1..],
        ..longer
    };
    let calls = [longest, opening(None), opening(None)].map(|opening| {
        let at = jobs.open(stage.now, opening).unwrap();
        jobs[at].call
    });
    assert_eq!(jobs.open(stage.now, opening(None)), Err(Fault::Busy));
    assert_eq!(jobs.count(), 3);
    let places = calls.map(|call| jobs.by_call(call).unwrap().index());
    assert_eq!(places, [0, 1, 2]);
}

#[test]
fn a_finished_call_is_reported_once_and_its_place_is_free_after_that() {
    let (mut stage, mut jobs) = jobs();
    let at = jobs.open(stage.now, opening(None)).unwrap();
    let call = jobs[at].call;
    let took = Duration::from_secs(3);
    stage.pass(took);
    jobs.finish(stage.now, at, Err(Fault::Deadline));
    assert_eq!((jobs.by_call(call), jobs.count()), (None, 1));
    let job = jobs.poll_finished().unwrap();
    assert_eq!((job.call, job.took), (call, took));
    assert_eq!(job.state.result(), Some(Err(Fault::Deadline)));
    assert_eq!(jobs.count(), 1, "it may still be looked at");
    assert!(jobs.poll_finished().is_none());
    assert_eq!((jobs.count(), jobs[at].state), (0, State::Free));
}

#[test]
fn finished_calls_are_reported_in_the_order_of_their_ends() {
    let (stage, mut jobs) = jobs();
    let places = [(); 3].map(|()| jobs.open(stage.now, opening(None)).unwrap());
    let order = [places[2], places[0], places[1]];
    for at in order {
        jobs.finish(stage.now, at, Ok(()));
    }
    let calls = order.map(|at| jobs[at].call);
    let reported = [(); 3].map(|()| jobs.poll_finished().unwrap().call);
    assert_eq!(reported, calls);
}

#[test]
fn an_answer_for_another_node_is_kept_until_its_place_is_needed() {
    let (mut stage, mut jobs) = jobs();
    let callers = [7, 8, 9].map(|request| (NEAR, request));
    for caller in callers {
        stage.pass(Duration::from_millis(1));
        let at = jobs.open(stage.now, opening(Some(caller))).unwrap();
        jobs.finish(stage.now, at, Ok(()));
        assert_eq!(jobs[at].state, State::Answered(Ok(())));
    }
    assert!(jobs.poll_finished().is_none());
    assert_eq!(jobs.count(), 0);
    let kept = |jobs: &Jobs| callers.map(|caller| jobs.by_caller(caller).is_some());
    assert_eq!(kept(&jobs), [true, true, true]);
    jobs.vacate(|_| false);
    assert_eq!(jobs.open(stage.now, opening(None)), Err(Fault::Busy));
    assert_eq!(kept(&jobs), [true, true, true]);
    jobs.vacate(|job| job.caller == Some(callers[0]));
    jobs.open(stage.now, opening(None)).unwrap();
    assert_eq!(kept(&jobs), [false, true, true], "the oldest goes first");
}

#[test]
fn a_free_place_is_taken_before_one_that_is_kept() {
    let (stage, mut jobs) = jobs();
    let at = jobs.open(stage.now, opening(Some(CALLER))).unwrap();
    jobs.set(at, State::Declined(Fault::Busy));
    for _ in 0..2 {
        jobs.vacate(|_| true);
        jobs.open(stage.now, opening(None)).unwrap();
        assert_eq!(jobs.by_caller(CALLER), Some(at));
    }
    jobs.vacate(|_| true);
    jobs.open(stage.now, opening(None)).unwrap();
    assert_eq!(jobs.by_caller(CALLER), None);
}

#[test]
fn a_new_job_knows_nothing_of_the_one_before_in_its_place() {
    let (mut stage, mut jobs) = jobs();
    let at = running(&stage, &mut jobs);
    jobs.set_leaves(at, true);
    jobs.set_number(at, GoNumber::new(3).unwrap());
    jobs.note_trap(at, Some(Trap::Host));
    jobs.set_epochs(at, [1, 2].into_iter());
    jobs.wish(&mut stage.post(), at, 0, &[0x80]).unwrap();
    jobs.unwind(at);
    jobs.close(at);
    assert_eq!(jobs.open(stage.now, opening(None)), Ok(at));
    let job = &jobs[at];
    assert!(!job.leaves && job.number.is_none() && job.trap.is_none());
    assert!(job.epochs.is_empty() && job.preload.is_empty());
    assert_eq!(job.calls_left, stage.ground.config.limits.calls);
}

#[test]
fn tasklets_call_each_other_as_deep_as_the_limit() {
    let (stage, mut jobs) = jobs();
    let at = jobs.open(stage.now, opening(None)).unwrap();
    let outer = outer(&[]);
    for depth in 1..=4 {
        assert_eq!(jobs.push(at, &callee(&outer), run(), FUEL), Ok(()));
        assert_eq!(jobs[at].depth(), depth);
    }
    let ids: Vec<u32> = jobs[at].activations().iter().map(|it| it.id.0).collect();
    assert_eq!(ids, [1, 2, 3, 4]);
    let too_deep = jobs.push(at, &callee(&outer), run(), FUEL);
    assert_eq!((too_deep, jobs[at].depth()), (Err(Fault::TooDeep), 4));
}

#[test]
fn a_wish_names_the_import_and_brings_its_arguments() {
    let (mut stage, mut jobs) = jobs();
    let at = running(&stage, &mut jobs);
    jobs.set_fuel(at, 600);
    let args = &[0x81, 0x05];
    let wish = jobs.wish(&mut stage.post(), at, 0, args).unwrap();
    assert_eq!((wish.namespace, wish.number), (shop(), 1));
    assert_eq!(wish.export.as_str(), "run");
    assert_eq!(jobs[at].message, args);
    let inner = inner();
    assert_eq!(wish.admit(&callee(&inner).entry), Ok(600), "what is left");
    let mut rich = wish;
    rich.budget = 9 * FUEL;
    assert_eq!(rich.admit(&callee(&inner).entry), Ok(FUEL), "its ceiling");
}

#[test]
fn a_wish_for_something_else_than_was_compiled_against_is_refused() {
    let (mut stage, mut jobs) = jobs();
    let at = jobs.open(stage.now, opening(None)).unwrap();
    let wrong_signature = Import {
        signature: "func(u8)".parse().unwrap(),
        ..import("shop", 1)
    };
    let wrong_export = Import {
        export: "stop",
        ..import("shop", 1)
    };
    let long_export = Import {
        export: "a-name-that-is-thirty-three-bytes",
        ..import("shop", 1)
    };
    let outer = outer(&[wrong_signature, wrong_export, long_export]);
    jobs.push(at, &callee(&outer), run(), FUEL).unwrap();
    let inner = inner();
    let mut admitted = |import| {
        let wish = jobs.wish(&mut stage.post(), at, import, &[0x80])?;
        wish.admit(&callee(&inner).entry)
    };
    assert_eq!(admitted(0), Err(Fault::WrongSignature));
    assert_eq!(admitted(1), Err(Fault::UnknownExport));
    assert_eq!(admitted(2), Err(Fault::UnknownExport));
    assert_eq!(admitted(3), Err(Fault::UnknownImport));
}

#[test]
fn a_job_makes_as_many_calls_as_it_may_and_none_with_longer_arguments_than_fit() {
    let mut stage = Stage::with(|config| config.limits.calls = 3);
    let mut jobs = Jobs::new(&stage.ground.config.limits, NAMESPACES);
    let at = running(&stage, &mut jobs);
    let mut wish = |args: &[u8]| jobs.wish(&mut stage.post(), at, 0, args).map(drop);
    assert_eq!(wish(&[0; 1025]), Err(Fault::ValuesTooLarge));
    assert_eq!([wish(&[0x80]), wish(&[0x80])], [Ok(()), Ok(())]);
    assert_eq!(wish(&[0x80]), Err(Fault::TooManyCalls));
}

#[test]
fn all_callers_pay_for_every_slice_of_a_callee_and_for_what_it_has_called() {
    let (mut stage, mut jobs) = jobs();
    let at = running(&stage, &mut jobs);
    jobs.set_fuel(at, 900);
    let fuel = |jobs: &Jobs| {
        let stack = jobs[at].activations().iter();
        stack.map(|it| it.fuel).collect::<Vec<_>>()
    };
    let inner = inner();
    let push = |jobs: &mut Jobs, fuel| jobs.push(at, &callee(&inner), run(), fuel).unwrap();
    push(&mut jobs, 500);
    // It yields twice, calls another, which yields once, and ends.
    for left in [450, 400] {
        jobs.set_fuel(at, left);
    }
    assert_eq!(fuel(&jobs), [800, 400]);
    push(&mut jobs, 400);
    jobs.set_fuel(at, 390);
    jobs.pop(&mut stage.post(), at, Some(370));
    assert_eq!(fuel(&jobs), [770, 370]);
    // What cannot go on has used what it has used.
    jobs.pop(&mut stage.post(), at, None);
    assert_eq!(fuel(&jobs), [770]);
}

#[test]
fn the_caller_pays_for_the_fuel_of_its_callee() {
    let (mut stage, mut jobs) = jobs();
    let at = running(&stage, &mut jobs);
    jobs.set_fuel(at, 900);
    let inner = inner();
    let fuel = |jobs: &Jobs| jobs[at].top().unwrap().fuel;
    jobs.push(at, &callee(&inner), run(), 500).unwrap();
    jobs.pop(&mut stage.post(), at, Some(380));
    assert_eq!(fuel(&jobs), 900 - 120);
    // A callee that could not be acquired has used no fuel.
    jobs.push(at, &callee(&inner), run(), 500).unwrap();
    jobs.pop(&mut stage.post(), at, None);
    assert_eq!(fuel(&jobs), 780);
    // An executor cannot give back more fuel than there was.
    jobs.push(at, &callee(&inner), run(), 500).unwrap();
    jobs.set_fuel(at, 9999);
    assert_eq!(fuel(&jobs), 500);
    jobs.pop(&mut stage.post(), at, Some(9999));
    assert_eq!(fuel(&jobs), 780);
    jobs.pop(&mut stage.post(), at, Some(0));
    assert_eq!(jobs[at].depth(), 0);
}

#[test]
fn a_callee_s_module_stays_reserved_until_its_caller_calls_again_or_ends() {
    let (mut stage, mut jobs) = jobs();
    let at = running(&stage, &mut jobs);
    let slot = reserved(&mut stage, 0);
    jobs.give_module(at, jobs[at].top_depth(), slot);
    let inner = inner();
    for again in [true, false] {
        jobs.push(at, &callee(&inner), run(), 1).unwrap();
        let slot = reserved(&mut stage, 1);
        jobs.give_module(at, jobs[at].top_depth(), slot);
        assert_eq!(jobs.reservations(), 2);
        jobs.pop(&mut stage.post(), at, Some(1));
        assert_eq!(
            (jobs.reservations(), stage.ground.cache.reservations()),
            (2, 2)
        );
        if again {
            jobs.wish(&mut stage.post(), at, 0, &[0x80]).unwrap();
        } else {
            jobs.pop(&mut stage.post(), at, Some(1));
        }
        let left = usize::from(again);
        assert_eq!(
            (jobs.reservations(), stage.ground.cache.reservations()),
            (left, left)
        );
    }
}

#[test]
fn what_is_unwound_names_its_modules_and_whether_an_executor_knows_it() {
    let (mut stage, mut jobs) = jobs();
    let at = running(&stage, &mut jobs);
    let slots = [0, 1].map(|number| reserved(&mut stage, number));
    jobs.give_module(at, jobs[at].top_depth(), slots[0]);
    jobs.start(at, Depth::BOTTOM, ExecutorId(0));
    let inner = inner();
    jobs.push(at, &callee(&inner), run(), 1).unwrap();
    jobs.give_module(at, jobs[at].top_depth(), slots[1]);
    let unwound = [(); 2].map(|()| jobs.unwind(at).unwrap());
    assert_eq!(unwound.map(|it| it.holder), [None, Some(ExecutorId(0))]);
    let modules = unwound.map(|it| it.modules[0]);
    assert_eq!(modules, [Some(slots[1]), Some(slots[0])]);
    assert!(jobs.unwind(at).is_none());
    assert_eq!(jobs.reservations(), 0);
}

#[test]
fn what_was_preloaded_is_reserved_until_it_is_taken_back() {
    let (mut stage, mut jobs) = jobs();
    let at = jobs.open(stage.now, opening(None)).unwrap();
    let mut list = jobs.take_preload(at);
    let room = list.capacity();
    list.extend([0, 1].map(|number| (tasklet(number, 1), None)));
    jobs.set_preload(at, list);
    assert!(!jobs.release_preload(&mut stage.post(), at));
    let mut list = jobs.take_preload(at);
    list.push((tasklet(0, 1), None));
    jobs.set_preload(at, list);
    let slot = reserved(&mut stage, 0);
    jobs.preloaded(at, 0, slot);
    assert_eq!(jobs.reservations(), 1);
    assert!(jobs.release_preload(&mut stage.post(), at));
    assert_eq!(
        (jobs.reservations(), stage.ground.cache.reservations()),
        (0, 0)
    );
    assert_eq!(jobs.take_preload(at).capacity(), room);
}

#[test]
fn jobs_need_entries_while_they_run_something_and_the_oldest_counts() {
    let (stage, mut jobs) = jobs();
    assert!(!jobs.need_entries());
    for epoch in [7, 4] {
        let at = running(&stage, &mut jobs);
        jobs.set_epochs(at, [epoch, 9].into_iter());
    }
    let waits = jobs.open(stage.now, opening(None)).unwrap();
    jobs.set_epochs(waits, [1, 1].into_iter());
    assert!(jobs.need_entries());
    let oldest = [0, 1, 2].map(|namespace| jobs.oldest_epoch(namespace));
    assert_eq!(oldest, [Some(4), Some(9), None]);
}

#[test]
fn only_the_top_of_a_running_job_is_the_executor_s() {
    let (stage, mut jobs) = jobs();
    let at = running(&stage, &mut jobs);
    let inner = inner();
    jobs.push(at, &callee(&inner), run(), 1).unwrap();
    let [below, top] = [0, 1].map(|depth| jobs[at].activations()[depth].id);
    assert_eq!((jobs.running(below), jobs.running(top)), (None, Some(at)));
    jobs.set(at, State::Ready(Next::Continue));
    assert_eq!(jobs.running(top), None);
}

#[test]
fn the_first_trap_and_as_many_steps_as_there_is_room_for_are_noted() {
    let mut stage = Stage::with(|config| config.limits.steps = 2);
    let mut jobs = Jobs::new(&stage.ground.config.limits, NAMESPACES);
    let at = running(&stage, &mut jobs);
    for trap in [None, Some(Trap::Host), Some(Trap::Unreachable)] {
        jobs.note_trap(at, trap);
    }
    assert_eq!(jobs[at].trap, Some(Trap::Host));
    for hops in 1..4 {
        jobs.note(at, step(hops));
    }
    let hops: Vec<u8> = jobs[at].steps.iter().map(|step| step.hops).collect();
    assert_eq!(hops, [1, 2]);
    stage.hush();
}

fn step(hops: u8) -> Step {
    Step {
        tasklet: tasklet(0, 1),
        name: name(),
        source: Source::Neighbour,
        hops,
        attempts: 1,
        bytes: 9,
        took: Duration::ZERO,
    }
}

#[test]
fn a_frozen_activation_is_the_executor_s_again_once_it_is_thawed() {
    let (stage, mut jobs) = jobs();
    let at = running(&stage, &mut jobs);
    let activation = jobs[at].top().unwrap().id;
    let bottom = Depth::BOTTOM;
    let facts = |jobs: &Jobs| {
        let top = jobs[at].top().unwrap();
        (top.station, top.fuel)
    };
    let work = [
        ImageWork::Freeze {
            job: at,
            at: bottom,
        },
        ImageWork::Thaw {
            job: at,
            at: bottom,
        },
    ];
    jobs.start(at, bottom, ExecutorId(0));
    let image = &[1, 2, 3];
    jobs.note_image(work[0], &Outcome::Frozen { activation, image });
    assert_eq!(facts(&jobs), (Station::Record, FUEL));
    jobs.start(at, bottom, ExecutorId(0));
    let fuel = 70;
    jobs.note_image(work[1], &Outcome::Yielded { activation, fuel });
    assert_eq!(facts(&jobs), (Station::At(ExecutorId(0)), 70));
    let (fault, trap, fuel) = (Fault::NoMemory, None, 0);
    let failed = Outcome::Failed {
        activation,
        fault,
        trap,
        place: None,
        fuel,
    };
    jobs.note_image(work[1], &failed);
    assert_eq!(
        facts(&jobs),
        (Station::Record, 70),
        "its image is still there"
    );
    jobs.note_image(work[0], &failed);
    assert_eq!(facts(&jobs), (Station::Nowhere, 70));
}

fn head(message: &[u8]) -> JobHead<'_> {
    JobHead {
        priority: Full::of(Priority::Normal),
        next: Next::Start,
        trap: None,
        depth: 1,
        calls_left: 9999,
        name: name(),
        export: "run",
        message,
    }
}

fn moved(image: &[u8]) -> MovedActivation<'_> {
    MovedActivation {
        tasklet: tasklet(0, 1),
        fuel: 9 * FUEL,
        export: "run",
        image,
    }
}

/// An arriving job, of whose record the head was read.
fn arriving(stage: &Stage, jobs: &mut Jobs, message: &[u8]) -> JobAt {
    let at = jobs
        .open(stage.now, Opening::arrival(CALLER, None))
        .unwrap();
    jobs.take_head(at, &head(message)).unwrap();
    at
}

#[test]
fn a_record_gives_an_arriving_job_no_more_than_this_node_allows() {
    let (stage, mut jobs) = jobs();
    let at = arriving(&stage, &mut jobs, &[0x80]);
    assert_eq!(jobs[at].name, name());
    assert_eq!(jobs[at].calls_left, stage.ground.config.limits.calls);
    let outer = outer(&[]);
    jobs.take_activation(at, &callee(&outer), &moved(b""))
        .unwrap();
    let top = jobs[at].top().unwrap();
    assert_eq!((top.fuel, top.station), (FUEL, Station::Nowhere));
    let image = moved(b"image");
    jobs.take_activation(at, &callee(&outer), &image).unwrap();
    assert_eq!(jobs[at].top().unwrap().station, Station::Record);
}

#[test]
fn a_record_that_says_what_cannot_be_is_refused() {
    let (stage, mut jobs) = jobs();
    let long_name = JobHead {
        export: "a-name-that-is-thirty-three-bytes",
        ..head(&[0x80])
    };
    let long_message = [0; 1025];
    let at = arriving(&stage, &mut jobs, &[0x80]);
    let taken = jobs.take_head(at, &long_name);
    assert_eq!(taken, Err(Fault::UnknownExport));
    let taken = jobs.take_head(at, &head(&long_message));
    assert_eq!(taken, Err(Fault::ValuesTooLarge));
    jobs.close(at);

    let (outer, native) = (outer(&[]), entry(0, "outer", 1, b"", &[]));
    let newer = MovedActivation {
        tasklet: tasklet(0, 2),
        ..moved(b"")
    };
    let other_export = MovedActivation {
        export: "stop",
        ..moved(b"")
    };
    let mut taken = |entry: &[u8], args: &[u8], moved: &MovedActivation<'_>| {
        let at = arriving(&stage, &mut jobs, args);
        let taken = jobs.take_activation(at, &callee(entry), moved);
        while jobs.unwind(at).is_some() {}
        jobs.close(at);
        taken
    };
    assert_eq!(taken(&outer, &[0x80], &newer), Err(Fault::UnknownTasklet));
    let fault = Err(Fault::UnknownExport);
    assert_eq!(taken(&outer, &[0x80], &other_export), fault);
    let fault = Err(Fault::BadImage);
    assert_eq!(taken(&native, &[0x80], &moved(b"image")), fault);
    let fault = Err(Fault::WrongArguments);
    assert_eq!(taken(&outer, &[0x81, 0x01], &moved(b"")), fault);
}

#[test]
fn a_job_that_comes_home_is_the_call_that_waited_for_it() {
    let mut stage = Stage::with(|config| config.limits.steps = 3);
    let mut jobs = Jobs::new(&stage.ground.config.limits, NAMESPACES);
    let waits = running(&stage, &mut jobs);
    jobs.unwind(waits);
    jobs.set(waits, State::Remote);
    jobs.note(waits, step(1));
    let call = jobs[waits].call;
    stage.pass(Duration::from_secs(1));
    let back = arriving(&stage, &mut jobs, &[0x80]);
    jobs.job_mut(back).deadline = Some(stage.now);
    jobs.note(back, step(2));
    let outer = outer(&[]);
    jobs.take_activation(back, &callee(&outer), &moved(b"image"))
        .unwrap();
    jobs.set(back, State::Ready(Next::Continue));
    jobs.rejoin(back, waits);

    assert_eq!((jobs[back].call, jobs[back].caller), (call, None));
    assert_eq!(
        (jobs[back].accepted, jobs[back].deadline),
        (Instant::ZERO, None)
    );
    assert_eq!((jobs[back].depth(), jobs[back].steps.len()), (1, 2));
    assert_eq!(jobs.by_call(call), Some(back));
    // The node that it came from hears that the job has ended.
    assert_eq!(jobs.by_caller(CALLER), Some(waits));
    assert_eq!(jobs[waits].state, State::Answered(Ok(())));
    assert_eq!(jobs[waits].message, [0x80], "no results");
    jobs.assert_invariants();
}

#[test]
fn a_job_that_is_over_waits_for_no_acquisition() {
    let acquisition = AcquisitionAt::new(1);
    let item = 0;
    let waits = [
        State::Acquiring { acquisition },
        State::Preloading { item, acquisition },
        State::Arriving(Some((Depth::BOTTOM, acquisition))),
    ];
    assert!(
        waits
            .iter()
            .all(|it| it.live() && it.awaited() == Some(acquisition))
    );
    let over = [
        State::Free,
        State::Finished(Ok(())),
        State::Answered(Ok(())),
        State::Declined(Fault::Busy),
    ];
    assert!(over.iter().all(|it| !it.live() && it.awaited().is_none()));
}
