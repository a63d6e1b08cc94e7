use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::node::post::Ground;
use crate::node::stage::{
    MTU, NEAR, OTHER, PART, REGISTRY, STRANGER, Stage, module, shop, tasklet,
};
use crate::wire::{Frame, HOLDINGS_BYTES, HoldingsWriter, Page};

const LOCAL: Duration = Duration::from_millis(200);
const GLOBAL: Duration = Duration::from_millis(1000);
/// The patience for an answer over one link, and below over the two links to the registry.
const PATIENCE: Duration = Duration::from_millis(400);
const REGISTRY_PATIENCE: Duration = Duration::from_millis(700);
/// Places of a board.
const PLACES: usize = 3;
const SIZE: usize = 250;

fn wanted(number: u16) -> Wanted {
    Wanted {
        client: None,
        tasklet: tasklet(number, 1),
        digest: Digest::of(&module(SIZE)),
        size: SIZE as u32,
        registry: REGISTRY,
    }
}

/// A stage whose acquisitions have two attempts each.
fn stage() -> Stage {
    Stage::with(|config| config.acquisition.attempts = 2)
}

/// An acquisition that has asked the neighbours, and the number of its request.
fn begun(stage: &mut Stage) -> (Acquisitions, AcquisitionAt, u16) {
    let mut acquisitions = Acquisitions::new(PLACES);
    let at = acquisitions.acquire(&mut stage.post(), wanted(0)).unwrap();
    let (_, request) = searched(stage);
    (acquisitions, at, request)
}

/// Whom the search asks, and its request number. It must be the only frame.
#[track_caller]
fn searched(stage: &mut Stage) -> (Scope, u16) {
    let Frame {
        ttl,
        destination,
        message,
        ..
    } = stage.sent().expect("somebody is asked");
    let scope = match (destination, ttl) {
        (NodeId::EVERYONE, 0) => Scope::Neighbours,
        (NodeId::EVERYONE, 254) => Scope::Mesh,
        (REGISTRY, _) => Scope::Registry,
        other => panic!("{other:?} was asked"),
    };
    let Message::Search(search) = message else {
        panic!("{message:?} is no search");
    };
    assert_eq!((search.tasklet, search.mtu), (tasklet(0, 1), MTU));
    assert!(stage.is_quiet());
    (scope, search.request)
}

fn found(request: u16) -> Found {
    Found {
        request,
        mtu: MTU,
        size: SIZE as u32,
    }
}

/// The source of the module that is ordered.
fn ordered(stage: &mut Stage) -> Option<NodeId> {
    stage.post().next_order().map(|order| order.source)
}

/// The whole module on the disk, as a fetch leaves it.
fn fetched(stage: &mut Stage, bytes: &[u8]) -> FetchEnd {
    let (now, cache) = (stage.now, &mut stage.ground.cache);
    let slot = cache.begin(tasklet(0, 1), bytes.len(), now).unwrap();
    cache.write(slot, 0, bytes);
    FetchEnd::Complete(Some(slot))
}

fn pass_to(stage: &mut Stage, acquisitions: &mut Acquisitions) {
    stage.wait(acquisitions.poll_timeout());
    acquisitions.handle_timeout(&mut stage.post());
}

/// How the only acquisition has failed, and in which attempt.
fn failed(stage: &Stage, acquisitions: &mut Acquisitions) -> Option<(Fault, u8)> {
    let ended = acquisitions.poll_ended(stage.now)?;
    Some((ended.result.unwrap_err(), ended.attempts))
}

#[test]
fn what_is_in_the_cache_is_reserved_at_once_and_nobody_is_asked() {
    let mut stage = stage();
    let held = stage.keep(tasklet(0, 1), &module(SIZE));
    let mut acquisitions = Acquisitions::new(PLACES);
    let at = acquisitions.acquire(&mut stage.post(), wanted(0)).unwrap();
    let ended = acquisitions.poll_ended(stage.now).unwrap();
    assert_eq!((ended.at, ended.result), (at, Ok(held)));
    assert_eq!((ended.source, ended.hops), (Source::Local, 0));
    assert_eq!((ended.attempts, ended.bytes), (1, 0));
    assert_eq!(stage.ground.cache.reservations(), 1);
    assert!(stage.is_quiet() && acquisitions.poll_timeout().is_none());
}

