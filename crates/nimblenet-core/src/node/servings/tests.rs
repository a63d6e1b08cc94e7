use alloc::vec::Vec;

use nimblenet_tasklet::{Delta, Name, TaskletRef};

use super::*;
use crate::catalogue::CatalogueLimits;
use crate::config::{LinkAddress, LinkConfig, StaticNeighbour};
use crate::node::stage::{MTU, NEAR, OTHER, STRANGER, Stage, delta, entry, module, shop, tasklet};

const LINK: LinkId = LinkId(0);
const PART: usize = 100;
const LIMIT: usize = 2;
const NOTHING: Holding<'_> = Holding {
    catalogue: None,
    offered: false,
};

fn fetch(object: Object, wanted: u32) -> Fetch {
    Fetch {
        direct: false,
        object,
        request: 3,
        offset: 0,
        part: PART as u16,
        wanted,
    }
}

fn of_module(number: u16) -> Object {
    Object::Module(tasklet(number, 1))
}

fn of_catalogue(since: u32) -> Object {
    let namespace = shop();
    Object::Catalogue { namespace, since }
}

/// A stage with a module in the cache.
fn begun(len: usize) -> (Stage, Servings) {
    let mut stage = Stage::new();
    stage.keep(tasklet(0, 1), &module(len));
    (stage, Servings::new(None, LIMIT))
}

/// A registry of `shop` whose only tasklet has this module.
fn archive(module: &[u8]) -> Archive {
    let mut archive = Archive::new();
    let delta = delta("shop", (0, 1), 1, &[entry(0, "rms", 1, module, &[])]);
    archive.publish(&Delta::decode(&delta).unwrap()).unwrap();
    archive.insert_module(module);
    archive
}

/// `shop` at this epoch.
fn catalogue(epoch: u32) -> Catalogue {
    let mut catalogue = Catalogue::new(Name::new("shop").unwrap(), CatalogueLimits::SMALL);
    for epoch in 1..=epoch {
        let rms = entry(0, "rms", epoch as u16, &module(9), &[]);
        let delta = delta("shop", (epoch - 1, epoch), 1, &[rms]);
        let delta = Delta::decode(&delta).unwrap();
        let root = catalogue.root_after(&delta).unwrap();
        catalogue.apply(&delta, &root, false).unwrap();
    }
    catalogue
}

/// Serves the part whose turn it is; returns its receiver, its offset and its bytes.
fn part(
    stage: &mut Stage,
    servings: &mut Servings,
    holding: Holding<'_>,
) -> Option<(NodeId, u32, Vec<u8>)> {
    let turn = servings.poll_turn(&stage.post(), LINK)?;
    servings.serve(&mut stage.post(), turn, holding);
    servings.assert_invariants();
    let (to, message) = stage.message()?;
    let Message::Data(data) = message else {
        panic!("{message:?} is no part");
    };
    assert_eq!(data.request, turn.fetch.request);
    Some((to, data.offset, data.bytes.into()))
}

fn search(tasklet: TaskletRef) -> Search {
    Search {
        tasklet,
        request: 8,
        mtu: 160,
    }
}

#[test]
fn a_search_for_what_is_here_is_answered_with_its_size_and_the_narrowest_link() {
    let (mut stage, mut servings) = begun(250);
    let found = Found {
        request: 8,
        mtu: 160,
        size: 250,
    };
    for flooded in [true, false] {
        servings.handle_search(&mut stage.post(), NEAR, flooded, search(tasklet(0, 1)));
        assert_eq!(stage.message(), Some((NEAR, Message::Found(found))));
    }
}

#[test]
fn a_search_for_what_is_not_here_is_refused_if_it_was_meant_for_this_node() {
    let (mut stage, mut servings) = begun(250);
    servings.handle_search(&mut stage.post(), NEAR, true, search(tasklet(0, 2)));
    assert!(stage.is_quiet());
    servings.handle_search(&mut stage.post(), NEAR, false, search(tasklet(0, 2)));
    assert_eq!(stage.refusal(), (NEAR, 8, Refusal::Gone));
}

