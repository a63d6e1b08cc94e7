//! One suite for every policy of the table, and what is particular to each.

use alloc::vec::Vec;
extern crate std;

use nimblenet_tasklet::{Digest, NamespaceId};
use proptest::prelude::*;

use super::*;
use crate::cache::{Cache, Disk, NoRoom};
use crate::random::Random;

fn tasklet(number: u16) -> TaskletRef {
    TaskletRef {
        namespace: NamespaceId(1),
        number,
        sequence: 1,
    }
}

fn at(seconds: u64) -> Instant {
    Instant::from_micros(seconds * 1_000_000)
}

fn module(number: u16, len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (at as u16 ^ number.wrapping_mul(31)) as u8)
        .collect()
}

fn cache(policy: &Eviction, bytes: usize, entries: usize) -> Cache {
    Cache::new(Disk::allocate(bytes), bytes, entries, policy.make)
}

fn put(cache: &mut Cache, number: u16, len: usize, now: Instant) -> Result<SlotId, NoRoom> {
    put_from(cache, number, len, now, Nearby::default())
}

fn put_from(
    cache: &mut Cache,
    number: u16,
    len: usize,
    now: Instant,
    nearby: Nearby,
) -> Result<SlotId, NoRoom> {
    let bytes = module(number, len);
    let id = cache.begin(tasklet(number), len, now)?;
    cache.write(id, 0, &bytes);
    cache.set_nearby(id, nearby);
    assert!(cache.finish(id, &Digest::of(&bytes)));
    Ok(id)
}

/// Uses a module as a node does: fetches it unless it is here, and counts the use. Returns whether
/// it was here.
fn call(cache: &mut Cache, number: u16, len: usize, now: Instant) -> bool {
    let found = cache.find(tasklet(number));
    let id = match found {
        Some(id) => id,
        None => put(cache, number, len, now).unwrap(),
    };
    cache.touch(id, now);
    found.is_some()
}

fn holds(cache: &Cache, number: u16) -> bool {
    cache.find(tasklet(number)).is_some()
}

#[test]
fn a_reserved_module_never_leaves_and_never_moves() {
    for policy in Eviction::ALL {
        let mut cache = cache(policy, 1000, 16);
        put(&mut cache, 1, 300, at(1)).unwrap();
        let held = put(&mut cache, 2, 300, at(2)).unwrap();
        put(&mut cache, 3, 300, at(3)).unwrap();
        cache.reserve(held);
        let before = cache.code(held).as_ptr();
        for number in 10..50 {
            put(&mut cache, number, 350, at(number.into())).unwrap();
            assert_eq!(cache.code(held).as_ptr(), before, "{policy:?}");
            assert_eq!(cache.code(held), module(2, 300), "{policy:?}");
        }
        cache.release(held);
        assert_eq!(cache.reservations(), 0);
    }
}

#[test]
fn what_can_never_fit_evicts_nothing() {
    for policy in Eviction::ALL {
        let mut cache = cache(policy, 1000, 16);
        put(&mut cache, 1, 500, at(1)).unwrap();
        assert_eq!(put(&mut cache, 2, 1001, at(2)), Err(NoRoom));
        assert!(holds(&cache, 1), "{policy:?}");
        put(&mut cache, 3, 1000, at(3)).unwrap();
        assert!(!holds(&cache, 1), "{policy:?}");
    }
}

#[test]
fn a_cache_without_entries_takes_nothing() {
    for policy in Eviction::ALL {
        let mut cache = cache(policy, 1000, 0);
        assert_eq!(put(&mut cache, 1, 1, at(1)), Err(NoRoom), "{policy:?}");
    }
}

#[test]
fn what_was_just_used_again_outlives_equals_that_were_not() {
    for policy in Eviction::ALL {
        let mut cache = cache(policy, 900, 16);
        for number in 1..4 {
            call(&mut cache, number, 300, at(number.into()));
        }
        assert!(call(&mut cache, 1, 300, at(4)));
        call(&mut cache, 4, 300, at(5));
        assert!(holds(&cache, 1) && holds(&cache, 4), "{policy:?}");
        assert!(!holds(&cache, 2) && holds(&cache, 3), "{policy:?}");
    }
}