#[test]
fn neighbours_are_asked_then_the_mesh_then_the_registry() {
    let mut stage = stage();
    let (mut acquisitions, ..) = begun(&mut stage);
    assert_eq!(acquisitions.poll_timeout(), Some(stage.now + LOCAL));
    pass_to(&mut stage, &mut acquisitions);
    assert_eq!(searched(&mut stage).0, Scope::Mesh);
    assert_eq!(acquisitions.poll_timeout(), Some(stage.now + GLOBAL));
    pass_to(&mut stage, &mut acquisitions);
    assert_eq!(searched(&mut stage).0, Scope::Registry);
    let patience = acquisitions.poll_timeout();
    assert_eq!(patience, Some(stage.now + REGISTRY_PATIENCE));
}

#[test]
fn before_its_time_a_search_goes_no_further() {
    let mut stage = stage();
    let (mut acquisitions, ..) = begun(&mut stage);
    stage.pass(LOCAL - Duration::from_micros(1));
    acquisitions.handle_timeout(&mut stage.post());
    assert!(stage.is_quiet());
}

#[test]
fn the_first_holder_to_answer_has_the_module_fetched_from_it() {
    let mut stage = stage();
    let (mut acquisitions, at, request) = begun(&mut stage);
    let narrow = Found {
        mtu: 160,
        ..found(request)
    };
    acquisitions.handle_found(&mut stage.post(), NEAR, 1, narrow);
    acquisitions.handle_found(&mut stage.post(), OTHER, 1, found(request));
    let order = stage.post().next_order().unwrap();
    assert_eq!(order.owner, Owner::Acquisition(at));
    assert_eq!(order.object, Object::Module(tasklet(0, 1)));
    assert_eq!((order.source, order.hops), (NEAR, Some(1)));
    assert_eq!(order.part, PART - (MTU - 160), "the narrowest link counts");
    assert_eq!(order.expected, Some(SIZE as u32));
    assert_eq!(ordered(&mut stage), None);
    assert_eq!(acquisitions.poll_timeout(), None, "the fetch has the time");
}

#[test]
fn the_source_of_a_module_is_told_by_its_distance() {
    let sources = [
        (NEAR, 1, Source::Neighbour),
        (STRANGER, 3, Source::Global),
        (REGISTRY, 2, Source::Registry),
        (REGISTRY, 1, Source::Registry),
    ];
    for (holder, hops, source) in sources {
        let mut stage = stage();
        let (mut acquisitions, at, request) = begun(&mut stage);
        acquisitions.handle_found(&mut stage.post(), holder, hops, found(request));
        assert_eq!(ordered(&mut stage), Some(holder));
        stage.pass(PATIENCE);
        let complete = fetched(&mut stage, &module(SIZE));
        acquisitions.handle_fetched(&mut stage.post(), at, (holder, hops), complete);
        let ended = acquisitions.poll_ended(stage.now).unwrap();
        assert!(ended.result.is_ok());
        assert_eq!((ended.source, ended.hops), (source, hops));
        assert_eq!((ended.bytes, ended.took), (SIZE as u32, PATIENCE));
        assert_eq!(stage.ground.cache.reservations(), 1);
        acquisitions.assert_invariants();
    }
}

#[test]
fn a_registry_is_asked_six_times_in_each_attempt() {
    let mut stage = stage();
    let (mut acquisitions, ..) = begun(&mut stage);
    for attempt in 1..=2 {
        pass_to(&mut stage, &mut acquisitions);
        assert_eq!(searched(&mut stage).0, Scope::Mesh);
        for _ in 0..6 {
            pass_to(&mut stage, &mut acquisitions);
            assert_eq!(searched(&mut stage).0, Scope::Registry);
        }
        pass_to(&mut stage, &mut acquisitions);
        if attempt == 1 {
            assert_eq!(searched(&mut stage).0, Scope::Neighbours);
        }
    }
    assert!(stage.is_quiet());
    let end = failed(&stage, &mut acquisitions);
    assert_eq!(end, Some((Fault::Unreachable, 2)));
    assert_eq!(acquisitions.poll_timeout(), None);
}

