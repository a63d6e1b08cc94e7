mod damage;
mod past;

use super::*;
use crate::key::SigningKey;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use nimblenet_core::publication::{Publication, Travel};
use nimblenet_tasklet::{
    EntryFields, Export, NamedImport, Package, PackageFields, TaskletName, Terms, signed_bytes,
};
use redb::StorageBackend;
use redb::backends::InMemoryBackend;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::sync::Mutex;

fn key() -> SigningKey {
    SigningKey::from_secret(&[7; 32])
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A valid module that differs from every other `n`'s.
fn module(n: u32) -> Vec<u8> {
    wat::parse_str(format!(
        "(module (func (export \"run\") (param i32) (result i32) (i32.const {n})))"
    ))
    .unwrap()
}

fn package(full: &str, module: &[u8], callees: &[&str]) -> Vec<u8> {
    let signature = "func(u32) -> u32".parse().unwrap();
    let mut space = [0; 64];
    let terms = Terms::empty()
        .with_exports(&[Export::run(signature)], &mut space)
        .unwrap();
    let import = |callee: &&str| NamedImport {
        name: TaskletName::new(callee).unwrap(),
        export: "run",
        signature,
    };
    let imports: Vec<_> = callees.iter().map(import).collect();
    let fields = PackageFields {
        name: TaskletName::new(full).unwrap(),
        terms,
        imports: &imports,
        module,
    };
    let mut bytes = vec![0; 1024 + module.len()];
    let len = fields.encode(&mut bytes).unwrap();
    bytes.truncate(len);
    bytes
}

/// The delta that publishes `packages` on top of what the store holds.
fn delta(store: &Store, packages: &[Vec<u8>], key: &SigningKey) -> Vec<u8> {
    let packages: Vec<_> = packages
        .iter()
        .map(|bytes| Package::decode(bytes).unwrap())
        .collect();
    let namespace = packages[0].name.namespace;
    let empty = Catalogue::new(namespace, CatalogueLimits::LARGE);
    let catalogue = store.catalogue(&namespace).unwrap_or(&empty);
    let publication = Publication::new(catalogue, &packages, Travel::Plain, |_| None).unwrap();
    publication
        .sign(catalogue, |bytes| key.sign(bytes))
        .unwrap()
}

fn stage(store: &mut Store, module: &[u8]) {
    store.stage(&Digest::of(module), module).unwrap();
}

fn publish(store: &mut Store, full: &str, n: u32) -> Result<Published, Refusal> {
    let module = module(n);
    store.stage(&Digest::of(&module), &module)?;
    let bytes = delta(store, &[package(full, &module, &[])], &key());
    let namespace = TaskletName::new(full).unwrap().namespace;
    store.publish(&bytes, &namespace, Some(key().public()))
}

fn open(dir: &Path) -> Store {
    Store::open(dir, Trust::FirstUse, StoreLimits::DEFAULT).unwrap()
}

fn in_memory(trust: Trust) -> Store {
    let log = Log::with_backend(InMemoryBackend::new()).unwrap();
    Store::with_log(log, None, trust, StoreLimits::DEFAULT).unwrap()
}

fn code(result: Result<Published, Refusal>) -> &'static str {
    result.unwrap_err().code()
}

#[test]
fn what_is_published_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    assert!(publish(&mut store, "shop/add", 1).unwrap().claimed);
    assert_eq!(publish(&mut store, "shop/add", 2).unwrap().epoch, 2);
    publish(&mut store, "lab/add", 1).unwrap();
    drop(store);

    let store = open(dir.path());
    let catalogue = store.catalogue(&name("shop")).unwrap();
    assert_eq!((catalogue.epoch(), catalogue.count()), (2, 1));
    assert_eq!(catalogue.entry(0).unwrap().sequence, 2);
    let archive = store.archive().unwrap();
    assert_eq!(archive.catalogues().count(), 2);
    for n in [1, 2] {
        let digest = Digest::of(&module(n));
        assert_eq!(archive.module(&digest), Some(module(n)));
    }
    let first = nimblenet_tasklet::TaskletRef {
        namespace: NamespaceId::of(&name("shop")),
        number: 0,
        sequence: 1,
    };
    assert_eq!(archive.digest(first), Some(&Digest::of(&module(1))));
}

/// Pseudo-random numbers, the same in every run.
fn numbers(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed;
    move |below| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (state >> 33) as usize % below
    }
}

