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

/// A cache of 40 bytes with the modules 1 to 4, each used by one of the clients 1 and 2, in turn.
fn visited(clients: usize) -> Cache {
    let cache = Cache::new(Disk::allocate(40), 40, 8, Eviction::NEARBY.make);
    let mut cache = cache.with_clients(clients);
    for number in 1..=4 {
        let client = ClientId(u32::from(number) % 2);
        cache.meet(at(number.into()), client);
        let id = put(&mut cache, number, 10, at(number.into())).unwrap();
        cache.touch(id, at(number.into()));
        cache.note_user(id, Some(client));
    }
    cache
}

fn held(cache: &Cache) -> Vec<u16> {
    let mut held: Vec<u16> = cache.tasklets().map(|tasklet| tasklet.number).collect();
    held.sort_unstable();
    held
}

#[test]
fn what_a_client_in_contact_has_called_stays_and_that_of_one_that_has_gone_leaves() {
    let mut cache = visited(2);
    // Client 1 goes on calling what is not here, client 0 has gone.
    cache.meet(at(300), ClientId(1));
    cache.make_room(20).unwrap();
    assert_eq!(held(&cache), [1, 3]);
    // A module that nobody here has asked for leaves first.
    let spare = cache.begin_spare(tasklet(5), 10).unwrap();
    cache.write(spare, 0, &module(5, 10));
    assert!(cache.finish(spare, &Digest::of(&module(5, 10))));
    cache.make_room(20).unwrap();
    assert_eq!(held(&cache), [1, 3]);
}

#[test]
fn without_clients_the_longest_unused_leaves_and_near_copies_make_it_leave_sooner() {
    let mut cache = visited(0);
    let id = cache.find(tasklet(1)).unwrap();
    let (copies, hops) = (Some(0), Some(4));
    cache.set_nearby(id, Nearby { copies, hops });
    cache.make_room(20).unwrap();
    assert_eq!(held(&cache), [1, 4]);
}

#[test]
fn a_client_that_is_forgotten_takes_nothing_of_another_with_it() {
    let mut cache = visited(2);
    // Client 7 takes the place of client 1, and has called nothing.
    cache.meet(at(5), ClientId(7));
    cache.meet(at(600), ClientId(7));
    assert_eq!(cache.slot(cache.find(tasklet(1)).unwrap()).users, 0);
    assert_ne!(cache.slot(cache.find(tasklet(2)).unwrap()).users, 0);
    // Any number of clients costs nothing but what they have called.
    for id in 100..200 {
        cache.meet(at(601), ClientId(id));
    }
    assert!(cache.held().all(|slot| slot.users == 0));
    cache.make_room(30).unwrap();
    assert_eq!(held(&cache), [4]);
}

const DICTIONARY: &[u8] = b"what modules have in common";

/// A cache with a dictionary and a module that was compressed with it from 54 bytes, and its slots.
fn compressed(capacity: usize) -> (Cache, SlotId, SlotId) {
    let plain = [DICTIONARY, DICTIONARY].concat();
    let compressed = crate::compression::compress(&plain, DICTIONARY).unwrap();
    assert!(compressed.len() < 8);
    let mut cache = Cache::new(Disk::allocate(capacity), capacity, 8, Eviction::LRU.make);
    let mut put = |number, bytes: &[u8]| {
        let id = cache
            .begin(tasklet(number), bytes.len(), at(number.into()))
            .unwrap();
        cache.write(id, 0, bytes);
        assert!(cache.finish(id, &Digest::of(bytes)));
        id
    };
    let (dictionary, module) = (put(1, DICTIONARY), put(2, &compressed));
    (cache, dictionary, module)
}