#[test]
fn a_registry_that_answers_after_it_was_asked_again_is_heard() {
    let mut stage = stage();
    let (mut acquisitions, ..) = begun(&mut stage);
    let mut asked = Vec::new();
    for _ in 0..4 {
        pass_to(&mut stage, &mut acquisitions);
        asked.push(searched(&mut stage));
    }
    let [(Scope::Mesh, _), registry @ ..] = &asked[..] else {
        panic!("{asked:?}");
    };
    let (scope, first) = registry[0];
    assert_eq!(scope, Scope::Registry);
    acquisitions.handle_found(&mut stage.post(), REGISTRY, 2, found(first));
    assert_eq!(ordered(&mut stage), Some(REGISTRY));
}

#[test]
fn a_registry_that_does_not_serve_it_ends_the_attempt_and_is_asked_in_the_next() {
    let mut stage = stage();
    let (mut acquisitions, ..) = begun(&mut stage);
    for attempt in 1..=2 {
        pass_to(&mut stage, &mut acquisitions);
        searched(&mut stage);
        pass_to(&mut stage, &mut acquisitions);
        let (scope, request) = searched(&mut stage);
        assert_eq!(scope, Scope::Registry);
        acquisitions.handle_refusal(&mut stage.post(), request);
        if attempt == 1 {
            assert_eq!(searched(&mut stage).0, Scope::Neighbours);
        }
    }
    let end = failed(&stage, &mut acquisitions);
    assert_eq!(end, Some((Fault::Unreachable, 2)));
}

#[test]
fn the_source_that_failed_last_is_avoided_and_another_taken() {
    for end in [FetchEnd::Silent, FetchEnd::Refused, FetchEnd::Changed] {
        let mut stage = stage();
        let (mut acquisitions, at, request) = begun(&mut stage);
        acquisitions.handle_found(&mut stage.post(), NEAR, 1, found(request));
        assert_eq!(ordered(&mut stage), Some(NEAR));
        acquisitions.handle_fetched(&mut stage.post(), at, (NEAR, 1), end);
        let (scope, request) = searched(&mut stage);
        assert_eq!(scope, Scope::Neighbours);
        acquisitions.handle_found(&mut stage.post(), NEAR, 1, found(request));
        assert_eq!(ordered(&mut stage), None, "after {end:?}");
        acquisitions.handle_found(&mut stage.post(), OTHER, 1, found(request));
        assert_eq!(ordered(&mut stage), Some(OTHER));
    }
}

#[test]
fn a_registry_whose_fetch_failed_is_not_avoided() {
    let mut stage = stage();
    let (mut acquisitions, at, request) = begun(&mut stage);
    acquisitions.handle_found(&mut stage.post(), REGISTRY, 2, found(request));
    ordered(&mut stage);
    acquisitions.handle_fetched(&mut stage.post(), at, (REGISTRY, 1), FetchEnd::Silent);
    let (_, request) = searched(&mut stage);
    acquisitions.handle_found(&mut stage.post(), REGISTRY, 2, found(request));
    assert_eq!(ordered(&mut stage), Some(REGISTRY));
}

/// The TTLs of a search as it widens, up to the whole mesh.
fn rings(stage: &mut Stage, acquisitions: &mut Acquisitions) -> Vec<u8> {
    let mut ttls = Vec::new();
    while ttls.last() != Some(&254) {
        ttls.push(stage.sent().expect("it goes on").ttl);
        pass_to(stage, acquisitions);
    }
    ttls
}

#[test]
fn a_search_goes_twice_as_far_each_time_but_stays_near_at_first_if_the_registry_was_never_heard_of()
{
    let known = || Stage::with(|config| config.acquisition.discovery = Discovery::Known);
    let mut stage = known();
    let mut acquisitions = Acquisitions::new(PLACES);
    let at = acquisitions.acquire(&mut stage.post(), wanted(0)).unwrap();
    assert_eq!(ordered(&mut stage), Some(REGISTRY));
    acquisitions.handle_fetched(&mut stage.post(), at, (REGISTRY, 2), FetchEnd::Silent);
    let widening = [0, 1, 3, 7, 15, 31, 63, 254];
    assert_eq!(rings(&mut stage, &mut acquisitions), widening);

    let mut stage = known();
    let mut acquisitions = Acquisitions::new(PLACES);
    let registry = STRANGER;
    let unheard = Wanted {
        registry,
        ..wanted(0)
    };
    acquisitions.acquire(&mut stage.post(), unheard).unwrap();
    let near = [0, 1, 1, 1, 1, 3, 7, 254];
    assert_eq!(rings(&mut stage, &mut acquisitions), near);
}