#[test]
fn a_registry_keeps_out_of_floods_and_answers_those_who_ask_it() {
    let mut stage = Stage::new();
    let mut servings = Servings::new(Some(archive(&module(250))), LIMIT);
    servings.handle_search(&mut stage.post(), NEAR, true, search(tasklet(0, 1)));
    assert!(stage.is_quiet());
    servings.handle_search(&mut stage.post(), NEAR, false, search(tasklet(0, 1)));
    let (to, message) = stage.message().unwrap();
    assert!(matches!(
        (to, message),
        (NEAR, Message::Found(Found { size: 250, .. }))
    ));
}

#[test]
fn metadata_are_those_of_the_module_that_is_here() {
    let (mut stage, mut servings) = begun(250);
    let ask = |tasklet| MetadataRequest {
        tasklet,
        request: 6,
    };
    servings.handle_metadata_request(&mut stage.post(), NEAR, ask(tasklet(0, 1)), None);
    let digest = Digest::of(&module(250));
    let metadata = Metadata {
        request: 6,
        size: 250,
        digest: &digest.0,
    };
    assert_eq!(stage.message(), Some((NEAR, Message::Metadata(metadata))));
    servings.handle_metadata_request(&mut stage.post(), NEAR, ask(tasklet(1, 1)), None);
    assert_eq!(stage.refusal(), (NEAR, 6, Refusal::Gone));
}

#[test]
fn two_who_fetch_take_turns_part_by_part() {
    let (mut stage, mut servings) = begun(250);
    for (node, wanted) in [(NEAR, 0b111), (OTHER, 0b101)] {
        let fetch = fetch(of_module(0), wanted);
        servings.handle_fetch(&mut stage.post(), node, fetch, NOTHING);
    }
    assert!(stage.is_quiet(), "parts are made when the link is idle");
    let served = core::iter::from_fn(|| part(&mut stage, &mut servings, NOTHING));
    let served: Vec<_> = served.collect();
    let turns: Vec<(NodeId, u32)> = served.iter().map(|(to, at, _)| (*to, *at)).collect();
    let expected = [
        (NEAR, 0),
        (OTHER, 0),
        (NEAR, 100),
        (OTHER, 200),
        (NEAR, 200),
    ];
    assert_eq!(turns, expected);
    for (_, offset, bytes) in served {
        let offset = offset as usize;
        assert_eq!(bytes, module(250)[offset..250.min(offset + PART)]);
    }
}

#[test]
fn a_repeated_fetch_takes_the_place_of_the_one_before() {
    let (mut stage, mut servings) = begun(250);
    for wanted in [0b111, 0b110] {
        let fetch = fetch(of_module(0), wanted);
        servings.handle_fetch(&mut stage.post(), NEAR, fetch, NOTHING);
    }
    let mut offsets = Vec::new();
    while let Some((_, offset, _)) = part(&mut stage, &mut servings, NOTHING) {
        offsets.push(offset);
    }
    assert_eq!(offsets, [100, 200]);
}

#[test]
fn what_is_not_here_reaches_too_far_or_is_one_too_many_is_refused() {
    let (mut stage, mut servings) = begun(250);
    let refused = |stage: &mut Stage, servings: &mut Servings, from, fetch| {
        servings.handle_fetch(&mut stage.post(), from, fetch, NOTHING);
        stage.refusal()
    };
    let gone = fetch(of_module(1), 1);
    let refusal = refused(&mut stage, &mut servings, NEAR, gone);
    assert_eq!(refusal, (NEAR, 3, Refusal::Gone));
    let far = Fetch {
        offset: 250,
        ..fetch(of_module(0), 1)
    };
    let refusal = refused(&mut stage, &mut servings, NEAR, far);
    assert_eq!(refusal, (NEAR, 3, Refusal::BadRange));
    let capacity = servings.queue.capacity();
    for node in [NEAR, OTHER] {
        let fetch = fetch(of_module(0), 1);
        servings.handle_fetch(&mut stage.post(), node, fetch, NOTHING);
    }
    let third = fetch(of_module(0), 1);
    let refusal = refused(&mut stage, &mut servings, STRANGER, third);
    assert_eq!(refusal, (STRANGER, 3, Refusal::Busy));
    assert_eq!(servings.queue.capacity(), capacity);
}

