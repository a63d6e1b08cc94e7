use nimblenet_tasklet::ActivationId;

use super::*;
use crate::job::{ExportName, Next, Station};
use crate::node::stage::{FUEL, Stage, callee, entry, module};
use crate::time::Instant;

const ONLY: ExecutorId = ExecutorId(0);
/// Bytes of each image.
const IMAGE: usize = 100;

fn job(at: usize) -> JobAt {
    JobAt::new(at)
}

fn need(places: usize) -> Need {
    let bytes = places * IMAGE;
    Need {
        places,
        bytes,
        ..Need::NONE
    }
}

fn shelf(executors: usize, places: usize, shelf_bytes: usize) -> Shelf {
    Shelf::new(&Limits {
        executors,
        places,
        shelf_bytes,
        jobs: 8,
        ..Limits::board()
    })
}

/// Jobs at an executor, the one that has its turn last first, and whether the executor has a place.
struct Floor {
    jobs: Vec<Job>,
    has_place: bool,
}

impl Floor {
    /// Jobs that wait for the executor with an activation in each of these stations.
    fn of(stations: &[Station]) -> Self {
        let jobs = stations.iter().enumerate();
        let jobs = jobs.map(|(at, station)| {
            let mut job = Job::vacant(&Limits::board(), 2);
            let outer = entry(0, "outer", 1, &module(9), &[]);
            let (id, export) = (ActivationId(at as u32), ExportName::default());
            job.push(id, &callee(&outer), export, FUEL).unwrap();
            job.top_mut().unwrap().station = *station;
            job.state = State::Ready(Next::Continue);
            job.accepted = Instant::from_micros(at as u64);
            job.need = need(1);
            job
        });
        Self {
            jobs: jobs.collect(),
            has_place: false,
        }
    }
}

impl Around for Floor {
    fn jobs(&self) -> impl Iterator<Item = (JobAt, &Job)> {
        let jobs = self.jobs.iter().enumerate();
        jobs.map(|(at, held)| (job(at), held))
    }

    fn has_place(&self, _: ExecutorId) -> bool {
        self.has_place
    }

    fn image_bytes(&self, _: SlotId) -> usize {
        IMAGE
    }
}

const BOTTOM: Depth = Depth::BOTTOM;

#[test]
fn a_job_is_begun_only_if_its_whole_chain_finds_places() {
    let mut shelf = shelf(1, 10, 0);
    assert!(shelf.begin(job(0), need(4)) && shelf.begin(job(1), need(4)));
    assert!(!shelf.begin(job(2), need(4)), "it finds two places");
    assert!(!shelf.has_begun(job(2)) && shelf.has_begun(job(0)));
    shelf.forget(job(0));
    assert!(shelf.begin(job(2), need(4)));
    shelf.assert_invariants(|_| false);
}

#[test]
fn the_first_job_is_begun_however_much_it_needs_and_counts_when_it_comes_from_elsewhere() {
    let mut shelf = shelf(1, 4, 0);
    assert!(shelf.begin(job(5), need(99)) && !shelf.begin(job(6), need(1)));
    shelf.forget(job(5));
    shelf.take_over(job(7), 3);
    assert!(!shelf.begin(job(6), need(2)) && shelf.begin(job(6), need(1)));
}

#[test]
fn room_on_the_shelf_lets_more_jobs_begin_than_there_are_places() {
    let mut shelf = shelf(1, 4, 2 * IMAGE);
    let begun = [0, 1, 2, 3, 4].map(|at| shelf.begin(job(at), need(1)));
    assert_eq!(begun, [true; 5], "two of them on the shelf's account");
    assert!(!shelf.begin(job(5), need(1)));
    let floor = Floor::of(&[Station::At(ONLY); 5]);
    let victim = shelf.poll_place(ONLY, &floor);
    assert_eq!(
        victim,
        Some((job(3), BOTTOM)),
        "others were promised places"
    );
}

