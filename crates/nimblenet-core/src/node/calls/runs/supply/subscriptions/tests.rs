use core::time::Duration;

use nimblenet_tasklet::RootHasher;
use proptest::prelude::*;

use super::*;
use crate::config::MIN_MTU;
use crate::node::stage::{
    NAMESPACES, NEAR, OTHER, OWN, PART, REGISTRY, STRANGER, Stage, delta, entry, id_of, import,
    module, shop,
};

/// The pause after the first failure, and below the pause while another delta is on its way.
const PAUSE: Duration = Duration::from_millis(1000);
const SHORT: Duration = Duration::from_millis(200);

fn subscriptions(stage: &Stage) -> Subscriptions {
    let namespaces = &stage.ground.config.namespaces;
    let limits = stage.ground.config.limits.catalogue;
    Subscriptions::new(namespaces, limits, stage.catalogues())
}

fn begun() -> (Stage, Subscriptions, SubscriptionAt) {
    let stage = Stage::new();
    let subscriptions = subscriptions(&stage);
    (stage, subscriptions, SubscriptionAt::new(0))
}

fn note(namespace: &str, epoch: u32) -> EpochNote {
    let namespace = id_of(namespace);
    let root = 0;
    EpochNote {
        namespace,
        epoch,
        root,
    }
}

fn name(name: &str) -> Name {
    Name::new(name).unwrap()
}

/// The source and the object of the next order.
fn ordered(stage: &mut Stage) -> Option<(NodeId, Object)> {
    stage.post().next_order().map(|it| (it.source, it.object))
}

fn since(namespace: &str, since: u32) -> Object {
    let namespace = id_of(namespace);
    Object::Catalogue { namespace, since }
}

/// A delta to epoch 1 with one tasklet, `rms`.
fn first() -> Vec<u8> {
    delta("shop", (0, 1), 1, &[entry(0, "rms", 1, &module(9), &[])])
}

/// The subscription hears of a catalogue, fetches it, and has its signature checked.
fn take_up(
    stage: &mut Stage,
    subscriptions: &mut Subscriptions,
    at: SubscriptionAt,
    delta: &[u8],
    good: bool,
) {
    let decoded = Delta::decode(delta).unwrap();
    let news = note(decoded.namespace.as_str(), decoded.to);
    subscriptions.handle_epoch(&mut stage.post(), NEAR, news);
    let held = since(decoded.namespace.as_str(), decoded.from);
    assert_eq!(ordered(stage), Some((NEAR, held)));
    let complete = FetchEnd::Complete(Some(stage.place(delta)));
    subscriptions.handle_fetched(&mut stage.post(), at, NEAR, complete);
    assert_eq!(subscriptions.poll_verification(), Some(at));
    let ticket = at.index() as u32;
    subscriptions.handle_verified(&mut stage.post(), ticket, good, false);
}

/// Waits until the registry is asked, and lets the fetch end with `end`.
fn ask(stage: &mut Stage, subscriptions: &mut Subscriptions, at: SubscriptionAt, end: FetchEnd) {
    stage.wait(subscriptions.poll_timeout());
    subscriptions.handle_timeout(&mut stage.post());
    assert!(matches!(ordered(stage), Some((REGISTRY, _))));
    subscriptions.handle_fetched(&mut stage.post(), at, REGISTRY, end);
}

/// Looks a tasklet up, and refreshes the catalogue that is missing. Returns the entry's number, or
/// none if the lookup waits.
fn look_up(
    stage: &mut Stage,
    subscriptions: &mut Subscriptions,
    at: SubscriptionAt,
    name: &Name,
    accepted: Instant,
) -> Result<Option<u16>, Fault> {
    let post = &mut stage.post();
    match subscriptions.look_up(post, at, name, accepted) {
        Ok(callee) => Ok(Some(callee.entry.number)),
        Err(Missing::Catalogue(lacking)) => {
            subscriptions.refresh(post, lacking);
            Ok(None)
        }
        Err(Missing::ForGood(fault)) => Err(fault),
    }
}

