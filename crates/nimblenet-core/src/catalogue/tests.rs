use super::*;
use alloc::vec;
use nimblenet_tasklet::{EntryFields, Terms};

fn entry(number: u16, name: &str, sequence: u16) -> Vec<u8> {
    version(number, name, sequence, false)
}

/// An entry whose encoding is four bytes longer if it is `long`.
fn version(number: u16, name: &str, sequence: u16, long: bool) -> Vec<u8> {
    let mut out = vec![0; 256];
    let fields = EntryFields {
        number,
        name: Name::new(name).unwrap(),
        sequence,
        digest: Digest::of(&[sequence as u8]),
        size: if long { 70_000 } else { 10 },
        compression: None,
        terms: Terms::empty(),
        imports: &[],
    };
    let len = fields.encode(&mut out).unwrap();
    out.truncate(len);
    out
}

fn delta(from: u32, to: u32, count: u16, entries: &[Vec<u8>]) -> Vec<u8> {
    let mut out = vec![0; 4096];
    let name = Name::new("shop").unwrap();
    let entries = entries.iter().map(Vec::as_slice);
    let len = Delta::encode(&name, (from, to), count, &[7; 64], entries, &mut out).unwrap();
    out.truncate(len);
    out
}

fn apply(held: &mut Catalogue, delta: &[u8], keep_replaced: bool) -> Result<(), BadDelta> {
    let delta = Delta::decode(delta).unwrap();
    let root = held.root_after(&delta)?;
    held.apply(&delta, &root, keep_replaced)
}

fn empty() -> Catalogue {
    Catalogue::new(Name::new("shop").unwrap(), CatalogueLimits::SMALL)
}

#[test]
fn a_delta_moves_one_entry_and_leaves_the_others() {
    let mut held = empty();
    let first = delta(0, 1, 2, &[entry(0, "rms", 1), entry(1, "peak", 1)]);
    apply(&mut held, &first, false).unwrap();
    let second = delta(1, 2, 2, &[entry(0, "rms", 2)]);
    apply(&mut held, &second, false).unwrap();
    assert_eq!((held.epoch(), held.count()), (2, 2));
    assert_eq!(held.named(&Name::new("rms").unwrap()).unwrap().sequence, 2);
    assert_eq!(held.entry(1).unwrap().name.as_str(), "peak");

    let mut out = vec![0; 4096];
    let len = held.encode_delta(1, &mut out).unwrap();
    assert_eq!(Delta::decode(&out[..len]).unwrap().entries().count(), 1);
    assert_eq!(held.encode_delta(2, &mut out), None);
}

#[test]
fn the_root_after_a_delta_is_the_root_of_the_whole() {
    let mut stepwise = empty();
    let first = delta(0, 1, 2, &[entry(0, "rms", 1), entry(1, "peak", 1)]);
    apply(&mut stepwise, &first, false).unwrap();
    let second = delta(1, 2, 3, &[entry(0, "rms", 2), entry(2, "mean", 1)]);
    let second = Delta::decode(&second).unwrap();
    let whole = delta(
        0,
        2,
        3,
        &[entry(0, "rms", 2), entry(1, "peak", 1), entry(2, "mean", 1)],
    );
    let whole = Delta::decode(&whole).unwrap();
    assert_eq!(stepwise.root_after(&second), empty().root_after(&whole));
}

#[test]
fn att_32_older_and_rewritten_entries_are_refused() {
    let mut held = empty();
    let first = delta(0, 5, 2, &[entry(0, "rms", 3), entry(1, "peak", 1)]);
    apply(&mut held, &first, false).unwrap();
    let refused = |bytes: &[u8]| held.root_after(&Delta::decode(bytes).unwrap()).unwrap_err();
    assert_eq!(refused(&first), BadDelta::NotNewer);
    assert_eq!(refused(&delta(4, 5, 2, &[])), BadDelta::NotNewer);
    assert_eq!(refused(&delta(6, 7, 2, &[])), BadDelta::Gap);
    assert_eq!(refused(&delta(5, 6, 1, &[])), BadDelta::Count);
    assert_eq!(
        refused(&delta(5, 6, 4, &[entry(3, "x", 1)])),
        BadDelta::Incomplete
    );
    let rewritten = BadDelta::Rewritten { number: 0 };
    assert_eq!(refused(&delta(5, 6, 2, &[entry(0, "rms", 2)])), rewritten);
    assert_eq!(refused(&delta(5, 6, 2, &[entry(0, "other", 4)])), rewritten);
}

