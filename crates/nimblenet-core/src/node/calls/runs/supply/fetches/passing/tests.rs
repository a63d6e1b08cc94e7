use alloc::vec::Vec;

use super::*;
use crate::node::stage::{OTHER, PART, STRANGER, Stage, module, tasklet};

/// Two parts, of which the second is shorter.
const LEN: usize = PART as usize + 100;

fn fetch(number: u16, request: u16) -> Fetch {
    Fetch {
        object: Object::Module(tasklet(number, 1)),
        request,
        offset: 0,
        part: PART,
        wanted: 3,
        direct: false,
    }
}

/// The parts of a module, in order.
fn parts(module: &[u8], request: u16) -> Vec<Data<'_>> {
    let parts = module.chunks(PART.into()).enumerate();
    let parts = parts.map(|(at, bytes)| Data {
        request,
        version: 1,
        total: module.len() as u32,
        offset: at as u32 * u32::from(PART),
        bytes,
    });
    parts.collect()
}

fn described(module: &[u8]) -> Option<(Digest, u32)> {
    Some((Digest::of(module), module.len() as u32))
}

fn keeps(stage: &Stage, number: u16) -> bool {
    stage.ground.cache.find(tasklet(number, 1)).is_some()
}

#[test]
fn a_module_that_passes_is_kept_once_all_of_it_has_passed() {
    let (mut stage, mut passing) = (Stage::new(), Passing::new(4));
    let module = module(LEN);
    let parts = parts(&module, 7);
    for (to, expected) in [(STRANGER, false), (OTHER, true)] {
        passing.note(OTHER, &fetch(1, 7));
        for part in &parts {
            passing.take(&mut stage.post(), to, part, |_| described(&module));
        }
        assert_eq!(keeps(&stage, 1), expected, "it was for {to:?}");
    }
    let slot = stage.ground.cache.find(tasklet(1, 1)).unwrap();
    assert_eq!(stage.ground.cache.code(slot), module);
    assert!(passing.copy.is_none());
}

#[test]
fn a_part_that_was_lost_is_taken_when_it_is_sent_again() {
    let (mut stage, mut passing) = (Stage::new(), Passing::new(4));
    let module = module(LEN);
    passing.note(OTHER, &fetch(1, 7));
    let (first, again) = (parts(&module, 7), parts(&module, 8));
    passing.take(&mut stage.post(), OTHER, &first[1], |_| described(&module));
    assert!(!keeps(&stage, 1));
    passing.note(OTHER, &fetch(1, 8));
    passing.take(&mut stage.post(), OTHER, &again[0], |_| described(&module));
    assert!(keeps(&stage, 1));
}

#[test]
fn nothing_leaves_for_a_module_that_passes_and_it_leaves_for_any_other() {
    let (mut stage, mut passing) = (Stage::new(), Passing::new(4));
    let module = module(LEN);
    let parts = parts(&module, 7);
    let room = stage.ground.cache.capacity();
    stage.keep(tasklet(2, 1), &crate::node::stage::module(room - LEN + 1));
    passing.note(OTHER, &fetch(1, 7));
    let mut pass = |stage: &mut Stage, part: usize| {
        passing.take(&mut stage.post(), OTHER, &parts[part], |_| {
            described(&module)
        });
    };
    pass(&mut stage, 0);
    assert!(keeps(&stage, 2) && stage.ground.cache.used() < room);
    let held = stage.ground.cache.find(tasklet(2, 1)).unwrap();
    stage.ground.cache.remove(held);
    pass(&mut stage, 0);
    assert_eq!(stage.ground.cache.used(), LEN);
    assert!(stage.ground.cache.make_room(room).is_ok());
    assert_eq!(stage.ground.cache.used(), 0, "it has given way");
    stage.fill();
    pass(&mut stage, 1);
    assert!(!keeps(&stage, 1), "there is no room now");
}

#[test]
fn one_module_is_copied_at_a_time() {
    let (mut stage, mut passing) = (Stage::new(), Passing::new(4));
    let (one, two) = (module(LEN), module(LEN + 1));
    passing.note(OTHER, &fetch(1, 7));
    passing.note(OTHER, &fetch(2, 8));
    let (first, second) = (parts(&one, 7), parts(&two, 8));
    passing.take(&mut stage.post(), OTHER, &first[0], |_| described(&one));
    passing.take(&mut stage.post(), OTHER, &second[0], |_| described(&two));
    assert_eq!(stage.ground.cache.used(), LEN + 1);
    passing.take(&mut stage.post(), OTHER, &second[1], |_| described(&two));
    assert_eq!((keeps(&stage, 1), keeps(&stage, 2)), (false, true));
}

#[test]
fn bytes_that_the_catalogue_does_not_name_are_not_kept() {
    let (mut stage, mut passing) = (Stage::new(), Passing::new(2));
    let (good, mut bad) = (module(100), module(100));
    bad[50] ^= 1;
    let mut pass = |request: u16, bytes: &[u8], known: Option<(Digest, u32)>| {
        passing.note(OTHER, &fetch(1, request));
        let data = parts(bytes, request)[0];
        passing.take(&mut stage.post(), OTHER, &data, |_| known);
        (keeps(&stage, 1), stage.ground.cache.used())
    };
    assert_eq!(pass(1, &good, None), (false, 0), "it is in no catalogue");
    assert_eq!(pass(2, &bad, described(&good)), (false, 0));
    assert!(!pass(3, &good[..99], described(&good)).0, "it is too short");
    assert_eq!(pass(4, &good, described(&good)), (true, 100));
}

#[test]
fn old_requests_are_forgotten_and_a_node_without_places_keeps_nothing() {
    let module = module(100);
    for (places, kept) in [(2, false), (3, true), (0, false)] {
        let (mut stage, mut passing) = (Stage::new(), Passing::new(places));
        for request in 1..=3 {
            passing.note(OTHER, &fetch(request, request));
        }
        let data = parts(&module, 1)[0];
        passing.take(&mut stage.post(), OTHER, &data, |_| described(&module));
        assert_eq!(keeps(&stage, 1), kept, "{places} places");
    }
}
