//! Disks that fail, and files that are not as they were written.

use super::*;

#[test]
fn fault_10_the_first_publication_cut_at_every_write_is_whole_or_not_there() {
    let empty = Disk::new(Vec::new(), u64::MAX);
    drop(on_disk(&empty).unwrap());
    let (mut failures, mut k) = (0, 0);
    loop {
        let disk = Disk::new(empty.content(), u64::MAX);
        let mut store = on_disk(&disk).unwrap();
        disk.allowance.store(k, Ordering::SeqCst);
        let result = publish(&mut store, "shop/add", 1);
        drop(store);
        let store = on_disk(&Disk::new(disk.content(), u64::MAX)).unwrap();
        let held = store.catalogue(&name("shop")).map(Catalogue::epoch);
        let archived = store.archive().unwrap().catalogues().count();
        assert_eq!(archived, held.iter().count(), "write {k}");
        assert!(held.is_none_or(|epoch| epoch == 1), "write {k}");
        match result {
            Ok(_) => {
                assert_eq!(held, Some(1), "write {k}");
                break;
            }
            Err(refusal) => assert_eq!(refusal.code(), "storage-failed", "write {k}"),
        }
        failures += 1;
        k += 1;
    }
    assert!(failures > 3, "only {failures} writes were made to fail");
}

#[test]
fn a_cut_file_is_refused_with_the_way_back_and_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    publish(&mut store, "shop/add", 1).unwrap();
    drop(store);
    let file = dir.path().join(log::FILE);
    let whole = std::fs::read(&file).unwrap();
    for len in (0..whole.len())
        .step_by(whole.len() / 64)
        .chain([1, 100, 511, 512, 4096])
    {
        std::fs::write(&file, &whole[..len]).unwrap();
        let opened = Store::open(dir.path(), Trust::FirstUse, StoreLimits::DEFAULT);
        let Err(error) = opened else {
            panic!("{len} of {} bytes are a registry", whole.len());
        };
        let said = error.to_string();
        assert!(said.contains("registry.redb is damaged: "), "{len}: {said}");
        assert!(said.contains("restore it from a copy"), "{len}: {said}");
    }
    std::fs::write(&file, &whole).unwrap();
    assert!(open(dir.path()).catalogue(&name("shop")).is_some());
}

#[test]
fn a_registry_that_was_killed_when_it_made_its_file_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("registry.redb.new"), b"redb").unwrap();
    let mut store = open(dir.path());
    publish(&mut store, "shop/add", 1).unwrap();
}

/// A generator of numbers for damage, which is the same in each run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

#[test]
fn att_61_150_damaged_files_are_refused_with_a_sentence_or_serve_what_was_published() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    for n in 1..=25 {
        publish(&mut store, "shop/add", n).unwrap();
        publish(&mut store, &format!("lab/add{n}"), n).unwrap();
    }
    drop(store);
    let file = dir.path().join(log::FILE);
    let whole = std::fs::read(&file).unwrap();
    let mut chance = Chance(0x5eed);
    let (mut refused, mut served) = (0, 0);
    for round in 0..150 {
        let mut bytes = whole.clone();
        match round % 5 {
            // Flipped bits, a page of zeros, a page of noise, one page in another's place, a cut.
            0 => {
                for _ in 0..=chance.below(64) {
                    let at = chance.below(bytes.len());
                    bytes[at] ^= 1 << chance.below(8);
                }
            }
            1 | 2 => {
                let page = chance.below(bytes.len() / 4096) * 4096;
                for byte in &mut bytes[page..page + 4096] {
                    *byte = if round % 5 == 1 {
                        0
                    } else {
                        chance.below(256) as u8
                    };
                }
            }
            3 => {
                let pages = bytes.len() / 4096;
                let (from, to) = (chance.below(pages) * 4096, chance.below(pages) * 4096);
                bytes.copy_within(from..from + 4096, to);
            }
            _ => bytes.truncate(chance.below(whole.len())),
        }
        std::fs::write(&file, &bytes).unwrap();
        let opened = Store::open(dir.path(), Trust::FirstUse, StoreLimits::DEFAULT);
        let archive = opened.and_then(|store| {
            let archive = store.archive()?;
            // What is there is all that was published.
            assert_eq!(store.namespaces().count(), 2, "round {round}");
            for (_, _, catalogue) in store.namespaces() {
                assert_eq!(catalogue.epoch(), 25, "round {round}");
            }
            Ok(archive)
        });
        match archive {
            Ok(_) => served += 1,
            Err(error) => {
                refused += 1;
                let text = error.to_string();
                assert!(
                    !text.contains('\n') && text.contains("registry.redb"),
                    "{text}"
                );
            }
        }
    }
    assert!(
        refused > 50 && served > 0,
        "{refused} refused, {served} served"
    );
}