#[test]
fn a_damaged_database_is_refused_with_its_name_or_serves_what_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    for n in 0..8 {
        publish(&mut store, "shop/add", n).unwrap();
        publish(&mut store, "lab/add", n).unwrap();
    }
    drop(store);
    let file = dir.path().join(log::FILE);
    let whole = std::fs::read(&file).unwrap();
    let used = whole.iter().rposition(|&byte| byte != 0).unwrap();
    let (mut refused, mut served) = (0, 0);
    for seed in 0..300 {
        let mut number = numbers(seed);
        let mut bytes = whole.clone();
        match seed % 3 {
            0 => bytes[number(used)] ^= 1 << number(8),
            1 => bytes.truncate(number(whole.len())),
            _ => {
                let at = number(used);
                let len = number(512).min(bytes.len() - at);
                bytes[at..at + len].fill(number(256) as u8);
            }
        }
        std::fs::write(&file, &bytes).unwrap();
        match Store::open(dir.path(), Trust::FirstUse, StoreLimits::DEFAULT) {
            Ok(mut store) => {
                served += 1;
                // A database that opened can be read and written to.
                let _ = store.archive();
                let _ = publish(&mut store, "shop/add", 100);
            }
            Err(error) => {
                refused += 1;
                let text = error.to_string();
                let is_told = matches!(error, OpenError::Corrupt { .. })
                    && text.contains(log::FILE)
                    && text.contains("restore it from a copy");
                assert!(is_told, "seed {seed}: {text}");
            }
        }
    }
    assert!(
        refused > 100 && served > 10,
        "{refused} refused, {served} served"
    );
}

#[test]
fn the_same_publication_again_changes_nothing() {
    let mut store = in_memory(Trust::FirstUse);
    stage(&mut store, &module(1));
    let bytes = delta(&store, &[package("shop/add", &module(1), &[])], &key());
    let once = store.publish(&bytes, &name("shop"), Some(key().public()));
    assert!(once.unwrap().new);
    let again = store.publish(&bytes, &name("shop"), None).unwrap();
    assert_eq!((again.new, again.epoch), (false, 1));

    let packages = package("shop/add", &module(1), &[]);
    let packages = [Package::decode(&packages).unwrap()];
    let catalogue = store.catalogue(&name("shop")).unwrap();
    let publication = Publication::new(catalogue, &packages, Travel::Plain, |_| None).unwrap();
    assert_eq!((publication.changed(), publication.unchanged()), (0, 1));
}

#[test]
fn a_tasklet_is_withdrawn_once_nothing_calls_it() {
    let mut store = in_memory(Trust::FirstUse);
    stage(&mut store, &module(0));
    stage(&mut store, &module(1));
    let packages = [
        package("shop/chain", &module(0), &["shop/rms"]),
        package("shop/rms", &module(1), &[]),
    ];
    let bytes = delta(&store, &packages, &key());
    let published = store.publish(&bytes, &name("shop"), Some(key().public()));
    assert_eq!(published.unwrap().epoch, 1);
    let withdraw = |store: &mut Store, names: &[Name]| {
        let catalogue = store.catalogue(&name("shop")).unwrap();
        let withdrawal = Publication::withdrawing(catalogue, names).unwrap();
        let bytes = withdrawal.sign(catalogue, |bytes| key().sign(bytes));
        store.publish(&bytes.unwrap(), &name("shop"), None)
    };
    let called = withdraw(&mut store, &[name("rms")]).unwrap_err();
    assert_eq!(called.code(), "still-called");
    assert_eq!(
        called.to_string(),
        "shop/rms is called by shop/chain; withdraw what calls it before or together"
    );
    let called = Refusal::StillCalled {
        name: Box::new("std/rms".parse().unwrap()),
        callers: vec!["shop/chain".parse().unwrap(); 10].into(),
    };
    let called = called.to_string();
    assert!(
        called.contains(" and 2 more; withdraw what calls it before, one"),
        "{called}"
    );
    assert_eq!(store.catalogue(&name("shop")).unwrap().epoch(), 1);
    let both = withdraw(&mut store, &[name("rms"), name("chain")]);
    assert_eq!(both.unwrap().epoch, 2);
    let catalogue = store.catalogue(&name("shop")).unwrap();
    assert!(catalogue.find(&name("rms")).is_none());
    assert_eq!(catalogue.count(), 2, "the numbers stay taken");
}