proptest! {
    #[test]
    fn the_budget_holds_and_bytes_survive_and_the_same_happens_twice(
        steps in proptest::collection::vec((0u16..40, 0usize..400, 0u8..6), 1..200),
    ) {
        for policy in Eviction::ALL {
            let mut caches = [0; 2].map(|_| cache(policy, 1000, 8));
            let mut reserved: Vec<SlotId> = Vec::new();
            let mut lengths = [0; 40];
            for (now, (number, len, what)) in steps.iter().copied().enumerate() {
                let now = at(now as u64);
                let here = caches[0].find(tasklet(number));
                prop_assert_eq!(caches[1].find(tasklet(number)), here);
                let popped = if what == 3 { reserved.pop() } else { None };
                for cache in &mut caches {
                    match (what, here) {
                        (0 | 1, None) if put(cache, number, len, now).is_ok() => {
                            lengths[usize::from(number)] = len;
                        }
                        (0..=2, Some(id)) => cache.touch(id, now),
                        (4, Some(id)) => cache.reserve(id),
                        (5, Some(id)) if !reserved.contains(&id) => cache.remove(id),
                        _ => {}
                    }
                    popped.into_iter().for_each(|id| cache.release(id));
                    prop_assert!(cache.used() <= cache.capacity());
                    prop_assert!(cache.tasklets().count() <= 8);
                }
                reserved.extend(here.filter(|_| what == 4));
                let [cache, twin] = &caches;
                prop_assert!(cache.tasklets().eq(twin.tasklets()), "{:?}", policy);
                prop_assert_eq!(cache.reservations(), reserved.len());
                let mut used = 0;
                for held in cache.tasklets() {
                    let id = cache.find(held).unwrap();
                    let len = lengths[usize::from(held.number)];
                    prop_assert_eq!(cache.code(id), module(held.number, len));
                    used += len;
                }
                prop_assert_eq!(cache.used(), used);
                for id in &reserved {
                    prop_assert!(cache.tasklets().any(|held| cache.find(held) == Some(*id)));
                }
            }
        }
    }
}

#[test]
fn the_table_has_each_name_once_and_the_book_has_every_line_of_it() {
    let book = include_str!("../../../../../docs/operating.md");
    let row = |policy: &Eviction| std::format!("| `{}` | {} |", policy.name, policy.about());
    for policy in Eviction::ALL {
        let named = Eviction::named(policy.name).unwrap();
        assert!(core::ptr::eq(named, *policy), "two policies have one name");
        let row = row(policy);
        assert!(book.lines().any(|line| line == row), "missing: {row}");
    }
    let table = book.split("| eviction | ").nth(1).unwrap();
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    assert_eq!(rows.count(), Eviction::ALL.len());
    assert!(Eviction::named("best").is_none());
}