#[test]
fn a_stalled_job_has_another_one_put_on_the_shelf_even_if_that_was_promised_a_place() {
    let mut shelf = shelf(1, 8, 2 * IMAGE);
    let floor = Floor::of(&[Station::At(ONLY), Station::Nowhere]);
    assert!(shelf.begin(job(0), need(1)) && shelf.begin(job(1), need(1)));
    assert_eq!(shelf.poll_room(ONLY, &floor), None, "none is stalled");
    shelf.handle_no_room(job(1), ONLY);
    assert!(shelf.is_stalled_at(job(1), ONLY) && !shelf.is_stalled(job(0)));
    let victim = shelf.poll_room(ONLY, &floor);
    assert_eq!(victim, Some((job(0), BOTTOM)));
    assert_eq!(shelf.poll_place(ONLY, &floor), None, "it keeps its place");

    let room = shelf.begin_freezing(ONLY, (job(0), BOTTOM), IMAGE, &floor);
    assert_eq!(room, 2 * IMAGE);
    assert!(shelf.is_freezing(job(0)));
    assert_eq!(shelf.poll_place(ONLY, &floor), victim, "now it may go");
    assert_eq!(shelf.poll_freezing(ONLY), victim);
    assert_eq!(shelf.poll_freezing(ONLY), None);
    shelf.assert_invariants(|_| true);
}

#[test]
fn a_full_shelf_takes_no_more() {
    let mut stage = Stage::new();
    let slot = stage.place(&[0; IMAGE]);
    let mut shelf = shelf(1, 1, IMAGE);
    let floor = Floor::of(&[Station::Shelf(slot), Station::At(ONLY)]);
    (0..2).for_each(|at| shelf.promises.set(job(at), Promise::Shelf(IMAGE)));
    assert_eq!(shelf.poll_place(ONLY, &floor), None);
}

#[test]
fn those_without_room_are_tried_again_when_an_activation_leaves() {
    let mut shelf = shelf(2, 4, 0);
    let other = ExecutorId(1);
    shelf.handle_no_room(job(2), ONLY);
    shelf.handle_no_room(job(1), ONLY);
    shelf.handle_no_room(job(3), other);
    shelf.assert_invariants(|at| at != job(0));
    assert_eq!(shelf.handle_room(ONLY), Some(job(2)));
    assert_eq!(shelf.handle_room(ONLY), None);
    assert!(shelf.is_stalled(job(3)) && !shelf.is_stalled(job(1)));
    shelf.unstall(job(3));
    assert_eq!(shelf.handle_room(other), None);
}

#[test]
fn the_youngest_does_without_when_nobody_can_go_on() {
    let mut shelf = shelf(1, 4, 0);
    let held = Station::At(ONLY);
    let mut floor = Floor::of(&[held, held, Station::Nowhere]);
    assert_eq!(shelf.poll_stuck(&floor), None, "nobody waits for room");
    shelf.handle_no_room(job(1), ONLY);
    shelf.handle_no_room(job(2), ONLY);
    assert_eq!(
        shelf.poll_stuck(&floor),
        None,
        "the first holds and goes on"
    );
    shelf.handle_no_room(job(0), ONLY);
    assert_eq!(shelf.poll_stuck(&floor), Some(job(1)), "of those that hold");
    floor.jobs[0].leaves = true;
    assert_eq!(shelf.poll_stuck(&floor), None, "it takes its memory along");
}

#[test]
fn an_image_is_kept_until_its_activation_is_back_and_a_lost_one_ends_its_job() {
    let mut stage = Stage::new();
    let (activation, fuel) = (ActivationId(1), FUEL);
    let post = &mut stage.post();
    let image = &[7; IMAGE];
    let frozen = Outcome::Frozen { activation, image };
    let Shelved::Image(slot) = Shelf::handle_frozen(post, frozen) else {
        panic!("the disk has room for it");
    };
    assert_eq!(post.cache.code(slot), image);
    post.cache.reserve(slot);
    let back = Outcome::Yielded { activation, fuel };
    assert_eq!(Shelf::handle_thawed(post, slot, back), Ok(()));

    let fault = Fault::BadImage;
    let kept = Outcome::NotFrozen { activation, fault };
    assert_eq!(Shelf::handle_frozen(post, kept), Shelved::Kept);
    assert_eq!(Shelf::handle_frozen(post, back), Shelved::Lost);
    assert!(stage.disk_is_free());
}
