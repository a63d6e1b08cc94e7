//! Old epochs: what is kept of them, what makes room, and what brings them back.

use super::*;

fn limited(epochs: usize, namespace_bytes: u64) -> Store {
    let log = Log::with_backend(InMemoryBackend::new()).unwrap();
    let limits = StoreLimits {
        epochs,
        namespace_bytes,
        ..StoreLimits::DEFAULT
    };
    Store::with_log(log, None, Trust::FirstUse, limits).unwrap()
}

fn epochs(store: &Store, namespace: &str) -> Vec<u32> {
    let kept = store.history(&name(namespace)).unwrap();
    kept.into_iter().map(|kept| kept.epoch).collect()
}

/// The catalogue at an epoch.
fn past(store: &Store, namespace: &str, epoch: u32) -> Option<Catalogue> {
    let bytes = store.at(&name(namespace), epoch).unwrap()?;
    history::replay(&name(namespace), &[bytes], epoch)
}

fn put(
    store: &mut Store,
    publication: &Publication,
    namespace: &str,
) -> Result<Published, Refusal> {
    let namespace = name(namespace);
    let catalogue = store.catalogue(&namespace).unwrap();
    let delta = publication.sign(catalogue, |bytes| key().sign(bytes));
    let delta = delta.map_err(Refusal::Catalogue)?;
    store.publish(&delta, &namespace, None)
}

#[test]
fn each_epoch_is_listed_and_is_as_it_was_after_a_restart_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    publish(&mut store, "shop/add", 1).unwrap();
    publish(&mut store, "shop/sub", 2).unwrap();
    publish(&mut store, "shop/add", 3).unwrap();
    drop(store);
    let store = open(dir.path());
    let kept = store.history(&name("shop")).unwrap();
    let changes = kept.iter().map(|kept| {
        let [change] = kept.changes[..] else {
            panic!("{kept:?}");
        };
        (kept.epoch, change.name.to_string(), change.version)
    });
    let expected = [(1, "add", 1), (2, "sub", 1), (3, "add", 2)];
    let expected = expected.map(|(epoch, name, version)| (epoch, name.to_owned(), version));
    assert_eq!(changes.collect::<Vec<_>>(), expected);
    for (epoch, count, digest) in [(1, 1, 1), (2, 2, 1), (3, 2, 3)] {
        let then = past(&store, "shop", epoch).unwrap();
        let entry = then.named(&name("add")).unwrap();
        assert_eq!(
            (then.count(), entry.digest),
            (count, Digest::of(&module(digest)))
        );
    }
    assert!(past(&store, "shop", 4).is_none());
    assert!(epochs(&store, "lab").is_empty());
}

#[test]
fn the_oldest_epochs_make_room_and_so_do_their_modules() {
    let mut store = limited(3, 1 << 20);
    publish(&mut store, "shop/keep", 100).unwrap();
    // The same bytes in another namespace stay there.
    publish(&mut store, "lab/add", 1).unwrap();
    for n in 1..=6 {
        publish(&mut store, "shop/add", n).unwrap();
    }
    assert_eq!(epochs(&store, "shop"), [5, 6, 7]);
    let held = |n| store.module(&Digest::of(&module(n))).unwrap().is_some();
    assert_eq!(
        [1, 2, 3, 4, 5, 6, 100].map(held),
        [true, false, false, true, true, true, true]
    );
    let oldest = past(&store, "shop", 5).unwrap();
    assert_eq!(
        oldest.named(&name("add")).unwrap().digest,
        Digest::of(&module(4))
    );
    assert!(oldest.named(&name("keep")).is_some());
    let gone = store.take_gone();
    assert_eq!(gone.len(), 2, "the archive hears of them");

    let mut archive = store.archive().unwrap();
    assert_eq!(archive.catalogues().map(Catalogue::epoch).max(), Some(7));
    archive.remove_modules(&[Digest::of(&module(6))]);
    assert!(!archive.names(&Digest::of(&module(6))));
}

#[test]
fn att_17_a_namespace_has_no_more_bytes_than_its_quota_and_others_are_not_hurt() {
    let bytes = module(1).len() as u64;
    let mut store = limited(100, 3 * bytes + 1);
    for n in 1..=5 {
        publish(&mut store, "shop/add", n).unwrap();
    }
    assert_eq!(epochs(&store, "shop"), [3, 4, 5]);
    for at in 0..2 {
        publish(&mut store, &format!("shop/more{at}"), 10 + at).unwrap();
    }
    assert_eq!(epochs(&store, "shop"), [5, 6, 7]);
    let refused = publish(&mut store, "shop/more2", 12).unwrap_err();
    assert_eq!(refused.code(), "registry-full");
    assert!(refused.to_string().contains("namespace_bytes"), "{refused}");
    assert_eq!(epochs(&store, "shop"), [5, 6, 7]);
    publish(&mut store, "lab/add", 1).unwrap();
}