#[test]
fn a_newer_epoch_is_fetched_from_the_neighbour_that_has_it() {
    let (mut stage, mut subscriptions, _) = begun();
    subscriptions.handle_epoch(&mut stage.post(), NEAR, note("shop", 3));
    let order = stage.post().next_order().unwrap();
    assert_eq!((order.source, order.object), (NEAR, since("shop", 0)));
    assert_eq!((order.hops, order.part), (None, PART));
    assert_eq!((order.expected, subscriptions.poll_timeout()), (None, None));
    // Only one fetch is on its way at a time.
    subscriptions.handle_epoch(&mut stage.post(), OTHER, note("shop", 4));
    assert_eq!(ordered(&mut stage), None);
}

#[test]
fn parts_from_further_away_fit_the_shortest_link_that_may_lie_between() {
    let (mut stage, mut subscriptions, _) = begun();
    stage.hear_of(STRANGER);
    subscriptions.handle_epoch(&mut stage.post(), STRANGER, note("shop", 3));
    assert_eq!(
        stage.post().next_order().unwrap().part,
        PART - (256 - MIN_MTU)
    );
}

#[test]
fn an_epoch_that_is_not_newer_or_of_no_concern_is_not_fetched() {
    let (mut stage, mut subscriptions, at) = begun();
    take_up(&mut stage, &mut subscriptions, at, &first(), true);
    for news in [note("shop", 1), note("shop", 0), note("elsewhere", 9)] {
        subscriptions.handle_epoch(&mut stage.post(), NEAR, news);
        assert_eq!(ordered(&mut stage), None);
    }
}

#[test]
fn a_delta_is_checked_by_the_namespace_s_key_and_applied() {
    let (mut stage, mut subscriptions, at) = begun();
    subscriptions.handle_epoch(&mut stage.post(), NEAR, note("shop", 1));
    let complete = FetchEnd::Complete(Some(stage.place(&first())));
    subscriptions.handle_fetched(&mut stage.post(), at, NEAR, complete);
    assert!(!subscriptions.poll_renewed());
    assert_eq!(subscriptions.poll_verification(), Some(at));
    assert_eq!(subscriptions.poll_verification(), None, "once");
    let Work::Verify {
        ticket,
        key,
        message,
        signature,
    } = subscriptions.verification(at)
    else {
        panic!("a signature is to be checked");
    };
    let mut root = RootHasher::new(&name("shop"), 1, 1);
    root.entry(&entry(0, "rms", 1, &module(9), &[]));
    assert_eq!(message, signed_bytes(&root.finish()));
    assert_eq!(key, stage.ground.config.namespaces[0].key);
    assert_eq!(signature, [7; 64]);

    subscriptions.handle_verified(&mut stage.post(), ticket, true, false);
    assert_eq!(subscriptions.catalogue(shop()).unwrap().epoch(), 1);
    assert!(stage.disk_is_free());
    assert!(subscriptions.poll_renewed());
    assert_eq!(subscriptions.poll_news().unwrap().id(), shop());
    assert!(subscriptions.poll_news().is_none());
    assert_eq!(subscriptions.poll_floor(), Some((shop(), 1)));
    assert_eq!(subscriptions.poll_floor(), None, "once");
    subscriptions.assert_invariants();
}

#[test]
fn a_bad_signature_is_counted_and_nothing_of_the_delta_stays() {
    let (mut stage, mut subscriptions, at) = begun();
    take_up(&mut stage, &mut subscriptions, at, &first(), false);
    assert_eq!(stage.ground.counters.bad_signatures, 1);
    assert_eq!(subscriptions.catalogue(shop()).unwrap().epoch(), 0);
    assert!(stage.disk_is_free() && subscriptions.poll_news().is_none());
    assert_eq!(subscriptions.poll_timeout(), Some(stage.now + PAUSE));
    assert!(subscriptions.poll_renewed(), "those who wait are told");
    subscriptions.assert_invariants();
}

