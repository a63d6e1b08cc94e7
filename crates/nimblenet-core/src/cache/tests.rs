use super::*;
use nimblenet_tasklet::NamespaceId;

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

#[test]
fn att_36_a_module_with_another_digest_is_dropped_and_its_space_is_free() {
    let mut cache = Cache::new(Disk::allocate(100), 100, 4, Eviction::LFU.make);
    let id = cache.begin(tasklet(1), 5, at(0)).unwrap();
    cache.write(id, 0, b"wrong");
    cache.write(id, 3, b"beyond the end");
    assert!(!cache.finish(id, &Digest::of(b"right")));
    assert_eq!((cache.used(), cache.find(tasklet(1))), (0, None));
}

#[test]
fn an_object_takes_what_the_disk_has_beyond_modules_and_then_their_place() {
    let mut cache = Cache::new(Disk::allocate(1000), 800, 8, Eviction::LRU.make);
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