#[test]
fn a_running_job_keeps_the_entries_of_its_epoch() {
    let mut held = empty();
    let first = delta(0, 1, 1, &[entry(0, "rms", 1)]);
    apply(&mut held, &first, true).unwrap();
    for epoch in 2..4 {
        let next = delta(epoch - 1, epoch, 1, &[entry(0, "rms", epoch as u16)]);
        apply(&mut held, &next, true).unwrap();
    }
    let sequence_at = |held: &Catalogue, epoch| held.entry_at(0, epoch).unwrap().sequence;
    assert_eq!([1, 2, 3].map(|epoch| sequence_at(&held, epoch)), [1, 2, 3]);
    held.forget_before(2);
    assert_eq!([1, 2, 3].map(|epoch| sequence_at(&held, epoch)), [2, 2, 3]);
}

#[test]
fn a_region_that_is_full_takes_every_delta_whose_entries_fit_it() {
    let first = [version(0, "rms", 1, false), version(1, "peak", 1, true)];
    let bytes = first.iter().map(|it| Entries::needed(it.len())).sum();
    let name = Name::new("shop").unwrap();
    let mut held = Catalogue::on(Disk::allocate(bytes), name, CatalogueLimits::SMALL);
    let first = delta(0, 1, 2, &first);
    apply(&mut held, &first, true).unwrap();

    // One entry grows by as much as the other shrinks; the replaced ones have no room beside them.
    let swapped = [version(0, "rms", 2, true), version(1, "peak", 2, false)];
    let second = delta(1, 2, 2, &swapped);
    apply(&mut held, &second, true).unwrap();
    let encoded = |number| held.entry(number).unwrap().encoded().to_vec();
    assert_eq!([encoded(0), encoded(1)], swapped);

    let more = delta(2, 3, 2, &[version(1, "peak", 3, true)]);
    let refused = apply(&mut held, &more, true);
    assert_eq!(refused, Err(BadDelta::TooLarge));
    assert_eq!((held.epoch(), held.entry(1).unwrap().sequence), (2, 2));
}

#[test]
fn fault_04_a_newer_version_of_everything_is_taken_whatever_the_names_were() {
    let mut held = empty();
    let first = [entry(0, "rms", 4), entry(1, "peak", 2), entry(2, "mean", 1)];
    apply(&mut held, &delta(0, 4, 3, &first), true).unwrap();
    let refused = |held: &mut Catalogue, count, entries: &[Vec<u8>]| {
        apply(held, &delta(0, 9, count, entries), true).unwrap_err()
    };
    // Not all of it, not newer, or a part left out.
    let rewritten = BadDelta::Rewritten { number: 0 };
    let part = [entry(0, "peak", 9), entry(1, "rms", 9)];
    assert_eq!(refused(&mut held, 3, &part), rewritten);
    let older = [entry(0, "peak", 4), entry(1, "rms", 9), entry(2, "mean", 9)];
    assert_eq!(refused(&mut held, 3, &older), rewritten);
    assert_eq!(refused(&mut held, 2, &part[..1]), BadDelta::Count);

    apply(&mut held, &delta(0, 9, 2, &part), true).unwrap();
    assert_eq!((held.epoch(), held.count()), (9, 2));
    let number = |name| held.named(&Name::new(name).unwrap()).map(|it| it.number);
    assert_eq!(
        ["peak", "rms", "mean"].map(number),
        [Some(0), Some(1), None]
    );
    assert_eq!(
        held.entry_at(0, 8),
        None,
        "jobs of before know other numbers"
    );
    assert_eq!(held.entry_at(0, 9).unwrap().sequence, 9);

    let mut whole = empty();
    apply(&mut whole, &delta(0, 9, 2, &part), false).unwrap();
    assert_eq!((held.root(), held.epoch()), (whole.root(), whole.epoch()));
    assert_ne!(held.root(), 0);
}