#[test]
fn a_changed_callee_moves_its_own_entry_and_module_only() {
    let mut store = in_memory(Trust::FirstUse);
    for n in 0..3 {
        stage(&mut store, &module(n));
    }
    let packages = [
        package("shop/chain", &module(0), &["shop/rms"]),
        package("shop/rms", &module(1), &[]),
    ];
    let bytes = delta(&store, &packages, &key());
    let published = store.publish(&bytes, &name("shop"), Some(key().public()));
    assert_eq!(published.unwrap().modules, 2);
    let packages = [packages[0].clone(), package("shop/rms", &module(2), &[])];
    let bytes = delta(&store, &packages, &key());
    let published = store.publish(&bytes, &name("shop"), None).unwrap();
    assert_eq!((published.entries, published.modules), (1, 1));
    let catalogue = store.catalogue(&name("shop")).unwrap();
    let sequences: Vec<_> = catalogue.entries().map(|entry| entry.sequence).collect();
    assert_eq!(sequences, [1, 2]);
}

#[test]
fn att_40_two_publications_of_one_epoch_do_not_both_succeed() {
    let mut store = in_memory(Trust::FirstUse);
    stage(&mut store, &module(1));
    stage(&mut store, &module(2));
    let one = delta(&store, &[package("shop/a", &module(1), &[])], &key());
    let other = delta(&store, &[package("shop/b", &module(2), &[])], &key());
    let shop = name("shop");
    store.publish(&one, &shop, Some(key().public())).unwrap();
    let late = store.publish(&other, &shop, Some(key().public()));
    assert!(matches!(late, Err(Refusal::StaleEpoch { current: 1 })));
    assert_eq!(store.catalogue(&shop).unwrap().count(), 1);
    assert_eq!(store.module(&Digest::of(&module(2))).unwrap(), None);
}

#[test]
fn att_40_other_bytes_under_an_existing_sequence_are_a_conflict() {
    let mut store = in_memory(Trust::FirstUse);
    publish(&mut store, "shop/add", 1).unwrap();
    stage(&mut store, &module(2));
    // The delta is made against an empty catalogue, so that the version gets sequence 1 once more,
    // and then rewritten to follow on epoch 1.
    let empty = in_memory(Trust::FirstUse);
    let forged = delta(&empty, &[package("shop/add", &module(2), &[])], &key());
    let forged = Delta::decode(&forged).unwrap();
    let entries: Vec<_> = forged.entries().map(|entry| entry.encoded()).collect();
    let mut bytes = [0; 512];
    let entries = entries.into_iter();
    let len = Delta::encode(&name("shop"), (1, 2), 1, &[0; 64], entries, &mut bytes).unwrap();
    let refused = store.publish(&bytes[..len], &name("shop"), None);
    assert_eq!(code(refused), "version-exists");
}

#[test]
fn a_claimed_namespace_takes_no_other_key() {
    let mut store = in_memory(Trust::FirstUse);
    publish(&mut store, "shop/add", 1).unwrap();
    let thief = SigningKey::from_secret(&[8; 32]);
    stage(&mut store, &module(2));
    let bytes = delta(&store, &[package("shop/add", &module(2), &[])], &thief);
    let shop = name("shop");
    let named = store.publish(&bytes, &shop, Some(thief.public()));
    assert_eq!(code(named), "unknown-key");
    assert_eq!(code(store.publish(&bytes, &shop, None)), "bad-signature");
    assert_eq!(
        code(store.publish(&bytes, &name("lab"), None)),
        "other-namespace"
    );
}

#[test]
fn configured_keys_close_all_other_namespaces() {
    let keys = [(name("shop"), key().public())];
    let mut store = in_memory(Trust::Keys(keys.into()));
    assert_eq!(code(publish(&mut store, "lab/add", 1)), "unknown-namespace");
    assert!(publish(&mut store, "shop/add", 1).is_ok());
}

#[test]
fn every_flipped_bit_of_a_delta_is_refused_and_changes_nothing() {
    let mut store = in_memory(Trust::FirstUse);
    stage(&mut store, &module(1));
    let good = delta(&store, &[package("shop/add", &module(1), &[])], &key());
    let shop = name("shop");
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let result = store.publish(&bytes, &shop, Some(key().public()));
        assert!(result.is_err(), "bit {bit} was accepted");
        assert!(store.catalogue(&shop).is_none());
    }
    assert!(store.publish(&good, &shop, Some(key().public())).is_ok());
}