#[test]
fn bytes_with_another_digest_are_dropped_counted_and_not_taken_from_there_again() {
    let mut stage = stage();
    let (mut acquisitions, at, request) = begun(&mut stage);
    acquisitions.handle_found(&mut stage.post(), NEAR, 1, found(request));
    ordered(&mut stage);
    let wrong = fetched(&mut stage, &[0xbd; SIZE]);
    acquisitions.handle_fetched(&mut stage.post(), at, (NEAR, 1), wrong);
    assert_eq!(stage.ground.counters.digest_mismatches, 1);
    assert!(stage.disk_is_free());
    let (_, request) = searched(&mut stage);
    acquisitions.handle_found(&mut stage.post(), NEAR, 1, found(request));
    assert_eq!(ordered(&mut stage), None);
    acquisitions.handle_found(&mut stage.post(), OTHER, 1, found(request));
    let wrong = fetched(&mut stage, &[0xbd; SIZE]);
    acquisitions.handle_fetched(&mut stage.post(), at, (OTHER, 1), wrong);
    let end = failed(&stage, &mut acquisitions);
    assert_eq!(end, Some((Fault::DigestMismatch, 2)));
    assert!(stage.is_quiet());
}

#[test]
fn without_room_the_same_source_may_try_again_and_the_cache_is_called_full() {
    let mut stage = stage();
    let (mut acquisitions, at, mut request) = begun(&mut stage);
    for attempt in 1..=2 {
        acquisitions.handle_found(&mut stage.post(), NEAR, 1, found(request));
        assert_eq!(ordered(&mut stage), Some(NEAR), "attempt {attempt}");
        acquisitions.handle_fetched(&mut stage.post(), at, (NEAR, 1), FetchEnd::NoRoom);
        if attempt == 1 {
            (_, request) = searched(&mut stage);
        }
    }
    let end = failed(&stage, &mut acquisitions);
    assert_eq!(end, Some((Fault::CacheFull, 2)));
}

#[test]
fn without_room_it_waits_for_room_and_asks_nobody_meanwhile() {
    let mut stage = Stage::with(|config| {
        config.acquisition.attempts = 3;
        config.acquisition.discovery = Discovery::Known;
        config.acquisition.adapt = true;
    });
    let mut acquisitions = Acquisitions::new(PLACES);
    let at = acquisitions.acquire(&mut stage.post(), wanted(0)).unwrap();
    for wait in [LOCAL, 2 * LOCAL] {
        assert_eq!(ordered(&mut stage), Some(REGISTRY));
        acquisitions.handle_fetched(&mut stage.post(), at, (REGISTRY, 2), FetchEnd::NoRoom);
        assert_eq!(acquisitions.poll_timeout(), Some(stage.now + wait));
        assert!(stage.is_quiet() && ordered(&mut stage).is_none());
        pass_to(&mut stage, &mut acquisitions);
    }
    assert_eq!(ordered(&mut stage), Some(REGISTRY));
    acquisitions.handle_fetched(&mut stage.post(), at, (REGISTRY, 2), FetchEnd::NoRoom);
    let end = failed(&stage, &mut acquisitions);
    assert_eq!(end, Some((Fault::CacheFull, 3)));
}