#[test]
fn a_module_that_leaves_the_cache_in_between_is_gone() {
    let (mut stage, mut servings) = begun(250);
    servings.handle_fetch(&mut stage.post(), NEAR, fetch(of_module(0), 0b11), NOTHING);
    part(&mut stage, &mut servings, NOTHING).unwrap();
    stage.fill_anew();
    let turn = servings.poll_turn(&stage.post(), LINK).unwrap();
    servings.serve(&mut stage.post(), turn, NOTHING);
    assert_eq!(stage.refusal(), (NEAR, 3, Refusal::Gone));
    assert!(servings.poll_turn(&stage.post(), LINK).is_none());
}

#[test]
fn a_delta_is_kept_while_it_is_served_and_given_back_after_its_last_part() {
    let mut stage = Stage::new();
    let mut servings = Servings::new(None, LIMIT);
    let held = catalogue(2);
    let holding = Holding {
        catalogue: Some(&held),
        ..NOTHING
    };
    for node in [NEAR, OTHER] {
        let fetch = fetch(of_catalogue(1), 0b11);
        servings.handle_fetch(&mut stage.post(), node, fetch, holding);
    }
    assert!(!stage.disk_is_free());
    let mut whole = Vec::new();
    while let Some((to, _, bytes)) = part(&mut stage, &mut servings, holding) {
        if to == NEAR {
            whole.extend(bytes);
        }
    }
    let delta = Delta::decode(&whole).unwrap();
    assert_eq!((delta.from, delta.to, delta.count), (1, 2, 1));
    assert!(stage.disk_is_free());
    servings.assert_invariants();
}

#[test]
fn a_delta_is_made_anew_when_the_catalogue_has_moved_on() {
    let mut stage = Stage::new();
    let mut servings = Servings::new(None, LIMIT);
    let (second, third) = (catalogue(2), catalogue(3));
    let holding = |catalogue| Holding {
        catalogue: Some(catalogue),
        ..NOTHING
    };
    let fetch = fetch(of_catalogue(1), 0b11);
    servings.handle_fetch(&mut stage.post(), NEAR, fetch, holding(&second));
    for (held, epoch) in [(&second, 2), (&third, 3)] {
        let turn = servings.poll_turn(&stage.post(), LINK).unwrap();
        servings.serve(&mut stage.post(), turn, holding(held));
        let Some((_, Message::Data(data))) = stage.message() else {
            panic!("a part is served");
        };
        assert_eq!(data.version, epoch, "parts say what they belong to");
    }
    assert!(stage.disk_is_free());
}

#[test]
fn nothing_newer_is_gone_and_takes_no_room() {
    let mut stage = Stage::new();
    let mut servings = Servings::new(None, LIMIT);
    let held = catalogue(2);
    let holding = Holding {
        catalogue: Some(&held),
        ..NOTHING
    };
    for (since, holding) in [(2, holding), (9, holding), (0, NOTHING)] {
        let fetch = fetch(of_catalogue(since), 1);
        servings.handle_fetch(&mut stage.post(), NEAR, fetch, holding);
        assert_eq!(stage.refusal(), (NEAR, 3, Refusal::Gone));
        assert!(stage.disk_is_free());
        servings.assert_invariants();
    }
}

