use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use nimblenet_tasklet::{NamespaceId, NodeId, Scalar, TaskletRef};
use proptest::prelude::*;

use super::*;
use crate::flow::{FlowId, Stages};

const SINK: NodeId = NodeId(1);
const NOW: Instant = Instant::ZERO;

fn stage(kind: StageKind, count: u16) -> Stage {
    let tasklet = TaskletRef {
        namespace: NamespaceId(7),
        number: 0,
        sequence: 1,
    };
    Stage {
        kind,
        count,
        tasklet,
    }
}

fn applicable() -> Applicable {
    Applicable {
        name: "std/it".parse().unwrap(),
        state: Some(Type::Scalar(Scalar::U32)),
    }
}

/// Operators and the items that they keep.
struct Bench {
    operators: Operators,
    items: Items,
    stage: Stage,
    unit: u16,
    number: u32,
}

impl Bench {
    fn new(kind: StageKind, count: u16, unit: u16) -> Self {
        Self {
            operators: Operators::new(2, 64),
            items: Items::new(64, 64),
            stage: stage(kind, count),
            unit,
            number: 0,
        }
    }

    fn parcel(&self, run: u32, (first, last): (u32, u32), oldest: u32, kept: Kept) -> Parcel {
        Parcel {
            course: Course {
                flow: FlowId(5),
                source: NodeId(3),
                run,
            },
            sink: SINK,
            first,
            last,
            oldest,
            unit: self.unit,
            at_sink: false,
            stages: Stages::new([self.stage]).unwrap(),
            kept,
        }
    }

    fn poll(&mut self, now: Instant, number: u32, args: &mut Vec<u8>) -> Option<Step> {
        let items = &mut self.items;
        let mut turn = Turn {
            items,
            number,
            args,
        };
        self.operators.poll(now, &mut turn)
    }

    /// Offers an item with this number, or without one.
    fn offer(&mut self, run: u32, range: (u32, u32), oldest: u32, value: Option<u8>) -> Offered {
        let kept = match value {
            Some(value) => Kept::Value(self.items.put(&[value]).unwrap()),
            None => Kept::Nothing,
        };
        let parcel = self.parcel(run, range, oldest, kept);
        let (items, size) = (&mut self.items, (100, 2));
        let offered = self
            .operators
            .offer(NOW, items, parcel, self.stage, applicable(), size);
        if offered == Offered::NoRoom {
            self.items.release(kept);
        }
        offered
    }

    /// Lets operators work at `now`: the tasklet adds up all small numbers that it gets, and keeps odd ones
    /// as a filter. Returns what the outputs cover, and their numbers.
    fn work(&mut self, now: Instant) -> Vec<((u32, u32), Option<u8>)> {
        let mut args = Vec::with_capacity(256);
        let mut given = Vec::new();
        loop {
            let step = match self.poll(now, self.number, &mut args) {
                Some(Step::Run { number, .. }) => {
                    self.number += 1;
                    let numbers = args.iter().filter(|byte| **byte < 24);
                    let sum: u8 = numbers.copied().sum();
                    let result = match self.stage.kind {
                        StageKind::Filter => [0x81, 0xf4 + sum % 2],
                        StageKind::Map | StageKind::Window | StageKind::Accumulate => {
                            [0x81, sum % 24]
                        }
                    };
                    let ran = Ran::Done(&result);
                    let (items, which) = (&mut self.items, (number, false));
                    self.operators
                        .handle_ran(now, items, which, ran, &mut Vec::new())
                }
                Some(step) => Some(step),
                None => break,
            };
            if let Some(Step::Give { parcel, again }) = step {
                self.operators.note_given(&parcel, (40, 2), again);
                let value = match parcel.kept {
                    Kept::Value(value) => Some(self.items.get(value)[0]),
                    Kept::Nothing => None,
                    Kept::Failed(fault) => panic!("{fault}"),
                };
                self.items.release(parcel.kept);
                given.push(((parcel.first, parcel.last), value));
            }
        }
        self.operators.assert_invariants();
        given
    }
}