#[test]
fn an_old_epoch_comes_back_as_a_new_one_and_no_module_is_uploaded() {
    let mut store = in_memory(Trust::FirstUse);
    publish(&mut store, "shop/add", 1).unwrap();
    publish(&mut store, "shop/sub", 2).unwrap();
    publish(&mut store, "shop/add", 3).unwrap();
    publish(&mut store, "shop/sub", 4).unwrap();
    publish(&mut store, "shop/mul", 5).unwrap();
    let before = past(&store, "shop", 2).unwrap();
    let digest = |store: &Store, of: &str| {
        let catalogue = store.catalogue(&name("shop")).unwrap();
        catalogue.find(&name(of)).map(|entry| entry.digest)
    };

    // One tasklet.
    let held = store.catalogue(&name("shop")).unwrap().clone();
    let one = Publication::restoring(&held, &before, Some(&name("add"))).unwrap();
    assert_eq!(put(&mut store, &one, "shop").unwrap().modules, 0);
    assert_eq!(digest(&store, "add"), Some(Digest::of(&module(1))));
    assert_eq!(digest(&store, "sub"), Some(Digest::of(&module(4))));

    // The whole namespace: what was not there goes.
    let held = store.catalogue(&name("shop")).unwrap().clone();
    let all = Publication::restoring(&held, &before, None).unwrap();
    let published = put(&mut store, &all, "shop").unwrap();
    assert_eq!(
        (published.epoch, published.entries, published.modules),
        (7, 2, 0)
    );
    assert_eq!(digest(&store, "sub"), Some(Digest::of(&module(2))));
    assert_eq!(digest(&store, "mul"), None);
    let versions = store.catalogue(&name("shop")).unwrap().entries();
    assert_eq!(
        versions.map(|entry| entry.sequence).collect::<Vec<_>>(),
        [3, 3, 2]
    );

    let held = store.catalogue(&name("shop")).unwrap().clone();
    let again = Publication::restoring(&held, &before, None).unwrap();
    assert_eq!(again.changed(), 0);
    let unknown = Publication::restoring(&held, &before, Some(&name("div")));
    assert_eq!(unknown.unwrap_err().code(), "unknown-tasklet");
}

#[test]
fn fault_04_an_epoch_may_leave_others_out_if_every_entry_is_new_in_it() {
    let mut store = in_memory(Trust::FirstUse);
    publish(&mut store, "shop/add", 1).unwrap();
    publish(&mut store, "shop/sub", 2).unwrap();
    let held = store.catalogue(&name("shop")).unwrap().clone();
    let nothing = || Publication::new(&held, &[], Travel::Plain, |_| None).unwrap();
    let leap = nothing().at_epoch(&held, 9).unwrap();
    let published = put(&mut store, &leap, "shop").unwrap();
    assert_eq!((published.epoch, published.modules), (9, 0));
    let versions = store.catalogue(&name("shop")).unwrap().entries();
    assert_eq!(
        versions.map(|entry| entry.sequence).collect::<Vec<_>>(),
        [9, 9]
    );
    assert_eq!(epochs(&store, "shop"), [1, 2, 9]);
    assert_eq!(publish(&mut store, "shop/add", 3).unwrap().epoch, 10);

    assert_eq!(
        nothing().at_epoch(&held, 2).unwrap_err().code(),
        "stale-epoch"
    );
    let far = nothing().at_epoch(&held, 70_000).unwrap_err();
    assert_eq!(far.code(), "too-many-versions");
    // A leap with a part of the entries.
    let held = store.catalogue(&name("shop")).unwrap().clone();
    let entry = held.entry(0).unwrap().encoded().to_vec();
    let mut out = vec![0; 500];
    let entries = [&entry[..]].into_iter();
    let len = Delta::encode(&name("shop"), (10, 20), 2, &[0; 64], entries, &mut out).unwrap();
    let root = held
        .root_after(&Delta::decode(&out[..len]).unwrap())
        .unwrap();
    let signature = key().sign(&signed_bytes(&root));
    let entries = [&entry[..]].into_iter();
    let len = Delta::encode(&name("shop"), (10, 20), 2, &signature, entries, &mut out).unwrap();
    let refused = store.publish(&out[..len], &name("shop"), None);
    assert_eq!(code(refused), "bad-catalogue");
}