#[test]
fn a_check_that_nobody_waits_for_is_stale() {
    let (mut stage, mut subscriptions, at) = begun();
    take_up(&mut stage, &mut subscriptions, at, &first(), true);
    for ticket in [0, 1, 2, u32::MAX] {
        subscriptions.handle_verified(&mut stage.post(), ticket, true, false);
    }
    // The second check is due, but was not taken.
    let second = delta("shop", (1, 2), 1, &[entry(0, "rms", 2, &module(9), &[])]);
    subscriptions.handle_epoch(&mut stage.post(), NEAR, note("shop", 2));
    let complete = FetchEnd::Complete(Some(stage.place(&second)));
    subscriptions.handle_fetched(&mut stage.post(), at, NEAR, complete);
    subscriptions.handle_verified(&mut stage.post(), 0, true, false);
    assert_eq!(stage.ground.counters.dropped(DropReason::StaleOutcome), 5);
    assert_eq!(subscriptions.catalogue(shop()).unwrap().epoch(), 1);
}

#[test]
fn what_is_no_delta_or_does_not_fit_is_not_even_checked() {
    let gap = delta("shop", (5, 6), 1, &[entry(0, "rms", 1, &module(9), &[])]);
    let foreign = delta("yard", (0, 6), 1, &[entry(0, "rms", 1, &module(9), &[])]);
    for bytes in [&b"no delta"[..], &gap, &foreign] {
        let (mut stage, mut subscriptions, at) = begun();
        subscriptions.handle_epoch(&mut stage.post(), NEAR, note("shop", 6));
        let complete = FetchEnd::Complete(Some(stage.place(bytes)));
        subscriptions.handle_fetched(&mut stage.post(), at, NEAR, complete);
        assert_eq!(subscriptions.poll_verification(), None);
        assert!(stage.disk_is_free());
        assert_eq!(subscriptions.poll_timeout(), Some(stage.now + PAUSE));
    }
}

#[test]
fn after_each_failure_the_pause_doubles_up_to_a_bound() {
    let (mut stage, mut subscriptions, at) = begun();
    subscriptions.handle_epoch(&mut stage.post(), NEAR, note("shop", 1));
    ordered(&mut stage);
    subscriptions.handle_fetched(&mut stage.post(), at, NEAR, FetchEnd::Silent);
    for factor in [1, 2, 4, 8, 16, 32, 32, 32] {
        let due = Some(stage.now + PAUSE * factor);
        assert_eq!(subscriptions.poll_timeout(), due);
        ask(&mut stage, &mut subscriptions, at, FetchEnd::Silent);
    }
    ask(&mut stage, &mut subscriptions, at, FetchEnd::Refused);
    assert_eq!(subscriptions.poll_timeout(), None, "there is none");
}

#[test]
fn a_success_ends_the_pauses() {
    let (mut stage, mut subscriptions, at) = begun();
    take_up(&mut stage, &mut subscriptions, at, &first(), false);
    take_up(&mut stage, &mut subscriptions, at, &first(), true);
    assert_eq!(subscriptions.poll_timeout(), None);
}

#[test]
fn a_neighbour_that_has_nothing_newer_after_all_is_no_reason_to_wait() {
    let (mut stage, mut subscriptions, at) = begun();
    subscriptions.handle_epoch(&mut stage.post(), NEAR, note("shop", 1));
    ordered(&mut stage);
    subscriptions.handle_fetched(&mut stage.post(), at, NEAR, FetchEnd::Refused);
    assert!(!subscriptions.poll_renewed());
    assert_eq!(subscriptions.poll_timeout(), None);
    subscriptions.handle_epoch(&mut stage.post(), OTHER, note("shop", 1));
    assert_eq!(ordered(&mut stage), Some((OTHER, since("shop", 0))));
}