/// Notes what it is told; the first module to come leaves first.
struct Witness(std::sync::mpsc::Sender<(&'static str, u16, u32)>);

impl Evict for Witness {
    fn on_insert(&mut self, _: SlotId, facts: &Facts<'_>) {
        let told = ("insert", facts.tasklet.number, facts.uses);
        self.0.send(told).unwrap();
    }

    fn on_hit(&mut self, _: SlotId, facts: &Facts<'_>) {
        let told = ("hit", facts.tasklet.number, facts.uses);
        self.0.send(told).unwrap();
    }

    fn on_evict(&mut self, _: SlotId, facts: &Facts<'_>, exit: Exit) {
        let what = match exit {
            Exit::Evicted => "evicted",
            Exit::Removed => "removed",
        };
        self.0
            .send((what, facts.tasklet.number, facts.uses))
            .unwrap();
    }

    fn worth(&self, _: SlotId, facts: &Facts<'_>) -> (u64, u64) {
        (facts.tasklet.number.into(), 0)
    }
}

#[test]
fn a_policy_is_told_of_modules_only_once_they_are_complete() {
    let (sender, told) = std::sync::mpsc::channel();
    let mut cache = Cache::new(Disk::allocate(900), 900, 16, |_| Box::new(Witness(sender)));
    call(&mut cache, 1, 300, at(1));
    call(&mut cache, 1, 300, at(2));
    call(&mut cache, 2, 300, at(3));
    let object = cache.begin_object(300, at(4)).unwrap();
    cache.remove(object);
    let arriving = cache.begin(tasklet(3), 300, at(5)).unwrap();
    cache.remove(arriving);
    let damaged = cache.begin(tasklet(4), 300, at(6)).unwrap();
    assert!(!cache.finish(damaged, &Digest([1; 32])));
    call(&mut cache, 5, 600, at(7));
    let gone = cache.find(tasklet(5)).unwrap();
    cache.remove(gone);
    let expected = [
        ("insert", 1, 0),
        ("hit", 1, 2),
        ("insert", 2, 0),
        ("evicted", 1, 2),
        ("insert", 5, 0),
        ("removed", 5, 1),
    ];
    assert!(told.try_iter().eq(expected));
}

#[test]
fn lfu_gives_up_the_least_used_and_among_equals_the_oldest() {
    let mut cache = cache(Eviction::LFU, 900, 16);
    for number in 1..4 {
        put(&mut cache, number, 300, at(number.into())).unwrap();
    }
    let used = cache.find(tasklet(1)).unwrap();
    cache.touch(used, at(9));
    put(&mut cache, 4, 300, at(10)).unwrap();
    assert!(!holds(&cache, 2));
    assert!(holds(&cache, 1) && holds(&cache, 3));
}

#[test]
fn lru_gives_up_the_least_recently_used_however_often_it_was_used() {
    let mut cache = cache(Eviction::LRU, 900, 16);
    for now in 1..9 {
        call(&mut cache, 1, 300, at(now));
    }
    call(&mut cache, 2, 300, at(10));
    call(&mut cache, 3, 300, at(11));
    call(&mut cache, 4, 300, at(12));
    assert!(!holds(&cache, 1) && holds(&cache, 2));
}

#[test]
fn arc_lets_a_scan_pass_by_what_is_used_again() {
    for (policy, stays) in [(Eviction::ARC, true), (Eviction::LRU, false)] {
        let mut cache = cache(policy, 1000, 16);
        for now in 0..10 {
            call(&mut cache, now as u16 % 5, 100, at(now));
        }
        for now in 10..60 {
            call(&mut cache, 100 + now as u16, 100, at(now));
        }
        let here = (0..5).filter(|number| holds(&cache, *number)).count();
        assert_eq!(here, if stays { 5 } else { 0 }, "{policy:?}");
    }
}

#[test]
fn arc_gives_the_first_list_more_room_when_its_ghosts_come_back_and_less_when_others_do() {
    let mut arc = arc::Arc::new(Size {
        entries: 8,
        bytes: 800,
    });
    let clients = Clients::new(0);
    let facts = |number| Facts {
        demand: Demand {
            clients: &clients,
            users: 0,
            now: at(0),
        },
        tasklet: tasklet(number),
        uses: 1,
        last_used: at(0),
        bytes: 100,
        nearby: Nearby::default(),
    };
    let id = SlotId;
    for number in 1..=4 {
        arc.on_insert(id(number), &facts(number));
    }
    arc.on_hit(id(1), &facts(1));
    assert_eq!(arc.target(), 0);
    arc.on_evict(id(2), &facts(2), Exit::Evicted);
    arc.on_evict(id(3), &facts(3), Exit::Removed);
    arc.on_insert(id(5), &facts(2));
    assert_eq!(arc.target(), 100, "a ghost of the first list came back");
    arc.on_insert(id(6), &facts(3));
    assert_eq!(arc.target(), 100, "what was removed leaves no ghost");
    // Used once: 4 and 3. Used again: 1 and 2. The first list is above its target of 100.
    assert!(arc.worth(id(4), &facts(4)) < arc.worth(id(1), &facts(1)));
    arc.on_evict(id(4), &facts(4), Exit::Evicted);
    assert!(arc.worth(id(6), &facts(3)) > arc.worth(id(1), &facts(1)));
    arc.on_evict(id(1), &facts(1), Exit::Evicted);
    arc.on_insert(id(7), &facts(1));
    assert_eq!(arc.target(), 0, "a ghost of the second list came back");
}

#[test]
fn gdsf_keeps_what_is_small_or_far_and_forgets_what_was_used_long_ago() {
    let far = Nearby {
        copies: Some(1),
        hops: Some(9),
    };
    let mut cache = cache(Eviction::GDSF, 1000, 16);
    put_from(&mut cache, 1, 400, at(1), far).unwrap();
    put(&mut cache, 2, 400, at(2)).unwrap();
    put(&mut cache, 3, 100, at(0)).unwrap();
    put(&mut cache, 4, 200, at(4)).unwrap();
    assert!(!holds(&cache, 2), "large and near");
    assert!(holds(&cache, 1) && holds(&cache, 3));
    for number in 10..100 {
        call(&mut cache, number, 200, at(number.into()));
    }
    assert!(
        !holds(&cache, 1) && !holds(&cache, 3),
        "overtaken by the age"
    );
}

/// A module of a trace: its number and length.
type Use = (u16, usize);

/// Uses of 200 modules of 100 to 2000 bytes, the first ones most often (as 1 / rank).
fn popular(random: &mut Random) -> Use {
    let total: u64 = (1..=200).map(|rank| 1_000_000 / rank).sum();
    let mut left = random.below(total);
    let mut rank = 1;
    while let Some(rest) = left.checked_sub(1_000_000 / rank) {
        left = rest;
        rank += 1;
    }
    let number = rank as u16;
    (number, 100 + usize::from(number.wrapping_mul(7919) % 1900))
}

fn hits(policy: &Eviction, trace: &[Use]) -> usize {
    let mut cache = cache(policy, 20_000, 64);
    let uses = trace.iter().enumerate();
    uses.filter(|(now, (number, len))| call(&mut cache, *number, *len, at(*now as u64)))
        .count()
}

/// The parts in a thousand of a trace's uses that each policy finds in the cache.
fn ratios(what: &str, trace: &[Use]) -> [usize; 4] {
    let policies = [Eviction::LFU, Eviction::LRU, Eviction::ARC, Eviction::GDSF];
    let ratios = policies.map(|policy| hits(policy, trace) * 1000 / trace.len());
    std::println!("{what}: lfu, lru, arc, gdsf {ratios:?}");
    ratios
}

#[test]
fn the_policies_differ_where_their_papers_say_so() {
    let mut random = Random::new(1);
    let steady: Vec<Use> = (0..20_000).map(|_| popular(&mut random)).collect();
    let [lfu, lru, arc, gdsf] = ratios("steady", &steady);
    assert!(lfu > lru && arc > lru && gdsf > arc);

    // Every fourth use is of a module that nobody uses again.
    let mut scan = 1000;
    let scanned = steady.iter().enumerate().map(|(at, it)| {
        scan += u16::from(at % 4 == 0);
        if at % 4 == 0 { (scan, 600) } else { *it }
    });
    let scanned: Vec<Use> = scanned.collect();
    let [_, lru, arc, gdsf] = ratios("scanned", &scanned);
    assert!(arc > lru && gdsf > lru);

    // What is popular changes from time to time.
    let shifting = steady.iter().enumerate().map(|(at, (number, len))| {
        let epoch = (at / 2_000) as u16;
        (number + 200 * epoch, *len)
    });
    let shifting: Vec<Use> = shifting.collect();
    let [lfu, lru, arc, gdsf] = ratios("shifting", &shifting);
    assert!(lru > lfu && arc > lru && gdsf > lru);
}
