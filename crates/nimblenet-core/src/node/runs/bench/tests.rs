use super::*;

const ONLY: ExecutorId = ExecutorId(0);

fn job(at: usize) -> JobAt {
    JobAt::new(at)
}

fn bench(executors: usize, places: usize, shelf_bytes: usize) -> Bench {
    Bench::new(&Limits {
        executors,
        places,
        shelf_bytes,
        jobs: 8,
        depth: 4,
        ..Limits::board()
    })
}

fn need(places: usize) -> Need {
    let bytes = places * 100;
    Need { places, bytes }
}

/// The job whose turn it is if each needs a place, and has a chain of this many.
fn turn(bench: &mut Bench, executor: ExecutorId, places: usize) -> Option<Turn> {
    bench.poll_turn(executor, false, |_| Demand::Place, |_| need(places))
}

/// Takes jobs until there is none for which a chain of `places` finds room; each keeps its first
/// place.
fn begun(bench: &mut Bench, places: usize) -> Vec<usize> {
    let mut begun = Vec::new();
    while let Some(Turn::Run(at)) = turn(bench, ONLY, places) {
        let activation = ActivationId(at.index() as u32);
        bench.begin(ONLY, activation, true, true);
        assert_eq!(bench.end(activation, After::Stays), Some(ONLY));
        begun.push(at.index());
    }
    begun
}

#[test]
fn jobs_have_their_turn_in_the_order_in_which_they_came() {
    let mut bench = bench(1, 8, 0);
    for at in [3, 0, 2] {
        bench.make_ready(job(at), false);
    }
    bench.withdraw(job(0));
    assert_eq!(begun(&mut bench, 1), [3, 2]);
    assert_eq!(turn(&mut bench, ONLY, 1), None);
}

#[test]
fn new_work_and_work_after_a_slice_take_turns() {
    let mut bench = bench(1, 8, 0);
    for at in 0..3 {
        bench.make_ready(job(at), true);
    }
    for at in 3..6 {
        bench.make_ready(job(at), false);
    }
    assert_eq!(begun(&mut bench, 1), [0, 3, 1, 4, 2, 5]);
}

#[test]
fn a_job_is_begun_only_if_its_whole_chain_finds_places() {
    let mut bench = bench(1, 10, 0);
    (0..4).for_each(|at| bench.make_ready(job(at), false));
    assert_eq!(begun(&mut bench, 4), [0, 1], "the third finds two places");
    bench.forget(job(0));
    assert_eq!(begun(&mut bench, 4), [2]);
}

#[test]
fn the_first_job_is_begun_however_much_it_needs() {
    let mut bench = bench(1, 4, 0);
    bench.make_ready(job(5), false);
    bench.make_ready(job(6), false);
    assert_eq!(begun(&mut bench, 99), [5]);
}

#[test]
fn a_large_job_is_not_overtaken_by_small_ones_that_came_later() {
    let mut bench = bench(1, 8, 0);
    (0..3).for_each(|at| bench.make_ready(job(at), false));
    let sizes = |at: JobAt| need([6, 4, 1][at.index()]);
    let mut next = || bench.poll_turn(ONLY, false, |_| Demand::Place, sizes);
    assert_eq!(next(), Some(Turn::Run(job(0))));
    assert_eq!(next(), None, "two places are left, the next needs four");
}

#[test]
fn what_has_begun_goes_on_while_a_large_job_waits_to_begin() {
    let mut bench = bench(1, 4, 0);
    bench.make_ready(job(0), false);
    assert_eq!(begun(&mut bench, 4), [0]);
    bench.make_ready(job(1), false);
    bench.make_ready(job(0), false);
    assert_eq!(begun(&mut bench, 4), [0]);
}

#[test]
fn room_on_the_shelf_lets_more_jobs_begin_than_there_are_places() {
    let mut bench = bench(1, 4, 250);
    (0..8).for_each(|at| bench.make_ready(job(at), false));
    assert_eq!(
        begun(&mut bench, 1),
        [0, 1, 2, 3],
        "one of them on the shelf's account"
    );
    assert!(!bench.may_shelve(job(2)) && bench.may_shelve(job(3)));
    assert_eq!(
        turn(&mut bench, ONLY, 1),
        None,
        "no place, and nothing to shelve"
    );
    let made = bench.poll_turn(ONLY, true, |_| Demand::Place, |_| need(1));
    assert_eq!(made, Some(Turn::MakePlace(job(4))));
    assert!(bench.may_shelve(job(4)));
}

#[test]
fn an_activation_goes_on_where_it_is_held() {
    let mut bench = bench(2, 4, 0);
    bench.make_ready(job(0), false);
    bench.make_ready(job(1), false);
    let holder = |at: JobAt| Demand::Holder(ExecutorId(1 - at.index() as u8));
    let mut next = |executor| bench.poll_turn(ExecutorId(executor), false, holder, |_| Need::NONE);
    assert_eq!(next(0), Some(Turn::Run(job(1))));
    assert_eq!((next(0), next(1)), (None, Some(Turn::Run(job(0)))));
}

#[test]
fn a_place_is_free_once_its_activation_has_ended_or_its_stop_was_taken() {
    let mut bench = bench(1, 2, 0);
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
    assert_eq!(bench.end(ActivationId(1), After::Leaves), Some(ONLY));
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
    bench.assert_invariants(|_| false, |_| 0);
}

#[test]
fn a_native_tasklet_takes_no_place() {
    let mut bench = bench(1, 4, 0);
    for number in 0..9 {
        bench.make_ready(job(1), false);
        let turn = bench.poll_turn(ONLY, false, |_| Demand::Nothing, |_| need(1));
        assert_eq!(turn, Some(Turn::Run(job(1))));
        bench.begin(ONLY, ActivationId(number), false, true);
        bench.end(ActivationId(number), After::Leaves);
    }
    assert!(bench.has_place(ONLY));
}

#[test]
fn those_without_room_keep_their_turns_and_are_tried_again_when_one_leaves() {
    let mut bench = bench(1, 3, 0);
    let line: Vec<JobAt> = (0..3).map(JobAt::new).collect();
    line.iter().for_each(|job| bench.make_ready(*job, false));
    let turn = |bench: &mut Bench| {
        let turn = bench.poll_turn(ONLY, false, |_| Demand::Place, |_| Need::NONE);
        match turn? {
            Turn::Run(job) => Some(job),
            Turn::MakePlace(_) => None,
        }
    };
    let give = |bench: &mut Bench, job: JobAt, after| {
        let activation = ActivationId(job.index() as u32);
        bench.begin(ONLY, activation, true, true);
        assert_eq!(bench.end(activation, after), Some(ONLY));
    };
    assert_eq!(turn(&mut bench), Some(line[0]));
    give(&mut bench, line[0], After::Stays);
    for job in &line[1..] {
        assert_eq!(turn(&mut bench), Some(*job));
        give(&mut bench, *job, After::AsBefore);
        bench.put_back(*job, ONLY, false);
    }
    assert_eq!(turn(&mut bench), None);
    assert_eq!(bench.first_stalled(ONLY), Some(line[1]));
    assert!(bench.may_be_stuck());
    bench.begin(ONLY, ActivationId(0), true, false);
    assert!(!bench.may_be_stuck());
    bench.end(ActivationId(0), After::Leaves);
    assert_eq!(bench.first_stalled(ONLY), None);
    assert_eq!(turn(&mut bench), Some(line[1]));
    assert_eq!(turn(&mut bench), Some(line[2]));
}