#[test]
fn no_more_is_fetched_ahead_than_sources_bring_in_time() {
    let mut stage = Stage::with(|config| {
        config.acquisition.discovery = Discovery::Known;
        config.acquisition.adapt = true;
        // An eighth is room for two modules.
        config.limits.cache_bytes = 16 * SIZE;
    });
    let mut acquisitions = Acquisitions::new(PLACES);
    for number in 0..PLACES as u16 {
        acquisitions.acquire_ahead(&mut stage.post(), wanted(number));
    }
    let orders = [(); 3].map(|()| ordered(&mut stage));
    assert_eq!(orders, [Some(REGISTRY), Some(REGISTRY), None]);
    // One of the two is called: now it is not ahead of anything.
    acquisitions.acquire(&mut stage.post(), wanted(0)).unwrap();
    acquisitions.acquire_ahead(&mut stage.post(), wanted(2));
    assert_eq!(ordered(&mut stage), Some(REGISTRY));
    // An answer that comes late is a sign that there is too much on the links.
    let late = (PATIENCE * 2, PATIENCE);
    stage.ground.latency.answered(REGISTRY, late, 1);
    let mut others = Acquisitions::new(PLACES);
    for number in 3..5 {
        others.acquire_ahead(&mut stage.post(), wanted(number));
    }
    assert_eq!(
        (ordered(&mut stage), ordered(&mut stage)),
        (Some(REGISTRY), None)
    );
}

/// A stage whose acquisitions ask sources that are known, and note how they behave.
fn knowing(attempts: u8) -> Stage {
    Stage::with(|config| {
        config.acquisition.discovery = Discovery::Known;
        config.acquisition.adapt = true;
        config.acquisition.attempts = attempts;
    })
}

/// The request number of the search that was sent.
fn search(stage: &mut Stage) -> u16 {
    let Some((_, Message::Search(search))) = stage.message() else {
        panic!("there is no search");
    };
    search.request
}

#[test]
fn sources_that_fail_cost_no_attempt_and_are_left_alone_and_the_last_attempt_is_the_registry() {
    let mut stage = knowing(3);
    let mut acquisitions = Acquisitions::new(PLACES);
    let at = acquisitions.acquire(&mut stage.post(), wanted(0)).unwrap();
    assert_eq!(ordered(&mut stage), Some(REGISTRY));
    let silent = FetchEnd::Silent;
    acquisitions.handle_fetched(&mut stage.post(), at, (REGISTRY, 2), silent);
    let liars = [NEAR, OTHER, STRANGER];
    for (failed, liar) in liars.into_iter().enumerate() {
        let request = search(&mut stage);
        for failed in &liars[..failed] {
            acquisitions.handle_found(&mut stage.post(), *failed, 1, found(request));
            assert_eq!(ordered(&mut stage), None, "it has failed before");
        }
        acquisitions.handle_found(&mut stage.post(), liar, 1, found(request));
        assert_eq!(ordered(&mut stage), Some(liar));
        acquisitions.handle_fetched(&mut stage.post(), at, (liar, 1), silent);
    }
    let order = loop {
        pass_to(&mut stage, &mut acquisitions);
        if let Some(order) = stage.post().next_order() {
            break order;
        }
    };
    assert_eq!((order.source, order.asks), (REGISTRY, SOURCE_ASKS));
    acquisitions.handle_fetched(&mut stage.post(), at, (REGISTRY, 2), silent);
    let ended = failed(&stage, &mut acquisitions);
    assert_eq!(ended, Some((Fault::Unreachable, 6)), "three each");
}

#[test]
fn after_a_holder_s_false_bytes_the_registry_is_asked_and_no_node_on_the_way() {
    let mut stage = knowing(2);
    let mut space = [0; HOLDINGS_BYTES];
    let mut writer = HoldingsWriter::new(&mut space);
    let (number, bits) = (0, 1);
    writer.own(Page { number, bits });
    let holdings = writer.finish(shop());
    let ids = (stage.ground.config.id, NEAR);
    let Ground { holders, .. } = &mut stage.ground;
    holders.handle(stage.now, ids, (1, MTU), &holdings);
    let mut acquisitions = Acquisitions::new(PLACES);
    let at = acquisitions.acquire(&mut stage.post(), wanted(0)).unwrap();
    assert_eq!(ordered(&mut stage), Some(NEAR));
    let end = fetched(&mut stage, &[7; SIZE]);
    acquisitions.handle_fetched(&mut stage.post(), at, (NEAR, 1), end);
    let order = stage.post().next_order().unwrap();
    assert_eq!((order.source, order.direct), (REGISTRY, true));
    let end = fetched(&mut stage, &module(SIZE));
    acquisitions.handle_fetched(&mut stage.post(), at, (REGISTRY, 2), end);
    let ended = acquisitions.poll_ended(stage.now).unwrap();
    assert!(ended.result.is_ok() && ended.source == Source::Registry);
    assert!(stage.ground.repute.is_bad(stage.now, NEAR));
}