#[test]
fn a_tasklet_that_is_not_known_is_asked_for_until_the_registry_says_that_there_is_none() {
    let (mut stage, mut subscriptions, at) = begun();
    let accepted = stage.now;
    let look_up = |stage: &mut Stage, subscriptions: &mut Subscriptions, accepted| {
        look_up(stage, subscriptions, at, &name("rms"), accepted)
    };
    let waits = Ok(None);
    assert_eq!(look_up(&mut stage, &mut subscriptions, accepted), waits);
    assert_eq!(ordered(&mut stage), Some((REGISTRY, since("shop", 0))));
    assert_eq!(look_up(&mut stage, &mut subscriptions, accepted), waits);
    assert_eq!(ordered(&mut stage), None, "it was asked already");

    subscriptions.handle_fetched(&mut stage.post(), at, REGISTRY, FetchEnd::Refused);
    assert!(subscriptions.poll_renewed());
    let unknown = Err(Fault::UnknownTasklet);
    assert_eq!(look_up(&mut stage, &mut subscriptions, accepted), unknown);
    // Before a later call the tasklet may have been published.
    stage.pass(PAUSE);
    let accepted = stage.now;
    assert_eq!(look_up(&mut stage, &mut subscriptions, accepted), waits);
    assert_eq!(ordered(&mut stage), Some((REGISTRY, since("shop", 0))));
}

#[test]
fn a_catalogue_that_cannot_be_had_fails_calls_after_all_tries_with_the_last_reason() {
    let ends = [
        (FetchEnd::Silent, Fault::NoCatalogue),
        (FetchEnd::TooLong, Fault::TooLarge),
        (FetchEnd::NoRoom, Fault::CacheFull),
    ];
    for (end, fault) in ends {
        let (mut stage, mut subscriptions, at) = begun();
        let accepted = stage.now;
        let attempts = stage.ground.config.acquisition.attempts;
        for attempt in 0..attempts {
            let waits = look_up(&mut stage, &mut subscriptions, at, &name("rms"), accepted);
            assert_eq!(waits, Ok(None), "try {attempt}");
            if attempt == 0 {
                assert!(ordered(&mut stage).is_some());
                subscriptions.handle_fetched(&mut stage.post(), at, REGISTRY, end);
            } else {
                ask(&mut stage, &mut subscriptions, at, end);
            }
        }
        let end = look_up(&mut stage, &mut subscriptions, at, &name("rms"), accepted);
        assert_eq!(end, Err(fault));
    }
}

#[test]
fn a_node_goes_by_the_catalogue_that_it_holds_when_nothing_newer_can_be_had() {
    let (mut stage, mut subscriptions, at) = begun();
    take_up(&mut stage, &mut subscriptions, at, &first(), true);
    let accepted = stage.now;
    let found = look_up(&mut stage, &mut subscriptions, at, &name("rms"), accepted);
    assert_eq!(found, Ok(Some(0)));
    let waits = look_up(&mut stage, &mut subscriptions, at, &name("peak"), accepted);
    assert_eq!(waits, Ok(None));
    subscriptions.handle_fetched(&mut stage.post(), at, REGISTRY, FetchEnd::Silent);
    let unknown = look_up(&mut stage, &mut subscriptions, at, &name("peak"), accepted);
    assert_eq!(unknown, Err(Fault::UnknownTasklet));
}

/// A node that holds an epoch looks for a tasklet of a newer one, and its first fetch ends so.
fn looks_for_a_newer_one(source: NodeId, end: FetchEnd) {
    let (mut stage, mut subscriptions, at) = begun();
    take_up(&mut stage, &mut subscriptions, at, &first(), true);
    let accepted = stage.now;
    if source == NEAR {
        subscriptions.handle_epoch(&mut stage.post(), NEAR, note("shop", 2));
    }
    let peak = name("peak");
    let look_up = |stage: &mut Stage, subscriptions: &mut Subscriptions| {
        look_up(stage, subscriptions, at, &peak, accepted)
    };
    assert_eq!(look_up(&mut stage, &mut subscriptions), Ok(None));
    assert_eq!(ordered(&mut stage), Some((source, since("shop", 1))));
    subscriptions.handle_fetched(&mut stage.post(), at, source, end);
    // The call waits for what the registry has.
    assert_eq!(look_up(&mut stage, &mut subscriptions), Ok(None));
    let second = delta("shop", (1, 2), 2, &[entry(1, "peak", 2, &module(8), &[])]);
    let complete = FetchEnd::Complete(Some(stage.place(&second)));
    ask(&mut stage, &mut subscriptions, at, complete);
    assert_eq!(subscriptions.poll_verification(), Some(at));
    subscriptions.handle_verified(&mut stage.post(), 0, true, false);
    assert_eq!(look_up(&mut stage, &mut subscriptions), Ok(Some(1)));
}