#[test]
fn a_delta_without_its_module_or_with_a_wrong_size_is_refused() {
    let mut store = in_memory(Trust::FirstUse);
    let bytes = delta(&store, &[package("shop/add", &module(1), &[])], &key());
    let missing = store.publish(&bytes, &name("shop"), Some(key().public()));
    assert_eq!(code(missing), "missing-module");
    let wrong = store.stage(&Digest::of(b"other"), &module(1));
    assert_eq!(wrong.unwrap_err().code(), "digest-mismatch");
    let large = vec![0; StoreLimits::DEFAULT.module_bytes + 1];
    let large = store.stage(&Digest::of(&large), &large);
    assert_eq!(large.unwrap_err().code(), "too-large");
}

#[test]
fn a_module_that_is_not_valid_is_refused() {
    let mut store = in_memory(Trust::FirstUse);
    for bytes in [&b"not wasm"[..], b"\0asm\x01\0\0\0\xff"] {
        stage(&mut store, bytes);
        let bytes = delta(&store, &[package("shop/add", bytes, &[])], &key());
        let refused = store.publish(&bytes, &name("shop"), Some(key().public()));
        assert_eq!(code(refused), "invalid-module");
    }
}

/// A publication of a module that is compressed with `dictionary`, and what it brings.
fn compressed(catalogue: &Catalogue, dictionary: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let file = package("shop/add", &module(1), &[]);
    let packages = [Package::decode(&file).unwrap()];
    let travel = Travel::Compressed(dictionary);
    let publication = Publication::new(catalogue, &packages, travel, |_| None).unwrap();
    let delta = publication
        .sign(catalogue, |bytes| key().sign(bytes))
        .unwrap();
    (delta, publication.modules().to_vec())
}

#[test]
fn a_compressed_module_is_checked_as_it_runs_and_its_dictionary_never_changes() {
    let mut store = in_memory(Trust::FirstUse);
    let empty = Catalogue::new(name("shop"), CatalogueLimits::LARGE);
    let dictionary = [b"much in common: ", &module(1)[..]].concat();
    let (delta, modules) = compressed(&empty, &dictionary);
    assert_eq!(modules.len(), 2);
    modules.iter().for_each(|module| stage(&mut store, module));
    let published = store.publish(&delta, &name("shop"), Some(key().public()));
    assert_eq!(published.unwrap().modules, 2);

    // The module was compressed with other bytes than the dictionary has.
    let held = store.catalogue(&name("shop")).unwrap().clone();
    let other = [b"something else: ", &module(2)[..], &module(1)[4..]].concat();
    let (delta, modules) = compressed(&held, &other);
    modules.iter().for_each(|module| stage(&mut store, module));
    let refused = store.publish(&delta, &name("shop"), None).unwrap_err();
    assert!(
        ["bad-compression", "invalid-module"].contains(&refused.code()),
        "{refused}"
    );

    // An entry takes the place of the dictionary.
    let signature = "func(u32) -> u32".parse().unwrap();
    let mut space = [0; 64];
    let terms = Terms::empty();
    let terms = terms.with_exports(&[Export::run(signature)], &mut space);
    let fields = EntryFields {
        number: 1,
        name: held.entry(1).unwrap().name,
        sequence: 2,
        digest: Digest::of(&module(1)),
        size: module(1).len() as u32,
        compression: None,
        terms: terms.unwrap(),
        imports: &[],
    };
    let mut entry = [0; 200];
    let len = fields.encode(&mut entry).unwrap();
    let sign = |signature: &[u8; 64]| {
        let mut out = [0; 500];
        let entries = [&entry[..len]].into_iter();
        let delta = Delta::encode(&name("shop"), (1, 2), 2, signature, entries, &mut out);
        out[..delta.unwrap()].to_vec()
    };
    let unsigned = sign(&[0; 64]);
    let root = held.root_after(&Delta::decode(&unsigned).unwrap()).unwrap();
    let signature = key().sign(&signed_bytes(&root));
    stage(&mut store, &module(1));
    let refused = store.publish(&sign(&signature), &name("shop"), None);
    assert_eq!(code(refused), "bad-compression");
}

