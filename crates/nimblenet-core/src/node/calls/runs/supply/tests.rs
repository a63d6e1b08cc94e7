use nimblenet_tasklet::{Delta, Digest};

use super::*;
use crate::job::Source;
use crate::node::stage::{
    MTU, NEAR, REGISTRY, Stage, delta, entry, id_of, import, module, shop, tasklet,
};
use crate::wire::{EpochNote, Fetch, Message, Object};

/// Bytes of every module: more than one part.
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

fn begun() -> (Stage, Supply) {
    let stage = Stage::with(|config| config.acquisition.ask_metadata = false);
    let supply = Supply::new(&stage.ground.config, stage.catalogues());
    (stage, supply)
}

/// A supply that has the catalogue of `shop`, with a caller and its callee.
fn with_catalogue() -> (Stage, Supply) {
    let (mut stage, mut supply) = begun();
    let code = module(SIZE);
    let entries = [
        entry(0, "caller", 1, &code, &[import("shop", 1)]),
        entry(1, "callee", 1, &code, &[]),
    ];
    let bytes = delta("shop", (0, 1), 2, &entries);
    let first = Delta::decode(&bytes).unwrap();
    let post = &mut stage.post();
    supply.subscriptions.install(post, &first, false).unwrap();
    assert!(matches!(supply.poll(post), Some(Supplied::Catalogue)));
    (stage, supply)
}

/// Acquires tasklet 0 up to the fetch from the neighbour, which has answered the search.
fn fetching(stage: &mut Stage, supply: &mut Supply) -> (AcquisitionAt, Fetch) {
    let at = supply.acquire(&mut stage.post(), wanted(0)).unwrap();
    let request = match stage.message() {
        Some((NodeId::EVERYONE, Message::Search(search))) => search.request,
        other => panic!("{other:?} is no search"),
    };
    let found = Found {
        request,
        mtu: MTU,
        size: SIZE as u32,
    };
    supply.handle_found(&mut stage.post(), NEAR, 1, found);
    assert!(stage.is_quiet(), "the fetch is ordered, and not begun");
    assert!(supply.poll(&mut stage.post()).is_none());
    let (source, fetch) = stage.fetch();
    assert_eq!(
        (source, fetch.object),
        (NEAR, Object::Module(tasklet(0, 1)))
    );
    (at, fetch)
}

/// The part number `index` of the module that was asked for.
fn part(fetch: Fetch, whole: &[u8], index: u32) -> Data<'_> {
    let offset = (index * u32::from(fetch.part)) as usize;
    let end = whole.len().min(offset + usize::from(fetch.part));
    Data {
        request: fetch.request,
        version: 1,
        total: whole.len() as u32,
        offset: offset as u32,
        bytes: &whole[offset..end],
    }
}

#[test]
fn a_module_that_a_neighbour_has_is_fetched_and_supplied() {
    let (mut stage, mut supply) = begun();
    let (at, fetch) = fetching(&mut stage, &mut supply);
    let code = module(SIZE);
    for index in 0..2 {
        assert!(supply.poll(&mut stage.post()).is_none());
        let part = part(fetch, &code, index);
        assert!(supply.handle_data(&mut stage.post(), (NEAR, 1), &part));
    }
    let Some(Supplied::Module(acquired)) = supply.poll(&mut stage.post()) else {
        panic!("the module is here");
    };
    assert_eq!((acquired.at, acquired.source), (at, Source::Neighbour));
    let slot = acquired.result.unwrap();
    assert_eq!(stage.ground.cache.code(slot), code);
    assert_eq!(stage.ground.cache.reservations(), 1);
    assert!(supply.poll(&mut stage.post()).is_none());
    supply.assert_invariants();
}

#[test]
fn an_acquired_module_is_reserved_before_a_fetch_begins() {
    let (mut stage, mut supply) = begun();
    stage.keep(tasklet(0, 1), &module(SIZE));
    let (namespace, epoch) = (shop(), 1);
    let news = EpochNote {
        namespace,
        epoch,
        root: 0,
    };
    let post = &mut stage.post();
    supply.subscriptions.handle_epoch(post, NEAR, news);
    supply.acquire(post, wanted(0)).unwrap();
    let supplied = supply.poll(post);
    assert!(matches!(supplied, Some(Supplied::Module(it)) if it.result.is_ok()));
    assert!(stage.is_quiet());
    assert!(supply.poll(&mut stage.post()).is_none());
    let (source, fetch) = stage.fetch();
    let since = 0;
    assert_eq!(source, NEAR);
    assert_eq!(fetch.object, Object::Catalogue { namespace, since });
}

#[test]
fn an_abandoned_acquisition_drops_its_parts() {
    let (mut stage, mut supply) = begun();
    let (at, fetch) = fetching(&mut stage, &mut supply);
    let code = module(SIZE);
    let first = part(fetch, &code, 0);
    assert!(supply.handle_data(&mut stage.post(), (NEAR, 1), &first));
    supply.abandon(&mut stage.post(), at);
    assert!(stage.disk_is_free());
    let late = part(fetch, &code, 1);
    assert!(!supply.handle_data(&mut stage.post(), (NEAR, 1), &late));
    assert!(supply.poll(&mut stage.post()).is_none());
    supply.assert_invariants();
}

#[test]
fn a_preload_begins_with_the_first_tasklet_that_can_be_acquired() {
    let (mut stage, mut supply) = with_catalogue();
    let list = [7, 1, 0].map(|number| (tasklet(number, 1), None));
    let preload = |supply: &mut Supply, stage: &mut Stage, item| {
        let begun = supply.preload(&mut stage.post(), (&list, item), &[1, 0], None);
        begun.map(|(item, _)| item)
    };
    assert_eq!(preload(&mut supply, &mut stage, 0), Some(1));
    assert_eq!(preload(&mut supply, &mut stage, 2), Some(2));
    assert_eq!(preload(&mut supply, &mut stage, 3), None);
}

#[test]
fn a_callee_is_that_of_the_epoch_of_its_job() {
    let (_stage, supply) = with_catalogue();
    let callee = supply.callee(shop(), 1, &[1, 0]).unwrap();
    assert_eq!(callee.entry.name.as_str(), "callee");
    let fault = |namespace, number, epochs: &[u32]| {
        let found = supply.callee(namespace, number, epochs);
        found.map(|callee| callee.entry.number).unwrap_err()
    };
    assert_eq!(fault(id_of("dock"), 1, &[1, 0]), Fault::UnknownNamespace);
    assert_eq!(fault(shop(), 2, &[1, 0]), Fault::UnknownTasklet);
    assert_eq!(fault(shop(), 1, &[]), Fault::UnknownTasklet);
}