#[test]
fn a_tasklet_is_not_unknown_because_more_was_published_while_the_catalogue_came() {
    for source in [NEAR, REGISTRY] {
        looks_for_a_newer_one(source, FetchEnd::Changed);
    }
}

#[test]
fn a_tasklet_is_not_unknown_because_a_neighbour_fell_silent() {
    looks_for_a_newer_one(NEAR, FetchEnd::Silent);
}

#[test]
fn a_source_that_changes_all_the_time_is_asked_ever_less_often() {
    let (mut stage, mut subscriptions, at) = begun();
    subscriptions.handle_epoch(&mut stage.post(), NEAR, note("shop", 1));
    ordered(&mut stage);
    subscriptions.handle_fetched(&mut stage.post(), at, NEAR, FetchEnd::Changed);
    for factor in [1, 2, 4, 8, 16, 32, 32] {
        assert_eq!(
            subscriptions.poll_timeout(),
            Some(stage.now + SHORT * factor)
        );
        ask(&mut stage, &mut subscriptions, at, FetchEnd::Changed);
    }
}

#[test]
fn one_delta_is_on_its_way_at_a_time_and_the_other_namespace_comes_soon_after() {
    let (mut stage, mut subscriptions, at) = begun();
    subscriptions.handle_epoch(&mut stage.post(), NEAR, note("shop", 1));
    assert!(ordered(&mut stage).is_some());
    subscriptions.handle_epoch(&mut stage.post(), NEAR, note("yard", 1));
    assert_eq!(ordered(&mut stage), None);
    assert_eq!(subscriptions.poll_timeout(), Some(stage.now + SHORT));
    subscriptions.assert_invariants();
    subscriptions.handle_fetched(&mut stage.post(), at, NEAR, FetchEnd::Refused);
    stage.wait(subscriptions.poll_timeout());
    subscriptions.handle_timeout(&mut stage.post());
    assert_eq!(ordered(&mut stage), Some((REGISTRY, since("yard", 0))));
}

#[test]
fn a_node_never_asks_itself() {
    let mut stage = Stage::with(|config| config.namespaces[0].registry = OWN);
    let (mut subscriptions, at) = (subscriptions(&stage), SubscriptionAt::new(0));
    let accepted = stage.now;
    let waits = look_up(&mut stage, &mut subscriptions, at, &name("rms"), accepted);
    assert_eq!((waits, ordered(&mut stage)), (Ok(None), None));
    assert_eq!(subscriptions.poll_timeout(), Some(stage.now + SHORT));
}

#[test]
fn a_tasklet_waits_for_the_catalogues_of_those_that_it_calls() {
    let (mut stage, mut subscriptions, at) = begun();
    let calls = [
        entry(0, "outer", 1, &module(9), &[import("shop", 1)]),
        entry(1, "inner", 1, &module(9), &[import("yard", 0)]),
    ];
    let whole = delta("shop", (0, 1), 2, &calls);
    take_up(&mut stage, &mut subscriptions, at, &whole, true);
    let accepted = stage.now;
    let waits = look_up(&mut stage, &mut subscriptions, at, &name("outer"), accepted);
    assert_eq!(waits, Ok(None));
    assert_eq!(ordered(&mut stage), Some((REGISTRY, since("yard", 0))));

    let yard = delta("yard", (0, 1), 1, &[entry(0, "rms", 1, &module(9), &[])]);
    let complete = FetchEnd::Complete(Some(stage.place(&yard)));
    let other = SubscriptionAt::new(1);
    subscriptions.handle_fetched(&mut stage.post(), other, REGISTRY, complete);
    assert_eq!(subscriptions.poll_verification(), Some(other));
    subscriptions.handle_verified(&mut stage.post(), 1, true, false);
    let found = look_up(&mut stage, &mut subscriptions, at, &name("outer"), accepted);
    assert_eq!(found, Ok(Some(0)));

    let outer = subscriptions.callee(at, 0, 1).unwrap().tasklet();
    let list = |limit| {
        let mut list = Vec::new();
        subscriptions.list_callees(outer, &[1, 1], &mut list, limit);
        let numbers = list.iter().map(|(tasklet, _)| tasklet.namespace);
        numbers.collect::<Vec<_>>()
    };
    assert_eq!(list(12), [shop(), id_of("yard")]);
    assert_eq!(list(2), [shop()]);
}

