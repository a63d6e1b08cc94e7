use core::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::node::stage::{NEAR, OTHER, REGISTRY, STRANGER, Stage, module, shop, tasklet};
use crate::places::{AcquisitionAt, SubscriptionAt};
use crate::time::Instant;
use crate::wire::Fetch as Asked;

const PART: u16 = 100;
/// The patience for an answer: there and back over one link, half as much again, and one hop for
/// the work.
const PATIENCE: Duration = Duration::from_millis(400);
/// Places of a board: one for each acquisition, one for a delta, one for a record.
const PLACES: usize = 5;

fn acquisition() -> Owner {
    Owner::Acquisition(AcquisitionAt::new(0))
}

/// Where parts come from.
const FROM: (NodeId, u8) = (NEAR, 1);

fn subscription() -> Owner {
    Owner::Subscription(SubscriptionAt::new(0))
}

fn order_of(owner: Owner, source: NodeId, expected: Option<u32>) -> Order {
    let object = match owner {
        Owner::Acquisition(at) => Object::Module(tasklet(at.index() as u16, 1)),
        Owner::Subscription(_) => Object::Catalogue {
            namespace: shop(),
            since: 0,
        },
        Owner::Arrival => Object::Job { request: 5 },
    };
    Order {
        asks: crate::node::post::SOURCE_ASKS,
        direct: false,
        owner,
        object,
        source,
        hops: Some(1),
        part: PART,
        expected,
    }
}

/// The part number `index` of the object that was asked for.
fn part(asked: Asked, whole: &[u8], index: u32) -> Data<'_> {
    let offset = (asked.offset + index * u32::from(asked.part)) as usize;
    let end = whole.len().min(offset + usize::from(asked.part));
    Data {
        request: asked.request,
        version: 1,
        total: whole.len() as u32,
        offset: offset as u32,
        bytes: &whole[offset..end],
    }
}

fn ended(fetches: &mut Fetches) -> Option<(Owner, NodeId, FetchEnd)> {
    let ended = fetches.poll_ended()?;
    Some((ended.owner, ended.source, ended.end))
}

fn timeout(fetches: &Fetches) -> Option<(Instant, Reason)> {
    let mut earliest = Earliest::new();
    fetches.note_timeouts(&mut earliest);
    earliest.get()
}

/// A fetch of `whole` for `owner` from the neighbour, and what it asks for.
fn begun(stage: &mut Stage, owner: Owner, whole: &[u8]) -> (Fetches, Asked) {
    let mut fetches = Fetches::new(PLACES, 0);
    let order = order_of(owner, NEAR, Some(whole.len() as u32));
    fetches.begin(&mut stage.post(), order);
    let (to, asked) = stage.fetch();
    assert_eq!((to, asked.object), (NEAR, order.object));
    (fetches, asked)
}

#[test]
fn a_module_is_complete_with_the_last_of_its_parts_in_whatever_order_they_come() {
    let (mut stage, whole) = (Stage::new(), module(250));
    let (mut fetches, asked) = begun(&mut stage, acquisition(), &whole);
    assert_eq!((asked.offset, asked.part, asked.wanted), (0, PART, 0b111));
    let due = (stage.now + PATIENCE, Reason::Acquisition);
    assert_eq!(timeout(&fetches), Some(due));
    for index in [2, 0] {
        assert!(fetches.handle_data(&mut stage.post(), FROM, &part(asked, &whole, index)));
        assert_eq!(ended(&mut fetches), None);
    }
    assert!(fetches.handle_data(&mut stage.post(), FROM, &part(asked, &whole, 1)));
    let Some((_, NEAR, FetchEnd::Complete(Some(slot)))) = ended(&mut fetches) else {
        panic!("the module is here");
    };
    assert_eq!(stage.ground.cache.code(slot), whole);
    assert_eq!(timeout(&fetches), None);
    assert!(stage.is_quiet());
}