#[test]
fn an_import_without_a_matching_export_is_refused() {
    let mut store = in_memory(Trust::FirstUse);
    stage(&mut store, &module(1));
    // Entry 5 does not exist: the publisher resolved the name wrongly.
    let bytes = package("shop/chain", &module(1), &["lab/rms"]);
    let packages = [Package::decode(&bytes).unwrap()];
    let catalogue = Catalogue::new(name("shop"), CatalogueLimits::LARGE);
    let publication = Publication::new(&catalogue, &packages, Travel::Plain, |_| Some(5)).unwrap();
    let bytes = publication
        .sign(&catalogue, |bytes| key().sign(bytes))
        .unwrap();
    publish(&mut store, "lab/rms", 2).unwrap();
    let refused = store.publish(&bytes, &name("shop"), Some(key().public()));
    assert_eq!(code(refused), "bad-import");
    let unknown = Publication::new(&catalogue, &packages, Travel::Plain, |_| None).unwrap_err();
    assert_eq!(unknown.code(), "bad-import");
}

/// A disk in memory that refuses every write, growth and flush once its allowance is used up.
#[derive(Clone, Debug)]
struct Disk {
    bytes: Arc<Mutex<Vec<u8>>>,
    allowance: Arc<AtomicU64>,
}

impl Disk {
    fn new(bytes: Vec<u8>, allowance: u64) -> Self {
        Self {
            bytes: Arc::new(Mutex::new(bytes)),
            allowance: Arc::new(AtomicU64::new(allowance)),
        }
    }

    fn spend(&self) -> io::Result<()> {
        let spend = |left: u64| left.checked_sub(1);
        self.allowance
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, spend)
            .map(drop)
            .map_err(|_| io::Error::from(io::ErrorKind::StorageFull))
    }

    fn content(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.lock().unwrap().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.bytes.lock().unwrap();
        let from = offset as usize;
        let part = bytes.get(from..from + out.len());
        out.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.spend()?;
        self.bytes.lock().unwrap().resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.spend()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.spend()?;
        let from = offset as usize;
        self.bytes.lock().unwrap()[from..from + data.len()].copy_from_slice(data);
        Ok(())
    }
}

fn on_disk(disk: &Disk) -> Result<Store, OpenError> {
    let log = Log::with_backend(disk.clone()).map_err(OpenError::database)?;
    Store::with_log(log, None, Trust::FirstUse, StoreLimits::DEFAULT)
}

#[test]
fn att_40_a_disk_that_fails_at_any_write_leaves_the_old_or_the_new_epoch() {
    let healthy = Disk::new(Vec::new(), u64::MAX);
    let mut store = on_disk(&healthy).unwrap();
    publish(&mut store, "shop/add", 1).unwrap();
    drop(store);
    let before = healthy.content();

    let (mut failures, mut k) = (0, 0);
    loop {
        let disk = Disk::new(before.clone(), u64::MAX);
        let mut store = on_disk(&disk).unwrap();
        disk.allowance.store(k, Ordering::SeqCst);
        let result = publish(&mut store, "shop/add", 2);
        let shop = name("shop");
        if let Err(refusal) = &result {
            failures += 1;
            assert_eq!(refusal.code(), "storage-failed", "write {k}");
            assert_eq!(store.catalogue(&shop).unwrap().epoch(), 1, "write {k}");
        }
        // The process dies with the disk still refusing, then comes back to a healthy one.
        drop(store);
        let store = on_disk(&Disk::new(disk.content(), u64::MAX)).unwrap();
        let epoch = store.catalogue(&shop).unwrap().epoch();
        assert!(epoch == 1 || epoch == 2, "write {k}");
        assert_eq!(store.archive().unwrap().catalogues().count(), 1);
        if result.is_ok() {
            assert_eq!(epoch, 2, "write {k}");
            break;
        }
        k += 1;
    }
    assert!(failures > 3, "only {failures} writes were made to fail");
}

#[test]
fn after_a_failed_write_the_store_finds_back_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    publish(&mut store, "shop/add", 1).unwrap();
    let archive = store.archive().unwrap();
    store.failed = true;
    assert_eq!(publish(&mut store, "shop/add", 2).unwrap().epoch, 2);
    // Who serves modules reads from the database that was opened again.
    assert_eq!(archive.module(&Digest::of(&module(1))), Some(module(1)));
}

#[test]
fn modules_are_served_though_the_database_cannot_be_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    publish(&mut store, "shop/add", 1).unwrap();
    let archive = store.archive().unwrap();
    // Another file is in its place, and somebody has locked that one.
    let (file, copy) = (dir.path().join(log::FILE), dir.path().join("copy"));
    std::fs::copy(&file, &copy).unwrap();
    std::fs::rename(&copy, &file).unwrap();
    let locked = std::fs::File::open(&file).unwrap();
    locked.lock().unwrap();
    store.failed = true;
    let refused = publish(&mut store, "shop/add", 2);
    assert!(matches!(refused, Err(Refusal::Storage(_))), "{refused:?}");
    assert_eq!(archive.module(&Digest::of(&module(1))), Some(module(1)));

    locked.unlock().unwrap();
    assert_eq!(publish(&mut store, "shop/add", 2).unwrap().epoch, 2);
    for n in [1, 2] {
        assert_eq!(archive.module(&Digest::of(&module(n))), Some(module(n)));
    }
}