#[test]
fn a_circle_of_tasklets_is_listed_once() {
    let (mut stage, mut subscriptions, at) = begun();
    let calls = [
        entry(0, "hen", 1, &module(9), &[import("shop", 1)]),
        entry(1, "egg", 1, &module(9), &[import("shop", 0)]),
    ];
    let whole = delta("shop", (0, 1), 2, &calls);
    take_up(&mut stage, &mut subscriptions, at, &whole, true);
    let found = look_up(
        &mut stage,
        &mut subscriptions,
        at,
        &name("hen"),
        Instant::ZERO,
    );
    assert_eq!(found, Ok(Some(0)));
    let hen = subscriptions.callee(at, 0, 1).unwrap().tasklet();
    let mut list = Vec::new();
    subscriptions.list_callees(hen, &[1, 0], &mut list, 12);
    assert_eq!(list.len(), 1);
}

#[test]
fn replaced_entries_are_kept_for_as_long_as_a_job_goes_by_them() {
    let (mut stage, mut subscriptions, at) = begun();
    take_up(&mut stage, &mut subscriptions, at, &first(), true);
    let second = delta("shop", (1, 2), 1, &[entry(0, "rms", 2, &module(9), &[])]);
    let second = Delta::decode(&second).unwrap();
    let installed = subscriptions.install(&mut stage.post(), &second, true);
    assert_eq!(installed, Ok(()));
    let sequence = |subscriptions: &Subscriptions, epoch| {
        subscriptions.callee(at, 0, epoch).unwrap().entry.sequence
    };
    assert_eq!([1, 2].map(|epoch| sequence(&subscriptions, epoch)), [1, 2]);
    subscriptions.forget_replaced(|_| Some(1));
    assert_eq!(sequence(&subscriptions, 1), 1);
    subscriptions.forget_replaced(|_| None);
    assert_eq!(sequence(&subscriptions, 1), 2);
}

#[test]
fn only_what_the_namespace_is_granted_may_run() {
    let (mut stage, mut subscriptions, at) = begun();
    take_up(&mut stage, &mut subscriptions, at, &first(), true);
    assert!(subscriptions.may_run(&subscriptions.callee(at, 0, 1).unwrap()));
    let mut callee = subscriptions.callee(at, 0, 1).unwrap();
    callee.entry.terms.capabilities = Capabilities::ALL;
    assert!(!subscriptions.may_run(&callee));
    assert_eq!(
        subscriptions.granted(id_of("elsewhere")),
        Capabilities::NONE
    );
}

/// Everything that may happen to subscriptions.
#[derive(Clone, Copy, Debug)]
enum Input {
    Epoch(usize, u32),
    Fetched(u8),
    Taken,
    Verified(u32, bool),
    Timeout(u64),
    LookUp(usize, bool),
}

fn inputs() -> impl Strategy<Value = Input> {
    prop_oneof![
        3 => (0usize..3, 0u32..4).prop_map(|(at, epoch)| Input::Epoch(at, epoch)),
        5 => (0u8..9).prop_map(Input::Fetched),
        4 => Just(Input::Taken),
        4 => (0u32..3, any::<bool>()).prop_map(|(ticket, good)| Input::Verified(ticket, good)),
        3 => (0u64..40_000).prop_map(Input::Timeout),
        3 => (0usize..2, any::<bool>()).prop_map(|(at, known)| Input::LookUp(at, known)),
    ]
}