proptest! {
    /// Whatever comes late, twice, in another order, or with what was dropped told in another way: the sink
    /// gets for each block what its items add up to.
    #[test]
    fn a_block_is_the_same_whatever_order_its_items_come_in(
        window: bool, count in 1u16..6, unit in 1u16..4,
        values in proptest::collection::vec(proptest::option::of(0u8..4), 60),
        chances in proptest::collection::vec(any::<(u16, bool, bool)>(), 400),
    ) {
        let kind = if window { StageKind::Window } else { StageKind::Accumulate };
        let mut bench = Bench::new(kind, count, unit);
        let (unit, count) = (u32::from(unit), u32::from(count));
        let span = unit * count;
        let blocks = 60 / count;
        let mut chances = chances.into_iter().cycle();
        let mut arrived: BTreeMap<u32, (u32, Option<u8>)> = BTreeMap::new();
        let mut oldest = 0;
        // Each round the source sends what the sink lacks of two blocks.
        for _ in 0..400 {
            if oldest == blocks * span {
                break;
            }
            let begin = oldest / unit;
            let end = (begin + 2 * count).min(blocks * count);
            let mut sent = Vec::new();
            let mut first = begin;
            for at in begin..end {
                let (order, lost, joins) = chances.next().unwrap();
                let value = values[at as usize];
                // What was dropped may be told with the next item.
                if value.is_none() && joins && at + 1 < end {
                    continue;
                }
                let range = (first * unit, at * unit + unit - 1);
                first = at + 1;
                if !lost || order % 3 == 0 {
                    sent.push((order, range, value));
                }
                if order % 7 == 0 {
                    sent.push((order / 2, range, value));
                }
            }
            sent.sort_by_key(|(order, ..)| *order);
            for (_, range, value) in sent {
                prop_assert_eq!(bench.offer(1, range, oldest, value), Offered::Taken);
                for ((first, last), value) in bench.work(NOW) {
                    arrived.insert(last, (first, value));
                }
            }
            while let Some((_, (first, _))) = arrived.range(oldest..).next() && *first <= oldest {
                oldest = arrived.range(oldest..).next().map_or(oldest, |(last, _)| last + 1);
            }
        }
        prop_assert_eq!(oldest, blocks * span, "all blocks arrive");
        for block in 0..blocks {
            let own = &values[(block * count) as usize..((block + 1) * count) as usize];
            let sum = own.iter().flatten().copied().reduce(|sum, value| sum + value);
            let found = arrived.get(&((block + 1) * span - 1));
            let found = found.and_then(|(_, value)| *value);
            prop_assert_eq!(found, sum, "block {}", block);
        }
    }
}

#[test]
fn what_a_filter_drops_is_told_with_the_next_item_or_after_a_time() {
    let mut bench = Bench::new(StageKind::Filter, 1, 1);
    for (at, value) in [2, 4, 5, 6].into_iter().enumerate() {
        bench.offer(1, (at as u32, at as u32), 0, Some(value));
    }
    assert_eq!(bench.work(NOW), [((0, 2), Some(5))]);
    let due = bench.operators.poll_timeout();
    assert_eq!(due, Some(NOW + DROPPED_FOR));
    assert_eq!(bench.work(NOW + DROPPED_FOR), [((3, 3), None)]);
    assert_eq!(bench.items.count(), 0);
    // Or after sixteen.
    for at in 4..20 {
        bench.offer(1, (at, at), 0, Some(2));
        let told = if at == 19 {
            &[((4, 19), None)][..]
        } else {
            &[]
        };
        assert_eq!(bench.work(NOW), told, "{at}");
    }
}

#[test]
fn a_range_that_was_dropped_covers_whole_blocks_too() {
    for kind in [StageKind::Window, StageKind::Accumulate] {
        let mut bench = Bench::new(kind, 4, 1);
        bench.offer(1, (0, 0), 0, Some(1));
        // The items up to 13 were dropped.
        bench.offer(1, (1, 14), 0, Some(3));
        bench.offer(1, (15, 15), 0, Some(4));
        let given = bench.work(NOW);
        let all = [((0, 3), Some(1)), ((4, 15), Some(7))];
        // The first block has an input of its own, the others not.
        assert_eq!(given, all, "{kind:?}");
        assert_eq!(bench.items.count(), 0);
    }
}

#[test]
fn there_is_room_for_two_outputs_and_what_comes_too_early_makes_way() {
    let mut bench = Bench::new(StageKind::Window, 3, 1);
    for at in (1..3).chain(4..9) {
        assert_eq!(bench.offer(1, (at, at), 0, Some(1)), Offered::Taken);
    }
    assert_eq!(bench.items.count(), 6, "one came too early");
    bench.offer(1, (0, 0), 0, Some(1));
    assert_eq!(bench.items.count(), 6, "another made way");
    assert_eq!(bench.work(NOW), [((0, 2), Some(3))]);
}

#[test]
fn items_that_come_again_after_the_output_of_their_block_hold_up_no_other() {
    for kind in [StageKind::Window, StageKind::Accumulate] {
        let mut bench = Bench::new(kind, 4, 1);
        let mut come = |items: &[u32]| {
            let mut given = Vec::new();
            for item in items {
                bench.offer(1, (*item, *item), 0, Some(1));
                given.extend(bench.work(NOW));
            }
            given
        };
        let (first, second) = (((0, 3), Some(4)), ((4, 7), Some(4)));
        // The first items are lost, and all are sent again.
        assert_eq!(come(&[2, 3, 5]), []);
        assert_eq!(come(&[0, 1]), [first]);
        // The rest of what is sent again is late for its block.
        assert_eq!(come(&[2, 3, 4, 5, 6, 7]), [second]);
        // If the sink lacks both, it gets both.
        assert_eq!(come(&[0, 1]), [first]);
        assert_eq!(come(&[2, 3, 4, 5, 6, 7]), [second]);
        // Even what has begun again holds up nothing.
        assert_eq!(come(&[0, 8, 9, 10, 11]), [((8, 11), Some(4))]);
    }
}

