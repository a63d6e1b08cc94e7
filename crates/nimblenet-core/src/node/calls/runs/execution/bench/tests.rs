use super::*;

const ONLY: ExecutorId = ExecutorId(0);
/// No other job is younger.
const LAST: fn(JobAt) -> bool = |_| false;
const PLACE: Demand = Demand::Place { anywhere: false };

fn job(at: usize) -> JobAt {
    JobAt::new(at)
}

fn bench(executors: usize, places: usize) -> Bench {
    Bench::new(&Limits {
        executors,
        places,
        jobs: 8,
        depth: 4,
        ..Limits::board()
    })
}

/// All jobs have the same priority.
const ALIKE: fn(JobAt) -> Priority = |_| Priority::Normal;

/// The job whose turn it is if each job has begun and needs a place.
fn turn(bench: &mut Bench, executor: ExecutorId) -> Option<Turn> {
    bench.poll_turn(executor, false, ALIKE, |_| false, |_, _| PLACE)
}

/// Takes jobs until there is none whose turn it is; each keeps a place.
fn taken(bench: &mut Bench) -> Vec<usize> {
    let mut taken = Vec::new();
    while let Some(Turn::Run(at)) = turn(bench, ONLY) {
        give(bench, at, After::Stays);
        taken.push(at.index());
    }
    taken
}

/// Lets the executor do the job's work.
fn give(bench: &mut Bench, job: JobAt, after: After) {
    let activation = ActivationId(job.index() as u32);
    bench.begin(ONLY, activation, true, true);
    let freed = after == After::Leaves;
    let executor = ONLY;
    assert_eq!(
        bench.end(activation, after),
        Some(Ended { executor, freed })
    );
}

#[test]
fn jobs_have_their_turn_in_the_order_in_which_they_came() {
    let mut bench = bench(1, 8);
    for at in [3, 0, 2] {
        bench.make_ready(job(at), false, LAST);
    }
    bench.withdraw(job(0));
    assert_eq!(taken(&mut bench), [3, 2]);
    assert_eq!(turn(&mut bench, ONLY), None);
}

#[test]
fn a_job_that_goes_on_has_its_turn_before_jobs_that_are_younger() {
    let mut bench = bench(1, 8);
    // The lower its place, the older is a job.
    for at in [2, 4, 1, 3] {
        bench.make_ready(job(at), false, |other| other.index() > at);
    }
    assert_eq!(taken(&mut bench), [1, 2, 3, 4]);
    for at in [2, 1] {
        bench.make_ready(job(at), true, LAST);
    }
    assert_eq!(taken(&mut bench), [2, 1], "slices go round");
}

#[test]
fn a_higher_priority_comes_first_in_both_lines_and_between_them() {
    let mut bench = bench(1, 8);
    // Jobs with even places are urgent.
    let class = |at: JobAt| match at.index() % 2 {
        0 => Priority::High,
        _ => Priority::Normal,
    };
    for (at, sliced) in [
        (1, false),
        (2, false),
        (3, true),
        (4, true),
        (5, true),
        (6, true),
    ] {
        bench.make_ready(job(at), sliced, |other| class(other) < class(job(at)));
    }
    let mut taken = Vec::new();
    let next = |bench: &mut Bench| bench.poll_turn(ONLY, false, class, |_| false, |_, _| PLACE);
    while let Some(Turn::Run(at)) = next(&mut bench) {
        give(&mut bench, at, After::Stays);
        taken.push(at.index());
    }
    assert_eq!(taken, [4, 2, 6, 1, 3, 5]);
}

#[test]
fn a_job_that_has_risen_goes_before_those_that_come_after_it_now() {
    let mut bench = bench(1, 8);
    (0..6).for_each(|at| bench.make_ready(job(at), at > 3, LAST));
    // The last of each line goes before all but the first job.
    let has_risen = |at: JobAt| matches!(at.index(), 3 | 5);
    bench.rise(has_risen, |_, other, _| other.index() != 0);
    assert_eq!(taken(&mut bench), [5, 0, 4, 3, 1, 2]);
}

#[test]
fn new_work_and_work_after_a_slice_take_turns() {
    let mut bench = bench(1, 8);
    for at in 0..3 {
        bench.make_ready(job(at), true, LAST);
    }
    for at in 3..6 {
        bench.make_ready(job(at), false, LAST);
    }
    assert_eq!(taken(&mut bench), [0, 3, 1, 4, 2, 5]);
}

#[test]
fn a_large_job_is_not_overtaken_by_those_that_would_begin_after_it() {
    let mut bench = bench(1, 8);
    (0..4).for_each(|at| bench.make_ready(job(at), false, LAST));
    let mut asked = Vec::new();
    let turn = bench.poll_turn(
        ONLY,
        false,
        ALIKE,
        |_| false,
        |at, may_begin| {
            asked.push((at.index(), may_begin));
            match (at.index(), may_begin) {
                (0, true) => Demand::Promise,
                (3, _) => PLACE,
                _ => Demand::Patience,
            }
        },
    );
    assert_eq!(turn, Some(Turn::Run(job(3))), "it has begun already");
    assert_eq!(asked, [(0, true), (1, false), (2, false), (3, false)]);
}