#[test]
fn every_attempt_begins_with_the_cache() {
    let mut stage = stage();
    let (mut acquisitions, at, request) = begun(&mut stage);
    acquisitions.handle_found(&mut stage.post(), NEAR, 1, found(request));
    ordered(&mut stage);
    let held = stage.keep(tasklet(0, 1), &module(SIZE));
    acquisitions.handle_fetched(&mut stage.post(), at, (NEAR, 1), FetchEnd::Silent);
    let ended = acquisitions.poll_ended(stage.now).unwrap();
    assert_eq!((ended.result, ended.source), (Ok(held), Source::Local));
    assert_eq!(ended.attempts, 2);
    assert!(stage.is_quiet());
}

#[test]
fn as_many_attempts_are_made_as_the_node_was_told() {
    for attempts in [1, 5] {
        let mut stage = Stage::with(|config| config.acquisition.attempts = attempts);
        let (mut acquisitions, at, mut request) = begun(&mut stage);
        let mut begun = 1;
        loop {
            acquisitions.handle_found(&mut stage.post(), REGISTRY, 2, found(request));
            ordered(&mut stage);
            acquisitions.handle_fetched(&mut stage.post(), at, (REGISTRY, 1), FetchEnd::Silent);
            if let Some(end) = failed(&stage, &mut acquisitions) {
                assert_eq!(end, (Fault::Unreachable, attempts));
                break;
            }
            (_, request) = searched(&mut stage);
            begun += 1;
        }
        assert_eq!(begun, attempts);
    }
}

#[test]
fn what_can_never_fit_is_too_large_and_one_too_many_is_busy() {
    let mut stage = stage();
    let mut acquisitions = Acquisitions::new(PLACES);
    let size = stage.ground.cache.capacity() as u32;
    let mut acquire = |wanted| acquisitions.acquire(&mut stage.post(), wanted);
    let (size, too_large) = (size, size + 1);
    let huge = Wanted {
        size: too_large,
        ..wanted(0)
    };
    assert_eq!(acquire(huge), Err(Fault::TooLarge));
    for number in 0..PLACES as u16 {
        let whole = Wanted {
            size,
            ..wanted(number)
        };
        assert!(acquire(whole).is_ok());
    }
    assert_eq!(acquire(wanted(9)), Err(Fault::Busy));
}

#[test]
fn those_who_want_the_same_share_an_acquisition_unless_they_may_not() {
    for merge in [true, false] {
        let mut stage = Stage::with(|config| config.acquisition.merge = merge);
        let (mut acquisitions, first, _) = begun(&mut stage);
        let second = acquisitions.acquire(&mut stage.post(), wanted(0)).unwrap();
        assert_eq!(first == second, merge);
        assert_eq!(stage.is_quiet(), merge);
    }
}

#[test]
fn a_holder_is_asked_for_metadata_where_that_is_wanted() {
    let mut stage = Stage::with(|config| config.acquisition.ask_metadata = true);
    let (mut acquisitions, _, request) = begun(&mut stage);
    acquisitions.handle_found(&mut stage.post(), NEAR, 1, found(request));
    let Some((NEAR, Message::MetadataRequest(asked))) = stage.message() else {
        panic!("the holder is asked");
    };
    assert_eq!(asked.tasklet, tasklet(0, 1));
    assert_eq!(acquisitions.poll_timeout(), Some(stage.now + PATIENCE));
    assert_eq!(ordered(&mut stage), None);
    let metadata = Metadata {
        request: asked.request,
        size: SIZE as u32,
        digest: &wanted(0).digest.0,
    };
    acquisitions.handle_metadata(&mut stage.post(), metadata);
    assert_eq!(ordered(&mut stage), Some(NEAR));
}