#[test]
fn what_is_longer_than_a_request_is_asked_for_in_several() {
    let (mut stage, whole) = (Stage::new(), module(3350));
    let (mut fetches, asked) = begun(&mut stage, acquisition(), &whole);
    assert_eq!(asked.wanted, u32::MAX);
    for index in 0..32 {
        assert!(stage.is_quiet());
        fetches.handle_data(&mut stage.post(), FROM, &part(asked, &whole, index));
    }
    let (to, rest) = stage.fetch();
    assert_eq!((to, rest.offset, rest.wanted), (NEAR, 3200, 0b11));
    assert_ne!(rest.request, asked.request);
}

#[test]
fn a_module_goes_on_from_another_source_at_the_offset_reached() {
    let (mut stage, whole) = (Stage::new(), module(250));
    let (mut fetches, asked) = begun(&mut stage, acquisition(), &whole);
    stage.pass(PATIENCE / 2);
    fetches.handle_data(&mut stage.post(), FROM, &part(asked, &whole, 0));
    let due = Some((stage.now + PATIENCE, Reason::Acquisition));
    assert_eq!(timeout(&fetches), due, "each part renews the patience");
    // The source falls silent.
    for _ in 0..5 {
        stage.pass(PATIENCE);
        fetches.handle_timeout(&mut stage.post());
        let (to, again) = stage.fetch();
        assert_eq!((to, again.offset, again.wanted), (NEAR, 100, 0b11));
        assert_eq!(ended(&mut fetches), None);
    }
    stage.pass(PATIENCE);
    fetches.handle_timeout(&mut stage.post());
    let lost = Some((acquisition(), NEAR, FetchEnd::Silent));
    assert_eq!((ended(&mut fetches), timeout(&fetches)), (lost, None));

    fetches.begin(&mut stage.post(), order_of(acquisition(), OTHER, Some(250)));
    let (to, asked) = stage.fetch();
    assert_eq!((to, asked.offset, asked.wanted), (OTHER, 100, 0b11));
    assert_eq!(stage.ground.counters.resumed_transfers, 1);
    for index in 0..2 {
        fetches.handle_data(&mut stage.post(), (OTHER, 1), &part(asked, &whole, index));
    }
    let Some((_, OTHER, FetchEnd::Complete(Some(slot)))) = ended(&mut fetches) else {
        panic!("the module is here");
    };
    assert_eq!(stage.ground.cache.code(slot), whole);
}

#[test]
fn a_source_that_falls_silent_is_no_longer_thought_to_be_on_its_way() {
    let mut stage = Stage::new();
    stage.hear_of(STRANGER);
    let now = stage.now;
    assert_eq!(stage.ground.mesh.hops(now, STRANGER), Some(3));
    let mut fetches = Fetches::new(PLACES, 0);
    let order = Order {
        hops: None,
        ..order_of(subscription(), STRANGER, None)
    };
    fetches.begin(&mut stage.post(), order);
    // The patience is three links there and back, half as much again, and one hop for the work.
    let due = (now + Duration::from_secs(1), Reason::Catalogue);
    assert_eq!(timeout(&fetches), Some(due));
    let mut asked = 0;
    while let Some((due, _)) = timeout(&fetches) {
        asked += usize::from(matches!(stage.fetch(), (STRANGER, _)));
        stage.now = due;
        fetches.handle_timeout(&mut stage.post());
    }
    assert_eq!(asked, 6);
    assert_eq!(stage.ground.mesh.hops(now, STRANGER), None);
    let end = FetchEnd::Silent;
    assert_eq!(ended(&mut fetches), Some((subscription(), STRANGER, end)));
    fetches.assert_invariants();
}