#[test]
fn without_a_place_none_begins_and_one_is_made_for_those_that_have_begun() {
    let mut bench = bench(1, 1);
    (0..2).for_each(|at| bench.make_ready(job(at), false, LAST));
    assert_eq!(taken(&mut bench), [0]);
    let begins = |_, may_begin| {
        if may_begin { PLACE } else { Demand::Patience }
    };
    assert_eq!(bench.poll_turn(ONLY, false, ALIKE, |_| false, begins), None);
    assert_eq!(turn(&mut bench, ONLY), None);
    let made = bench.poll_turn(ONLY, true, ALIKE, |_| false, begins);
    assert_eq!(made, Some(Turn::MakePlace(job(1))));
}

#[test]
fn an_activation_goes_on_where_it_is_held() {
    let mut bench = bench(2, 4);
    bench.make_ready(job(0), false, LAST);
    bench.make_ready(job(1), false, LAST);
    let holder = |at: JobAt, _| Demand::Holder(ExecutorId(1 - at.index() as u8));
    let mut next =
        |executor| bench.poll_turn(ExecutorId(executor), false, ALIKE, |_| false, holder);
    assert_eq!(next(0), Some(Turn::Run(job(1))));
    assert_eq!((next(0), next(1)), (None, Some(Turn::Run(job(0)))));
}

#[test]
fn a_place_is_free_once_its_activation_has_ended_or_its_stop_was_taken() {
    let mut bench = bench(1, 2);
    for number in 0..2 {
        bench.begin(ONLY, ActivationId(number), true, true);
        assert!(!bench.is_idle(ONLY));
        bench.end(ActivationId(number), After::Stays);
    }
    assert!(!bench.has_place(ONLY) && bench.is_idle(ONLY));
    bench.begin(ONLY, ActivationId(1), true, false);
    assert_eq!(
        bench.end(ActivationId(7), After::Leaves),
        None,
        "nothing was asked of it"
    );
    let (executor, freed) = (ONLY, true);
    let ended = bench.end(ActivationId(1), After::Leaves);
    assert_eq!(ended, Some(Ended { executor, freed }));
    assert!(bench.has_place(ONLY));
    bench.stop(Stop {
        activation: ActivationId(0),
        executor: ONLY,
        placed: true,
        modules: [None; 2],
        image: None,
    });
    assert!(!bench.is_clear());
    assert_eq!(bench.poll_stop(ExecutorId(1)).map(|it| it.activation), None);
    let stop = bench.poll_stop(ONLY).unwrap();
    assert_eq!(stop.activation, ActivationId(0));
    bench.assert_invariants((0..8).map(JobAt::new), |_| false, |_| 0);
}

#[test]
fn a_native_tasklet_takes_no_place() {
    let mut bench = bench(1, 4);
    for number in 0..9 {
        bench.make_ready(job(1), false, LAST);
        let turn = bench.poll_turn(ONLY, false, ALIKE, |_| false, |_, _| Demand::Nothing);
        assert_eq!(turn, Some(Turn::Run(job(1))));
        bench.begin(ONLY, ActivationId(number), false, true);
        bench.end(ActivationId(number), After::Leaves);
    }
    assert!(bench.has_place(ONLY));
}

#[test]
fn those_without_room_keep_their_turns_and_are_tried_again_when_one_leaves() {
    let mut bench = bench(1, 3);
    let line: Vec<JobAt> = (0..4).map(JobAt::new).collect();
    line.iter()
        .for_each(|job| bench.make_ready(*job, false, LAST));
    let mut stalled: Vec<JobAt> = Vec::new();
    let turn = |bench: &mut Bench, stalled: &[JobAt]| {
        let demand = |at: JobAt, _| match stalled.contains(&at) {
            true => Demand::Patience,
            false => PLACE,
        };
        match bench.poll_turn(ONLY, false, ALIKE, |_| false, demand)? {
            Turn::Run(job) => Some(job),
            Turn::MakePlace(_) => None,
        }
    };
    assert_eq!(turn(&mut bench, &stalled), Some(line[0]));
    give(&mut bench, line[0], After::Stays);
    for job in &line[1..3] {
        assert_eq!(turn(&mut bench, &stalled), Some(*job));
        give(&mut bench, *job, After::AsBefore);
        bench.put_back(*job, false, |at| stalled.contains(&at));
        stalled.push(*job);
    }
    assert!(bench.is_still());
    bench.begin(ONLY, ActivationId(0), true, false);
    assert!(!bench.is_still());
    bench.end(ActivationId(0), After::Leaves);
    bench.favour(stalled[0]);
    let turns = [(); 3].map(|()| turn(&mut bench, &[]));
    assert_eq!(turns, [line[1], line[2], line[3]].map(Some));
}

#[test]
fn new_work_goes_to_the_emptiest_executor_unless_that_had_no_room() {
    let mut bench = bench(2, 8);
    let other = ExecutorId(1);
    bench.make_ready(job(0), false, LAST);
    assert_eq!(taken(&mut bench), [0]);
    bench.make_ready(job(1), false, LAST);
    assert_eq!(turn(&mut bench, ONLY), None);
    let mut again = |at| {
        bench.poll_turn(
            at,
            false,
            ALIKE,
            |_| false,
            |_, _| Demand::Place { anywhere: true },
        )
    };
    assert_eq!(again(ONLY), Some(Turn::Run(job(1))));
    bench.make_ready(job(1), false, LAST);
    assert_eq!(turn(&mut bench, other), Some(Turn::Run(job(1))));
}
