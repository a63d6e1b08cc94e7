use super::*;
use alloc::boxed::Box;
use nimblenet_tasklet::NamespaceId;
use proptest::prelude::*;

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

fn put(cache: &mut Cache, number: u16, len: usize, now: Instant) -> Result<SlotId, NoRoom> {
    let bytes = module(number, len);
    let id = cache.begin(tasklet(number), len, now)?;
    cache.write(id, 0, &bytes);
    assert!(cache.finish(id, &Digest::of(&bytes)));
    Ok(id)
}

/// The one suite that every policy must pass.
macro_rules! policy_suite {
    ($name:ident, $policy:expr) => {
        mod $name {
            use super::*;

            #[test]
            fn a_reserved_module_never_leaves_and_never_moves() {
                let mut cache = Cache::new(Disk::allocate(1000), 1000, 16, Box::new($policy));
                put(&mut cache, 1, 300, at(1)).unwrap();
                let held = put(&mut cache, 2, 300, at(2)).unwrap();
                put(&mut cache, 3, 300, at(3)).unwrap();
                cache.reserve(held);
                let before = cache.code(held).as_ptr();
                for number in 10..50 {
                    put(&mut cache, number, 350, at(number.into())).unwrap();
                    assert_eq!(cache.code(held).as_ptr(), before);
                    assert_eq!(cache.code(held), module(2, 300));
                }
                cache.release(held);
                assert_eq!(cache.reservations(), 0);
            }

            #[test]
            fn what_can_never_fit_evicts_nothing() {
                let mut cache = Cache::new(Disk::allocate(1000), 1000, 16, Box::new($policy));
                put(&mut cache, 1, 500, at(1)).unwrap();
                assert_eq!(put(&mut cache, 2, 1001, at(2)), Err(NoRoom));
                assert!(cache.find(tasklet(1)).is_some());
                put(&mut cache, 3, 1000, at(3)).unwrap();
                assert!(cache.find(tasklet(1)).is_none());
            }

            proptest! {
                #[test]
                fn the_budget_holds_and_bytes_survive_whatever_happens(
                    steps in proptest::collection::vec((0u16..40, 0usize..400, 0u8..4), 1..200),
                ) {
                    let mut cache = Cache::new(Disk::allocate(1000), 1000, 8, Box::new($policy));
                    let mut reserved: Vec<SlotId> = Vec::new();
                    for (now, (number, len, what)) in steps.into_iter().enumerate() {
                        match what {
                            0 | 1 if cache.find(tasklet(number)).is_none() => {
                                let _ = put(&mut cache, number, len, at(now as u64));
                            }
                            2 => if let Some(id) = cache.find(tasklet(number)) {
                                cache.reserve(id);
                                cache.touch(id, at(now as u64));
                                reserved.push(id);
                            },
                            _ => if let Some(id) = reserved.pop() {
                                cache.release(id);
                            },
                        }
                        prop_assert!(cache.used() <= cache.capacity());
                        prop_assert_eq!(cache.used(), cache.held().map(|s| s.len).sum::<usize>());
                        prop_assert_eq!(cache.reservations(), reserved.len());
                        for slot in cache.held() {
                            let bytes = &cache.bytes[slot.offset..slot.end()];
                            let number = slot.tasklet.unwrap().number;
                            prop_assert_eq!(bytes, module(number, slot.len));
                        }
                    }
                }
            }
        }
    };
}

policy_suite!(lfu, Lfu);
policy_suite!(lru, Lru);

#[test]
fn lfu_gives_up_the_least_used_and_among_equals_the_oldest() {
    let mut cache = Cache::new(Disk::allocate(900), 900, 16, Box::new(Lfu));
    for number in 1..4 {
        put(&mut cache, number, 300, at(number.into())).unwrap();
    }
    let used = cache.find(tasklet(1)).unwrap();
    cache.touch(used, at(9));
    put(&mut cache, 4, 300, at(10)).unwrap();
    assert!(cache.find(tasklet(2)).is_none());
    assert!(cache.find(tasklet(1)).is_some() && cache.find(tasklet(3)).is_some());
}

#[test]
fn att_36_a_module_with_another_digest_is_dropped_and_its_space_is_free() {
    let mut cache = Cache::new(Disk::allocate(100), 100, 4, Box::new(Lfu));
    let id = cache.begin(tasklet(1), 5, at(0)).unwrap();
    cache.write(id, 0, b"wrong");
    cache.write(id, 3, b"beyond the end");
    assert!(!cache.finish(id, &Digest::of(b"right")));
    assert_eq!((cache.used(), cache.find(tasklet(1))), (0, None));
}

#[test]
fn an_object_takes_what_the_disk_has_beyond_modules_and_then_their_place() {
    let mut cache = Cache::new(Disk::allocate(1000), 800, 8, Box::new(Lru));
    put(&mut cache, 1, 400, at(1)).unwrap();
    put(&mut cache, 2, 400, at(2)).unwrap();
    let small = cache.begin_object(200, at(3)).unwrap();
    assert_eq!((cache.used(), cache.evicted()), (800, 0));
    let large = cache.begin_object(300, at(4)).unwrap();
    assert!(
        cache.find(tasklet(1)).is_none(),
        "the oldest module gave way"
    );
    cache.write(large, 298, b"ab");
    cache.object_mut(large)[0] = 7;
    put(&mut cache, 3, 100, at(5)).unwrap();
    assert_eq!(
        (cache.code(large)[0], &cache.code(large)[298..]),
        (7, &b"ab"[..])
    );
    assert_eq!(cache.begin_object(600, at(6)), Err(NoRoom));
    cache.remove(small);
    cache.remove(large);
    assert_eq!(cache.used(), 500);
    put(&mut cache, 4, 800, at(7)).unwrap();
    assert_eq!(cache.used(), 800);
}