#[test]
fn a_refused_module_keeps_what_is_here_and_other_objects_do_not() {
    for (owner, kept) in [
        (acquisition(), 100),
        (subscription(), 0),
        (Owner::Arrival, 0),
    ] {
        let (mut stage, whole) = (Stage::new(), module(250));
        let (mut fetches, asked) = begun(&mut stage, owner, &whole);
        fetches.handle_data(&mut stage.post(), FROM, &part(asked, &whole, 0));
        fetches.handle_refusal(&mut stage.post(), NEAR, asked.request);
        let refused = (owner, NEAR, FetchEnd::Refused);
        assert_eq!(ended(&mut fetches), Some(refused));
        fetches.assert_invariants();
        let late = part(asked, &whole, 1);
        assert!(
            !fetches.handle_data(&mut stage.post(), FROM, &late),
            "{owner:?}"
        );
        assert_eq!(stage.disk_is_free(), kept == 0);

        fetches.begin(&mut stage.post(), order_of(owner, OTHER, Some(250)));
        let (to, asked) = stage.fetch();
        assert_eq!((to, asked.offset), (OTHER, kept));
    }
}

#[test]
fn a_delta_longer_than_the_limit_is_given_up_at_its_first_part() {
    let mut stage = Stage::new();
    let mut fetches = Fetches::new(PLACES, 0);
    fetches.begin(&mut stage.post(), order_of(subscription(), NEAR, None));
    let (_, asked) = stage.fetch();
    assert_eq!(asked.wanted, 1, "how long it is, its first part says");
    let whole = module(stage.ground.config.limits.delta_bytes + 1);
    assert!(fetches.handle_data(&mut stage.post(), FROM, &part(asked, &whole, 0)));
    let too_long = (subscription(), NEAR, FetchEnd::TooLong);
    assert_eq!(ended(&mut fetches), Some(too_long));
    assert!(stage.disk_is_free() && stage.is_quiet());
}

#[test]
fn a_delta_of_the_longest_allowed_comes_whole() {
    let mut stage = Stage::new();
    let whole = module(stage.ground.config.limits.delta_bytes);
    let mut fetches = Fetches::new(PLACES, 0);
    fetches.begin(&mut stage.post(), order_of(subscription(), NEAR, None));
    let slot = loop {
        let (_, asked) = stage.fetch();
        for index in (0..32).filter(|index| asked.wanted >> index & 1 == 1) {
            fetches.handle_data(&mut stage.post(), FROM, &part(asked, &whole, index));
        }
        if let Some((_, _, FetchEnd::Complete(slot))) = ended(&mut fetches) {
            break slot.expect("a delta has a place");
        }
    };
    assert_eq!(stage.ground.cache.code(slot), whole);
    stage.ground.cache.remove(slot);
    assert!(stage.disk_is_free());
}

#[test]
fn an_image_goes_to_its_buffer_and_takes_nothing_of_the_disk() {
    let (mut stage, whole) = (Stage::new(), module(150));
    let (mut fetches, asked) = begun(&mut stage, Owner::Arrival, &whole);
    let due = (stage.now + PATIENCE, Reason::Move);
    assert_eq!(timeout(&fetches), Some(due));
    for index in [1, 0] {
        fetches.handle_data(&mut stage.post(), FROM, &part(asked, &whole, index));
    }
    let complete = (Owner::Arrival, NEAR, FetchEnd::Complete(None));
    assert_eq!(ended(&mut fetches), Some(complete));
    assert_eq!(stage.ground.image[..], whole);
    assert!(stage.disk_is_free());
}

#[test]
fn an_object_that_changes_on_its_way_is_given_up() {
    for owner in [acquisition(), subscription(), Owner::Arrival] {
        let (mut stage, whole) = (Stage::new(), module(250));
        let (mut fetches, asked) = begun(&mut stage, owner, &whole);
        fetches.handle_data(&mut stage.post(), FROM, &part(asked, &whole, 0));
        let newer = Data {
            version: 2,
            ..part(asked, &whole, 1)
        };
        assert!(fetches.handle_data(&mut stage.post(), FROM, &newer));
        let changed = (owner, NEAR, FetchEnd::Changed);
        assert_eq!(ended(&mut fetches), Some(changed));
        assert!(stage.disk_is_free());
    }
}