#[test]
fn a_holder_with_other_metadata_or_none_is_avoided() {
    for answer in ["other size", "other digest", "refusal", "silence"] {
        let mut stage = Stage::with(|config| config.acquisition.ask_metadata = true);
        let (mut acquisitions, _, request) = begun(&mut stage);
        acquisitions.handle_found(&mut stage.post(), NEAR, 1, found(request));
        let Some((_, Message::MetadataRequest(asked))) = stage.message() else {
            panic!("the holder is asked");
        };
        let request = asked.request;
        let digest = match answer {
            "other digest" => Digest::of(&[]),
            _ => wanted(0).digest,
        };
        let size = SIZE as u32 + u32::from(answer == "other size");
        let metadata = Metadata {
            request,
            size,
            digest: &digest.0,
        };
        match answer {
            "refusal" => acquisitions.handle_refusal(&mut stage.post(), request),
            "silence" => pass_to(&mut stage, &mut acquisitions),
            _ => acquisitions.handle_metadata(&mut stage.post(), metadata),
        }
        let mismatches = u64::from(answer.starts_with("other"));
        assert_eq!(stage.ground.counters.digest_mismatches, mismatches);
        let (scope, request) = searched(&mut stage);
        assert_eq!(scope, Scope::Neighbours);
        acquisitions.handle_found(&mut stage.post(), NEAR, 1, found(request));
        assert!(stage.is_quiet(), "{answer}");
        acquisitions.handle_found(&mut stage.post(), OTHER, 1, found(request));
        assert!(matches!(stage.message(), Some((OTHER, _))), "{answer}");
    }
}

#[test]
fn answers_to_a_former_question_are_counted_and_not_heeded() {
    let mut stage = stage();
    let (mut acquisitions, _, former) = begun(&mut stage);
    pass_to(&mut stage, &mut acquisitions);
    searched(&mut stage);
    acquisitions.handle_found(&mut stage.post(), NEAR, 1, found(former));
    acquisitions.handle_refusal(&mut stage.post(), former);
    let metadata = Metadata {
        request: former,
        size: SIZE as u32,
        digest: &wanted(0).digest.0,
    };
    acquisitions.handle_metadata(&mut stage.post(), metadata);
    assert_eq!(ordered(&mut stage), None);
    assert!(stage.is_quiet());
    let unexpected = crate::counters::DropReason::Unexpected;
    assert_eq!(stage.ground.counters.dropped(unexpected), 2);
}

#[test]
fn an_abandoned_acquisition_gives_its_reservation_back_and_says_nothing() {
    let mut stage = stage();
    stage.keep(tasklet(0, 1), &module(SIZE));
    let mut acquisitions = Acquisitions::new(PLACES);
    let at = acquisitions.acquire(&mut stage.post(), wanted(0)).unwrap();
    assert_eq!(stage.ground.cache.reservations(), 1);
    acquisitions.abandon(&mut stage.post(), at);
    assert_eq!(stage.ground.cache.reservations(), 0);
    assert!(acquisitions.poll_ended(stage.now).is_none());
}

/// Everything that may happen to acquisitions.
#[derive(Clone, Copy, Debug)]
enum Input {
    Acquire(u16),
    Found(usize, NodeId, u8),
    Metadata(usize, bool),
    Refusal(usize),
    Fetched(usize, u8),
    Timeout(u64),
    Abandon(usize),
    /// Another module takes the whole cache, or leaves it.
    Fill,
}

fn inputs() -> impl Strategy<Value = Input> {
    // One more than there are, for an answer to nothing.
    let place = 0..=PLACES;
    let nodes = prop::sample::select(&[NEAR, OTHER, REGISTRY, STRANGER]);
    prop_oneof![
        4 => (0u16..4).prop_map(Input::Acquire),
        6 => (place.clone(), nodes, 1u8..4).prop_map(|(at, from, hops)| Input::Found(at, from, hops)),
        3 => (place.clone(), any::<bool>()).prop_map(|(at, good)| Input::Metadata(at, good)),
        1 => place.clone().prop_map(Input::Refusal),
        5 => (0..PLACES, 0u8..7).prop_map(|(at, end)| Input::Fetched(at, end)),
        4 => (0u64..1500).prop_map(Input::Timeout),
        1 => (0..PLACES).prop_map(Input::Abandon),
        1 => Just(Input::Fill),
    ]
}