#[test]
fn an_archive_reads_modules_from_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let limits = StoreLimits {
        epochs: 1,
        ..StoreLimits::DEFAULT
    };
    let mut store = Store::open(dir.path(), Trust::FirstUse, limits).unwrap();
    publish(&mut store, "shop/add", 1).unwrap();
    let archive = store.archive().unwrap();
    let digest = Digest::of(&module(1));
    assert_eq!(archive.module(&digest), Some(module(1)));
    assert!(archive.names(&digest));
    // The database makes room: the archive has nothing of its own.
    publish(&mut store, "shop/add", 2).unwrap();
    assert_eq!(store.take_gone(), [digest]);
    assert_eq!(archive.module(&digest), None);
}

#[test]
fn att_64_a_second_process_on_the_directory_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let _held = open(dir.path());
    let second = Store::open(dir.path(), Trust::FirstUse, StoreLimits::DEFAULT);
    let message = second.unwrap_err().to_string();
    assert!(message.contains("another node or registry uses "));
}

#[test]
fn att_61_a_damaged_store_is_not_served() {
    let disk = Disk::new(Vec::new(), u64::MAX);
    let mut store = on_disk(&disk).unwrap();
    publish(&mut store, "shop/add", 1).unwrap();
    let other = Record {
        namespace: &name("shop"),
        epoch: 1,
        delta: b"not a delta",
        key: &key().public(),
        modules: &[],
        folded: &Folded::default(),
    };
    store.log.append(&other).unwrap();
    drop(store);
    let damaged = on_disk(&disk).unwrap_err();
    assert!(matches!(damaged, OpenError::Damaged { .. }));
}

/// The variable that tells the child the directory of the store.
const CHILD: &str = "NIMBLENET_TEST_STORE";

/// No test by itself: publishes without end and prints each publication, until it is killed.
#[test]
fn child_that_publishes_until_it_dies() {
    let Some(dir) = std::env::var_os(CHILD) else {
        return;
    };
    let mut store = open(Path::new(&dir));
    let shop = name("shop");
    let mut stdout = io::stdout();
    loop {
        let epoch = store.catalogue(&shop).map_or(0, Catalogue::epoch);
        publish(&mut store, "shop/add", epoch + 1).unwrap();
        writeln!(stdout, "epoch {}", epoch + 1).unwrap();
    }
}

#[test]
fn att_40_a_registry_killed_while_publishing_keeps_what_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let shop = name("shop");
    let mut killed = 0;
    // The delay changes in small steps, so that the kill hits other points of a publication.
    for round in 0..12_u32 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "store::tests::child_that_publishes_until_it_dies",
            ])
            .args(["--nocapture", "--test-threads=1"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledged = 0;
        let mut seen = 0;
        while seen <= round % 4 {
            let line = lines.next().expect("the child publishes").unwrap();
            if let Some(epoch) = line.strip_prefix("epoch ") {
                acknowledged = epoch.parse().unwrap();
                seen += 1;
            }
        }
        std::thread::sleep(Duration::from_micros(u64::from(round * 397 % 2000)));
        child.kill().unwrap();
        if child.wait().unwrap().signal() == Some(9) {
            killed += 1;
        }
        for line in lines.map_while(Result::ok) {
            let epoch = line.strip_prefix("epoch ").and_then(|n| n.parse().ok());
            acknowledged = epoch.unwrap_or(acknowledged);
        }
        let store = open(dir.path());
        let epoch = store.catalogue(&shop).unwrap().epoch();
        assert!(
            epoch == acknowledged || epoch == acknowledged + 1,
            "round {round}: {acknowledged} was acknowledged, {epoch} is there"
        );
        let archive = store.archive().expect("every module is there and whole");
        assert!(archive.module(&Digest::of(&module(epoch))).is_some());
        assert!(archive.module(&Digest::of(&module(epoch + 1))).is_none());
    }
    assert_eq!(killed, 12, "the kill must have hit a running child");
}