#[test]
fn a_module_without_room_is_not_even_asked_for() {
    let mut stage = Stage::new();
    stage.fill();
    let mut fetches = Fetches::new(PLACES, 0);
    fetches.begin(&mut stage.post(), order_of(acquisition(), NEAR, Some(250)));
    let no_room = (acquisition(), NEAR, FetchEnd::NoRoom);
    assert_eq!(ended(&mut fetches), Some(no_room));
    assert!(stage.is_quiet());
    assert_eq!(timeout(&fetches), None);
}

#[test]
fn a_module_whose_room_is_gone_when_it_comes_is_given_up() {
    let (mut stage, whole) = (Stage::new(), module(250));
    let (mut fetches, asked) = begun(&mut stage, acquisition(), &whole);
    stage.fill();
    assert!(fetches.handle_data(&mut stage.post(), FROM, &part(asked, &whole, 0)));
    let no_room = (acquisition(), NEAR, FetchEnd::NoRoom);
    assert_eq!(ended(&mut fetches), Some(no_room));
    fetches.assert_invariants();
    assert_eq!(timeout(&fetches), None);
}

#[test]
fn a_refusal_of_a_node_that_was_not_asked_has_the_source_asked_directly() {
    let (mut stage, whole) = (Stage::new(), module(250));
    let (mut fetches, asked) = begun(&mut stage, acquisition(), &whole);
    assert!(!asked.direct);
    fetches.handle_refusal(&mut stage.post(), STRANGER, asked.request);
    assert_eq!(ended(&mut fetches), None);
    let (to, again) = stage.fetch();
    assert_eq!((to, again.direct, again.wanted), (NEAR, true, asked.wanted));
    fetches.handle_refusal(&mut stage.post(), STRANGER, again.request);
    let refused = (acquisition(), NEAR, FetchEnd::Refused);
    assert_eq!(
        ended(&mut fetches),
        Some(refused),
        "nobody sends it elsewhere"
    );
}

/// How long a source that takes `took` for every answer is waited for, with each request that it does
/// not answer afterwards.
fn waits(owner: Owner, took: Duration) -> [Duration; 6] {
    let mut stage = Stage::with(|config| config.acquisition.adapt = true);
    let whole = module(3350);
    for _ in 0..10 {
        let (mut fetches, asked) = begun(&mut stage, acquisition(), &whole);
        stage.pass(took);
        assert!(fetches.handle_data(&mut stage.post(), FROM, &part(asked, &whole, 0)));
        fetches.abandon(&mut stage.post(), acquisition());
    }
    let (mut fetches, _) = begun(&mut stage, owner, &whole);
    [(); 6].map(|()| {
        let (due, _) = timeout(&fetches).unwrap();
        let wait = due - stage.now;
        stage.now = due;
        fetches.handle_timeout(&mut stage.post());
        wait
    })
}

#[test]
fn a_slow_source_is_asked_again_after_twice_its_time_and_one_that_loses_frames_soon() {
    let usual = waits(acquisition(), PATIENCE / 2);
    assert_eq!(usual, [1, 1, 1, 2, 4, 8].map(|times| PATIENCE * times));
    let delta = waits(subscription(), PATIENCE / 2);
    assert_eq!(delta, [1, 1, 1, 2, 2, 2].map(|times| PATIENCE * times));
    let slow = waits(acquisition(), PATIENCE * 3);
    assert!((PATIENCE * 3..PATIENCE * 5).contains(&slow[0]), "{slow:?}");
    assert_eq!(slow[..4], [1, 2, 4, 8].map(|times| slow[0] * times));
}