#[test]
fn jobs_share_the_expanded_copy_of_a_module_and_it_leaves_with_the_last_of_them() {
    let (mut cache, dictionary, module) = compressed(200);
    let (used, changes) = (cache.used(), cache.changes());
    let copies = [0; 2].map(|_| cache.expand(module, dictionary, 54, at(9)).unwrap());
    assert_eq!(copies[0], copies[1]);
    assert_eq!(cache.code(copies[0]), [DICTIONARY, DICTIONARY].concat());
    assert_eq!((cache.used(), cache.reservations()), (used + 54, 2));
    // Others see the module as it travels, and nothing else.
    assert_eq!(cache.find(tasklet(2)), Some(module));
    assert_eq!(cache.modules().count(), 2);
    cache.release(copies[0]);
    assert_eq!(cache.used(), used + 54);
    cache.release(copies[1]);
    assert_eq!((cache.used(), cache.changes()), (used, changes));
}

#[test]
fn a_module_and_its_dictionary_may_leave_while_its_copy_is_in_use_but_not_for_the_copy() {
    let (mut cache, dictionary, module) = compressed(100);
    put(&mut cache, 3, 30, at(5)).unwrap();
    let copy = cache.expand(module, dictionary, 54, at(9)).unwrap();
    assert!(
        cache.find(tasklet(3)).is_none(),
        "what is not needed gives way"
    );
    assert!(cache.find(tasklet(1)).is_some() && cache.find(tasklet(2)).is_some());
    put(&mut cache, 4, 30, at(10)).unwrap();
    assert!(cache.find(tasklet(1)).is_none() && cache.find(tasklet(2)).is_none());
    assert_eq!(cache.code(copy), [DICTIONARY, DICTIONARY].concat());
    cache.release(copy);
    assert_eq!(cache.used(), 30);
}

#[test]
fn what_cannot_be_expanded_or_has_no_room_takes_nothing() {
    let (mut cache, dictionary, module) = compressed(100);
    let used = cache.used();
    let mut expand = |id, len| cache.expand(id, dictionary, len, at(9));
    assert_eq!(expand(module, 53), Err(NotExpanded::Bad));
    assert_eq!(expand(module, 55), Err(NotExpanded::Bad));
    assert_eq!(expand(dictionary, 50), Err(NotExpanded::Bad));
    assert_eq!(expand(module, 90), Err(NotExpanded::NoRoom));
    assert_eq!(expand(module, usize::MAX / 4), Err(NotExpanded::NoRoom));
    assert_eq!((cache.used(), cache.reservations()), (used, 0));
}

fn put_of(cache: &mut Cache, namespace: u32, number: u16, now: Instant) -> SlotId {
    let tasklet = TaskletRef {
        namespace: NamespaceId(namespace),
        ..tasklet(number)
    };
    let bytes = module(number, 100);
    let id = cache.begin(tasklet, 100, now).unwrap();
    cache.write(id, 0, &bytes);
    assert!(cache.finish(id, &Digest::of(&bytes)));
    id
}

fn held_of(cache: &Cache, namespace: u32) -> usize {
    let modules = cache.modules();
    modules
        .filter(|held| held.tasklet.namespace == NamespaceId(namespace))
        .count()
}

#[test]
fn a_namespace_alone_has_the_whole_cache_and_while_another_is_in_use_half_of_it() {
    let mut cache = Cache::new(Disk::allocate(1000), 1000, 16, Eviction::LRU.make);
    for number in 0..12 {
        put_of(&mut cache, 1, number, at(number.into()));
    }
    assert_eq!((held_of(&cache, 1), cache.used()), (10, 1000));
    // Another is called now: it takes what it needs, up to half.
    for number in 0..8 {
        let id = put_of(&mut cache, 2, number, at(20));
        cache.touch(id, at(20));
    }
    assert_eq!(
        (held_of(&cache, 1), held_of(&cache, 2)),
        (2, 8),
        "the first is not in use"
    );
    for number in 20..60 {
        let id = put_of(&mut cache, 1, number, at(30));
        cache.touch(id, at(30));
    }
    assert_eq!((held_of(&cache, 1), held_of(&cache, 2)), (5, 5));
    // When nobody has called the other for a while, its modules give way.
    for number in 60..64 {
        put_of(&mut cache, 1, number, at(81));
    }
    assert_eq!((held_of(&cache, 1), held_of(&cache, 2)), (9, 1));
}