/// The end number `end` of a fetch for the acquisition at `at`.
fn end_of(stage: &mut Stage, acquisition: &Acquisition, end: u8) -> FetchEnd {
    let tasklet = acquisition.wanted.tasklet;
    let bytes = match end {
        0 | 1 => module(SIZE),
        2 => Vec::from([0; SIZE]),
        3 => return FetchEnd::Changed,
        4 => return FetchEnd::NoRoom,
        5 => return FetchEnd::Refused,
        _ => return FetchEnd::Silent,
    };
    let (now, cache) = (stage.now, &mut stage.ground.cache);
    let Ok(slot) = cache.begin(tasklet, SIZE, now) else {
        return FetchEnd::NoRoom;
    };
    cache.write(slot, 0, &bytes);
    FetchEnd::Complete(Some(slot))
}

proptest! {
    #[test]
    fn whatever_comes_acquisitions_keep_to_their_places(
        inputs in prop::collection::vec(inputs(), 1..150), ask_metadata: bool, merge: bool, adapt: bool,
    ) {
        let mut stage = Stage::with(|config| {
            config.acquisition.ask_metadata = ask_metadata;
            config.acquisition.adapt = adapt;
            config.acquisition.merge = merge;
            config.limits.cache_bytes = 2 * SIZE;
        });
        let mut acquisitions = Acquisitions::new(PLACES);
        let capacity = acquisitions.ended.capacity();
        for input in inputs {
            let request_of = |acquisitions: &Acquisitions, at: usize| {
                let held = acquisitions.table.get(at);
                held.map_or(9999, |held| held.request)
            };
            match input {
                Input::Acquire(number) => {
                    let _ = acquisitions.acquire(&mut stage.post(), wanted(number));
                }
                Input::Found(at, from, hops) => {
                    let found = found(request_of(&acquisitions, at));
                    acquisitions.handle_found(&mut stage.post(), from, hops, found);
                }
                Input::Metadata(at, good) => {
                    let metadata = Metadata {
                        request: request_of(&acquisitions, at),
                        size: SIZE as u32 + u32::from(!good),
                        digest: &wanted(0).digest.0,
                    };
                    acquisitions.handle_metadata(&mut stage.post(), metadata);
                }
                Input::Refusal(at) => {
                    let request = request_of(&acquisitions, at);
                    acquisitions.handle_refusal(&mut stage.post(), request);
                }
                // A fetch ends for the acquisition that ordered it.
                Input::Fetched(at, end) => {
                    if let Some(held @ Acquisition { phase: Phase::Fetch(holder), .. }) =
                        acquisitions.table.get(at).copied()
                    {
                        let end = end_of(&mut stage, &held, end);
                        let at = AcquisitionAt::new(at);
                        acquisitions.handle_fetched(&mut stage.post(), at, (holder.id, holder.hops), end);
                    }
                }
                Input::Timeout(ms) => {
                    stage.pass(Duration::from_millis(ms));
                    acquisitions.handle_timeout(&mut stage.post());
                }
                Input::Abandon(at) => {
                    acquisitions.abandon(&mut stage.post(), AcquisitionAt::new(at));
                }
                Input::Fill => match stage.ground.cache.find(tasklet(999, 1)) {
                    None if stage.ground.cache.make_room(2 * SIZE).is_ok() => stage.fill(),
                    None => {}
                    Some(slot) => {
                        stage.ground.cache.release(slot);
                        stage.ground.cache.remove(slot);
                    }
                },
            }
            prop_assert!(acquisitions.ended.len() <= PLACES);
            while let Some(ended) = acquisitions.poll_ended(stage.now) {
                prop_assert!((1..=5).contains(&ended.attempts));
                if let Ok(slot) = ended.result {
                    prop_assert_eq!(stage.ground.cache.code(slot), module(SIZE));
                    stage.ground.cache.release(slot);
                }
            }
            acquisitions.assert_invariants();
            prop_assert_eq!(acquisitions.ended.capacity(), capacity);
            let mut orders = 0;
            while ordered(&mut stage).is_some() {
                orders += 1;
            }
            prop_assert!(orders <= 1, "one input begins one fetch");
            stage.hush();
        }
        for at in (0..PLACES).map(AcquisitionAt::new) {
            acquisitions.abandon(&mut stage.post(), at);
        }
        if let Some(slot) = stage.ground.cache.find(tasklet(999, 1)) {
            stage.ground.cache.release(slot);
        }
        prop_assert_eq!(stage.ground.cache.reservations(), 0);
        prop_assert_eq!(acquisitions.poll_timeout(), None);
    }
}