#[test]
fn what_a_source_sends_late_for_the_request_before_tells_how_long_it_takes() {
    let mut stage = Stage::with(|config| config.acquisition.adapt = true);
    let whole = module(250);
    stage.pass(PATIENCE);
    let (mut fetches, first) = begun(&mut stage, acquisition(), &whole);
    stage.pass(PATIENCE);
    fetches.handle_timeout(&mut stage.post());
    stage.fetch();
    stage.pass(PATIENCE);
    assert!(fetches.handle_data(&mut stage.post(), FROM, &part(first, &whole, 0)));
    let wait = stage.ground.latency.timeout(NEAR, PATIENCE, 0);
    assert!(wait > PATIENCE * 2, "{wait:?} from the first request on");
}

#[test]
fn an_abandoned_fetch_leaves_nothing_and_says_nothing() {
    for parts in 0..3 {
        for owner in [acquisition(), subscription()] {
            let (mut stage, whole) = (Stage::new(), module(250));
            let (mut fetches, asked) = begun(&mut stage, owner, &whole);
            for index in 0..parts {
                fetches.handle_data(&mut stage.post(), FROM, &part(asked, &whole, index));
            }
            fetches.handle_refusal(&mut stage.post(), NEAR, asked.request);
            fetches.abandon(&mut stage.post(), owner);
            assert_eq!(ended(&mut fetches), None);
            assert!(stage.disk_is_free(), "{owner:?} after {parts} parts");
        }
    }
}

#[test]
fn a_part_that_nothing_waits_for_is_not_taken() {
    let (mut stage, whole) = (Stage::new(), module(250));
    let (mut fetches, asked) = begun(&mut stage, acquisition(), &whole);
    let other = Asked {
        request: asked.request + 1,
        ..asked
    };
    assert!(!fetches.handle_data(&mut stage.post(), FROM, &part(other, &whole, 0)));
    let first = part(asked, &whole, 0);
    assert!(fetches.handle_data(&mut stage.post(), FROM, &first));
    assert!(
        !fetches.handle_data(&mut stage.post(), FROM, &first),
        "again"
    );
}

#[test]
fn whoever_is_due_first_says_why() {
    let mut stage = Stage::new();
    let mut fetches = Fetches::new(PLACES, 0);
    let owners = [
        (Owner::Arrival, Reason::Move),
        (subscription(), Reason::Catalogue),
        (acquisition(), Reason::Acquisition),
    ];
    for (hops, (owner, _)) in (1u8..=3).zip(owners).rev() {
        let order = Order {
            hops: Some(hops),
            ..order_of(owner, REGISTRY, Some(250))
        };
        fetches.begin(&mut stage.post(), order);
        stage.fetch();
    }
    for (owner, reason) in owners {
        let (_, why) = timeout(&fetches).unwrap();
        assert_eq!(why, reason);
        fetches.abandon(&mut stage.post(), owner);
    }
    assert_eq!(timeout(&fetches), None);
}

/// Everything that may happen to fetches.
#[derive(Clone, Copy, Debug)]
enum Input {
    Order {
        owner: usize,
        source: u16,
        len: u32,
        known: bool,
        part: u16,
    },
    Data {
        fetch: usize,
        plausible: bool,
        index: u32,
        total: u32,
        version: u32,
    },
    Refusal {
        fetch: usize,
        request: Option<u16>,
    },
    Timeout {
        ms: u64,
    },
    Abandon {
        owner: usize,
    },
}

fn inputs() -> impl Strategy<Value = Input> {
    let order = (0..PLACES, 2u16..5, 1u32..1500, any::<bool>(), 1u16..=PART);
    let order = order.prop_map(|(owner, source, len, known, part)| Input::Order {
        owner,
        source,
        len,
        known,
        part,
    });
    let data = (
        0..PLACES,
        prop::bool::weighted(0.9),
        0u32..34,
        1u32..5000,
        1u32..3,
    );
    let data = data.prop_map(|(fetch, plausible, index, total, version)| Input::Data {
        fetch,
        plausible,
        index,
        total,
        version,
    });
    let refusal = (0..PLACES, prop::option::weighted(0.2, 0u16..40));
    let refusal = refusal.prop_map(|(fetch, request)| Input::Refusal { fetch, request });
    let timeout = (0u64..600).prop_map(|ms| Input::Timeout { ms });
    let abandon = (0..PLACES).prop_map(|owner| Input::Abandon { owner });
    prop_oneof![3 => order, 8 => data, 1 => refusal, 3 => timeout, 1 => abandon]
}