#[test]
fn an_operator_without_room_lets_items_pass_until_another_one_is_idle() {
    let mut bench = Bench::new(StageKind::Window, 16, 1);
    for (flow, offered) in [
        (1, Offered::Taken),
        (2, Offered::Taken),
        (3, Offered::NoRoom),
    ] {
        let kept = Kept::Value(bench.items.put(&[1]).unwrap());
        let mut parcel = bench.parcel(1, (0, 0), 0, kept);
        parcel.course.flow = FlowId(flow);
        let (items, size) = (&mut bench.items, (100, 2));
        let found = bench
            .operators
            .offer(NOW, items, parcel, bench.stage, applicable(), size);
        assert_eq!(found, offered, "flow {flow}");
    }
    let later = NOW + IDLE + RETRY;
    let kept = Kept::Value(bench.items.put(&[1]).unwrap());
    let parcel = bench.parcel(1, (0, 0), 0, kept);
    let (items, size) = (&mut bench.items, (100, 2));
    let found = bench
        .operators
        .offer(later, items, parcel, bench.stage, applicable(), size);
    assert_eq!(found, Offered::Taken);
}

#[test]
fn a_new_run_of_the_source_ends_the_operators_of_the_old_one() {
    let mut bench = Bench::new(StageKind::Window, 2, 1);
    bench.offer(1, (0, 0), 0, Some(1));
    bench.offer(2, (1, 1), 0, Some(2));
    assert_eq!(bench.work(NOW), []);
    bench.offer(2, (0, 0), 0, Some(5));
    assert_eq!(bench.work(NOW), [((0, 1), Some(7))]);
    assert_eq!(bench.items.count(), 0);
    assert_eq!(bench.operators.status().count(), 1);
    // The first item of the next run needs no operator any more.
    bench.offer(2, (2, 2), 0, Some(1));
    let [before, after] = [1, 3].map(|run| bench.parcel(run, (0, 0), 0, Kept::Nothing).course);
    for (course, left) in [(before, 1), (after, 0)] {
        bench.operators.end_before(&mut bench.items, &course);
        assert_eq!(bench.operators.status().count(), left);
    }
    assert_eq!(bench.items.count(), 0);
}

#[test]
fn a_node_that_cannot_run_the_tasklet_gives_the_items_on_untouched() {
    let mut bench = Bench::new(StageKind::Window, 2, 1);
    bench.offer(1, (0, 0), 0, Some(1));
    bench.offer(1, (1, 1), 0, Some(2));
    let mut args = Vec::with_capacity(64);
    let mut untouched = Vec::with_capacity(8);
    let mut now = NOW;
    for attempt in 1..=TRIES {
        let step = bench.poll(now, attempt.into(), &mut args);
        assert!(matches!(step, Some(Step::Run { .. })), "attempt {attempt}");
        let (ran, which) = (Ran::Hindered(Fault::CacheFull), (attempt.into(), false));
        let items = &mut bench.items;
        let step = bench
            .operators
            .handle_ran(now, items, which, ran, &mut untouched);
        assert!(step.is_none());
        let early = bench.poll(now, 99, &mut args);
        assert!(early.is_none(), "not at once");
        now += RETRY;
    }
    let ranges: Vec<_> = untouched.iter().map(|it| (it.first, it.last)).collect();
    assert_eq!(ranges, [(0, 0), (1, 1)]);
    assert_eq!(untouched[0].stages.first(), Some(bench.stage));
    assert_eq!(bench.operators.status().count(), 0);
}

#[test]
fn numbers_at_the_end_of_their_range_harm_nobody() {
    for kind in StageKind::ALL {
        let count = if kind.gathers() { 16 } else { 1 };
        let mut bench = Bench::new(kind, count, u16::MAX);
        for (first, last) in [
            (0, u32::MAX),
            (u32::MAX, u32::MAX),
            (5, 5),
            (u32::MAX - 9, u32::MAX),
        ] {
            bench.offer(1, (first, last), 0, Some(3));
            bench.offer(1, (first, last), 0, None);
            bench.work(NOW);
        }
        bench.work(NOW + DROPPED_FOR);
    }
}

#[test]
fn an_item_that_comes_again_is_not_saved_again() {
    let mut bench = Bench::new(StageKind::Window, 2, 1);
    let saved = |bench: &Bench| bench.operators.status().next().unwrap().saved;
    // Each offer has 100 bytes and two links before it.
    for (item, expected) in [(0, 200), (1, 400)] {
        bench.offer(0, (item, item), 0, Some(1));
        assert_eq!(saved(&bench), expected);
    }
    assert_eq!(bench.work(NOW).len(), 1);
    assert_eq!(saved(&bench), 320, "the output has 40 bytes");
    // The sink has not got the output: the source sends both again, and another one.
    for (item, expected) in [(0, 320), (1, 320), (2, 520)] {
        bench.offer(0, (item, item), 0, Some(1));
        assert_eq!(saved(&bench), expected);
    }
    // Nor does the output that goes on again take anything away.
    assert_eq!(bench.work(NOW).len(), 1);
    assert_eq!(saved(&bench), 520);
    let status = bench.operators.status().next().unwrap();
    assert_eq!((status.items_in, status.bytes_in), (5, 500));
}
