use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::*;
use crate::node::stage::{NEAR, REGISTRY, Stage, id_of};

fn note(namespace: &str, epoch: u32, root: u32) -> EpochNote {
    EpochNote {
        namespace: id_of(namespace),
        epoch,
        root,
    }
}

/// Hears a hello of the registry with these notes, while the node holds `held`; whether it is then to tell
/// the registry what it holds.
fn hear(stage: &mut Stage, part: &mut Contradictions, said: &[EpochNote], held: EpochNote) -> bool {
    let mut space = [0; HELLO_BYTES];
    let hello = Hello::new([].into_iter(), said.iter().copied(), 0, &mut space);
    part.handle_registry(&mut stage.post(), REGISTRY, &hello, [held].into_iter())
}

#[test]
fn fault_04_a_registry_that_is_behind_is_told_of_once_a_minute() {
    let mut stage = Stage::new();
    let mut part = Contradictions::new(false, 2);
    let held = note("shop", 5, 7);
    for said in [note("shop", 5, 7), note("shop", 6, 1)] {
        assert!(!hear(&mut stage, &mut part, &[said], held));
    }
    assert_eq!(part.poll_news(), None, "it is not behind");
    for seconds in 0..130 {
        let said = note("shop", 4, 9);
        let begins = hear(&mut stage, &mut part, &[said], held);
        assert_eq!(begins, seconds == 0, "{seconds} s");
        let news = part.poll_news();
        let expected = Contradiction {
            node: REGISTRY,
            note: said,
            held: 5,
        };
        assert_eq!(news, (seconds % 60 == 0).then_some(expected), "{seconds} s");
        stage.pass(Duration::from_secs(1));
    }
    assert_eq!(stage.ground.counters.contradictions, 130);
}

#[test]
fn fault_04_a_registry_that_has_nothing_left_is_behind() {
    let mut stage = Stage::new();
    let held = note("shop", 5, 7);
    let others = ["a", "b", "c", "d"].map(|name| note(name, 1, 1));
    for (said, behind) in [(&others[..], false), (&others[..3], true), (&[], true)] {
        let mut part = Contradictions::new(false, 2);
        hear(&mut stage, &mut part, said, held);
        let news = part.poll_news().map(|news| news.note.epoch);
        assert_eq!(news, behind.then_some(0), "{} notes", said.len());
    }
}

#[test]
fn fault_04_the_same_epoch_with_another_root_is_told_whoever_holds_it() {
    let mut stage = Stage::new();
    for judge in [false, true] {
        let mut part = Contradictions::new(judge, 2);
        let own = note("shop", 5, 7);
        for (note, told) in [
            (note("shop", 5, 7), false),
            (note("shop", 4, 8), false),
            (note("shop", 6, 8), judge),
            (note("shop", 5, 8), !judge),
        ] {
            part.handle_note(&mut stage.post(), NEAR, note, (own, judge));
            assert_eq!(part.poll_news().is_some(), told, "{note:?} {judge}");
        }
    }
}

#[test]
fn each_namespace_is_told_of_and_more_than_there_is_room_for_are_counted_only() {
    let mut stage = Stage::new();
    let mut part = Contradictions::new(true, 0);
    let names: Vec<String> = (0..40).map(|number| format!("ns{number}")).collect();
    let mut told = 0;
    for name in &names {
        let own = note(name, 1, 1);
        part.handle_note(&mut stage.post(), NEAR, note(name, 2, 2), (own, true));
        told += usize::from(part.poll_news().is_some());
    }
    assert_eq!(
        (told, stage.ground.counters.contradictions),
        (NAMESPACES, 40)
    );
}

/// How many hellos of a registry to everybody follow on so many of its hellos.
fn floods(stage: &mut Stage, part: &mut Contradictions, hellos: usize) -> usize {
    let held = [note("shop", 5, 7)];
    let mut floods = 0;
    for _ in 0..hellos {
        part.handle_hello(&mut stage.post(), held.iter().copied());
        while let Some(frame) = stage.sent() {
            let Message::Hello(hello) = frame.message else {
                panic!("{frame:?} is no hello");
            };
            assert!(frame.ttl > 0 && hello.epochs().eq(held));
            floods += 1;
        }
    }
    floods
}

#[test]
fn fault_04_a_registry_tells_everybody_while_somebody_contradicts() {
    let mut stage = Stage::new();
    let mut node = Contradictions::new(false, 2);
    assert_eq!(floods(&mut stage, &mut node, 10), 0);
    let mut part = Contradictions::new(true, 0);
    assert_eq!(floods(&mut stage, &mut part, 10), 0);
    let own = note("shop", 5, 7);
    part.handle_note(&mut stage.post(), NEAR, note("shop", 6, 1), (own, true));
    assert_eq!(floods(&mut stage, &mut part, 600), 600);
    stage.pass(DISPUTED);
    assert_eq!(floods(&mut stage, &mut part, 10), 0);
}