fn owner_at(at: usize) -> Owner {
    match at {
        0 => Owner::Arrival,
        1 => subscription(),
        at => Owner::Acquisition(AcquisitionAt::new(at - 2)),
    }
}

proptest! {
    #[test]
    fn whatever_comes_fetches_keep_to_their_places(
        inputs in prop::collection::vec(inputs(), 1..150),
    ) {
        let mut stage = Stage::with(|config| {
            config.limits.cache_bytes = 4000;
            config.limits.delta_bytes = 1000;
            config.limits.image_bytes = 1500;
        });
        let mut fetches = Fetches::new(PLACES, 0);
        let capacity = fetches.ended.capacity();
        let zeros = [0; PART as usize];
        let mut asked = [None; PLACES];
        for input in inputs {
            match input {
                // An owner that has a fetch orders another only when the first has paused.
                Input::Order { owner, source, len, known, part } => {
                    let owner = owner_at(owner);
                    let held = fetches.place_of(owner);
                    let held = held.and_then(|at| fetches.table.get(at));
                    if held.is_none_or(|fetch| fetch.paused) {
                        let before = held.and_then(|fetch| fetch.transfer.total());
                        let known = known || owner == Owner::Arrival;
                        let expected = before.or(known.then_some(len));
                        let order = Order { part, ..order_of(owner, NodeId(source), expected) };
                        fetches.begin(&mut stage.post(), order);
                    }
                }
                Input::Data { fetch, plausible, index, total, version } => {
                    let Some(Asked { request, offset, part, .. }) = asked[fetch] else { continue };
                    let held = fetches.table.get(fetch);
                    let agreed = held.and_then(|fetch| fetch.transfer.total());
                    let total = agreed.filter(|_| plausible).unwrap_or(total);
                    let version = if plausible { 1 } else { version };
                    let len = if plausible { part } else { part / 2 + 1 };
                    let offset = offset + index * u32::from(len);
                    if offset < total {
                        let len = u32::from(len).min(total - offset) as usize;
                        let bytes = &zeros[..len];
                        let data = Data { request, version, total, offset, bytes };
                        fetches.handle_data(&mut stage.post(), FROM, &data);
                    }
                }
                Input::Refusal { fetch, request } => {
                    let request = request.or(asked[fetch].map(|asked| asked.request));
                    fetches.handle_refusal(&mut stage.post(), NEAR, request.unwrap_or(0));
                }
                Input::Timeout { ms } => {
                    stage.pass(Duration::from_millis(ms));
                    fetches.handle_timeout(&mut stage.post());
                }
                Input::Abandon { owner } => fetches.abandon(&mut stage.post(), owner_at(owner)),
            }
            prop_assert!(fetches.ended.len() <= PLACES);
            while let Some(ended) = fetches.poll_ended() {
                if let FetchEnd::Complete(Some(slot)) = ended.end {
                    stage.ground.cache.remove(slot);
                }
            }
            fetches.assert_invariants();
            prop_assert_eq!(fetches.ended.capacity(), capacity);
            while let Some((_, message)) = stage.message() {
                let Message::Fetch(message) = message else { panic!("{message:?}") };
                if let Some(at) = fetches.awaiting(message.request) {
                    asked[at] = Some(message);
                }
            }
        }
        for owner in (0..PLACES).map(owner_at) {
            fetches.abandon(&mut stage.post(), owner);
        }
        prop_assert!(stage.disk_is_free());
        prop_assert_eq!(stage.ground.cache.reservations(), 0);
        prop_assert_eq!(timeout(&fetches), None);
    }
}