/// The end number `end` of the fetch of a delta since `epoch`.
fn end_of(stage: &mut Stage, namespace: &str, epoch: u32, end: u8) -> FetchEnd {
    let sequence = epoch as u16 + 1;
    let entries = [entry(0, "rms", sequence, &module(9), &[import("yard", 0)])];
    let bytes = match end {
        0..4 => delta(namespace, (epoch, epoch + 1), 1, &entries),
        4 => delta("elsewhere", (epoch, epoch + 1), 1, &entries),
        5 => Vec::from(*b"no delta"),
        6 => return FetchEnd::Refused,
        7 => return FetchEnd::TooLong,
        _ => return FetchEnd::Silent,
    };
    FetchEnd::Complete(Some(stage.place(&bytes)))
}

proptest! {
    #[test]
    fn whatever_comes_one_delta_is_held_at_a_time(
        inputs in prop::collection::vec(inputs(), 1..150),
    ) {
        let (mut stage, mut subscriptions, _) = begun();
        let capacity = subscriptions.news.capacity();
        let fetching = |subscriptions: &Subscriptions| {
            let is = |held: &Subscription| held.sync == Sync::Fetching;
            subscriptions.table.iter().position(is)
        };
        let mut source = REGISTRY;
        for input in inputs {
            match input {
                Input::Epoch(at, epoch) => {
                    let known = NAMESPACES.get(at).copied();
                    let note = note(known.unwrap_or("elsewhere"), epoch);
                    subscriptions.handle_epoch(&mut stage.post(), NEAR, note);
                }
                // A fetch ends for the subscription that ordered it.
                Input::Fetched(end) => {
                    if let Some(at) = fetching(&subscriptions) {
                        let epoch = subscriptions.table[at].catalogue.epoch();
                        let end = end_of(&mut stage, NAMESPACES[at], epoch, end);
                        let at = SubscriptionAt::new(at);
                        subscriptions.handle_fetched(&mut stage.post(), at, source, end);
                    }
                }
                Input::Taken => {
                    if let Some(at) = subscriptions.poll_verification() {
                        let work = subscriptions.verification(at);
                        let verify = matches!(work, Work::Verify { .. });
                        prop_assert!(verify);
                    }
                }
                Input::Verified(ticket, good) => {
                    subscriptions.handle_verified(&mut stage.post(), ticket, good, good);
                }
                Input::Timeout(ms) => {
                    stage.pass(Duration::from_millis(ms));
                    subscriptions.handle_timeout(&mut stage.post());
                }
                Input::LookUp(at, known) => {
                    let name = name(if known { "rms" } else { "peak" });
                    let (at, now) = (SubscriptionAt::new(at), stage.now);
                    let _ = look_up(&mut stage, &mut subscriptions, at, &name, now);
                }
            }
            subscriptions.poll_renewed();
            if let Some(order) = stage.post().next_order() {
                prop_assert!(fetching(&subscriptions).is_some());
                source = order.source;
            }
            prop_assert!(stage.post().next_order().is_none());
            subscriptions.assert_invariants();
            prop_assert!(subscriptions.news.len() <= NAMESPACES.len());
            prop_assert_eq!(subscriptions.news.capacity(), capacity);
            stage.hush();
        }
        if let Some(at) = fetching(&subscriptions).map(SubscriptionAt::new) {
            subscriptions.handle_fetched(&mut stage.post(), at, source, FetchEnd::Silent);
        }
        subscriptions.poll_verification();
        for ticket in 0..NAMESPACES.len() as u32 {
            subscriptions.handle_verified(&mut stage.post(), ticket, false, false);
        }
        prop_assert!(stage.disk_is_free());
        prop_assert_eq!(stage.ground.cache.reservations(), 0);
    }
}