#[test]
fn a_delta_that_is_asked_for_beyond_its_end_is_not_kept() {
    let mut stage = Stage::new();
    let mut servings = Servings::new(None, LIMIT);
    let held = catalogue(1);
    let holding = Holding {
        catalogue: Some(&held),
        ..NOTHING
    };
    let beyond = Fetch {
        offset: 1 << 20,
        ..fetch(of_catalogue(0), 1)
    };
    servings.handle_fetch(&mut stage.post(), NEAR, beyond, holding);
    servings.assert_invariants();
    assert_eq!(stage.refusal(), (NEAR, 3, Refusal::BadRange));
    assert!(stage.disk_is_free());
}

#[test]
fn a_registry_serves_its_own_catalogue_rather_than_one_that_it_subscribes_to() {
    let mut stage = Stage::new();
    let mut servings = Servings::new(Some(archive(&module(9))), LIMIT);
    let held = catalogue(3);
    let holding = Holding {
        catalogue: Some(&held),
        ..NOTHING
    };
    servings.handle_fetch(&mut stage.post(), NEAR, fetch(of_catalogue(0), 1), holding);
    let turn = servings.poll_turn(&stage.post(), LINK).unwrap();
    servings.serve(&mut stage.post(), turn, holding);
    let Some((_, Message::Data(data))) = stage.message() else {
        panic!("a part is served");
    };
    assert_eq!(data.version, 1);
}

#[test]
fn an_image_is_for_the_node_to_which_its_job_is_offered() {
    let mut stage = Stage::new();
    stage
        .ground
        .image
        .extend(|out| {
            out[..4].copy_from_slice(b"job!");
            Ok::<_, ()>(4)
        })
        .unwrap();
    let mut servings = Servings::new(None, LIMIT);
    let fetch = fetch(Object::Job { request: 70 }, 1);
    servings.handle_fetch(&mut stage.post(), NEAR, fetch, NOTHING);
    assert_eq!(stage.refusal(), (NEAR, 3, Refusal::Gone));
    let offered = Holding {
        offered: true,
        ..NOTHING
    };
    for _ in 0..2 {
        servings.handle_fetch(&mut stage.post(), NEAR, fetch, offered);
    }
    let served = part(&mut stage, &mut servings, offered);
    assert_eq!(served, Some((NEAR, 0, b"job!".to_vec())));
    // The offer has ended before the next part is made.
    servings.handle_fetch(&mut stage.post(), NEAR, fetch, offered);
    let turn = servings.poll_turn(&stage.post(), LINK).unwrap();
    servings.serve(&mut stage.post(), turn, NOTHING);
    assert_eq!(stage.refusal(), (NEAR, 3, Refusal::Gone));
}

#[test]
fn parts_are_made_for_the_link_that_they_leave_by() {
    let mut stage = Stage::with(|config| {
        config.links.push(LinkConfig::new(MTU));
        let (link, address) = (LinkId(1), LinkAddress(3));
        config.topology.neighbours[1] = StaticNeighbour {
            id: OTHER,
            link,
            address,
        };
    });
    stage.keep(tasklet(0, 1), &module(250));
    let mut servings = Servings::new(None, 3);
    for node in [OTHER, NEAR, STRANGER] {
        let fetch = fetch(of_module(0), 1);
        servings.handle_fetch(&mut stage.post(), node, fetch, NOTHING);
    }
    let turn = |stage: &mut Stage, servings: &mut Servings, link| {
        let turn = servings.poll_turn(&stage.post(), LinkId(link));
        turn.map(|turn| turn.to)
    };
    assert_eq!(turn(&mut stage, &mut servings, 0), Some(NEAR));
    // A message without a route is flooded, and leaves by all links.
    assert_eq!(turn(&mut stage, &mut servings, 0), Some(STRANGER));
    assert_eq!(turn(&mut stage, &mut servings, 0), None);
    assert_eq!(turn(&mut stage, &mut servings, 1), Some(OTHER));
}
