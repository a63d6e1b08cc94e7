//! One suite for every policy of the table.

extern crate std;

use alloc::vec::Vec;

use nimblenet_tasklet::NamespaceId;
use proptest::prelude::*;

use super::*;

const TASKLET: TaskletRef = TaskletRef {
    namespace: NamespaceId(1),
    number: 2,
    sequence: 3,
};

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}

fn neighbour((id, wait, way): (u16, u32, u32)) -> Neighbour {
    Neighbour {
        id: NodeId(id),
        wait: seconds(wait),
        way: Duration::from_millis(way.into()),
        executors: 1,
        lacks: 0,
    }
}

/// The facts of a call that waits for `wait` seconds here.
fn facts(wait: u32, neighbours: &[Neighbour]) -> Facts<'_> {
    Facts {
        tasklet: TASKLET,
        work: seconds(5),
        pinned: false,
        caller: None,
        left: None,
        backlog: 1,
        wait: seconds(wait),
        executors: 1,
        lacks: 0,
        fetch: Duration::from_millis(400),
        blur: Duration::from_secs(1),
        neighbours,
    }
}

proptest! {
    #[test]
    fn a_decision_follows_from_the_facts_and_names_a_neighbour_other_than_the_caller(
        neighbours in proptest::collection::btree_map(0u16..20, (0u32..20, 0u32..500), 0..8),
        (work, wait, pinned) in (0u32..20, 0u32..20, any::<bool>()),
        caller in proptest::option::of(0u16..20),
        left in proptest::option::of(0u32..100),
        (backlog, executors) in (0usize..64, 1usize..8),
    ) {
        let neighbours = neighbours.into_iter();
        let neighbours = neighbours.map(|(id, (wait, way))| neighbour((id, wait, way)));
        let neighbours: Vec<Neighbour> = neighbours.collect();
        let facts = Facts {
            work: seconds(work),
            pinned,
            caller: caller.map(NodeId),
            left: left.map(seconds),
            backlog,
            executors,
            ..facts(wait, &neighbours)
        };
        for placement in Placement::ALL {
            let decision = placement.policy.place(&facts);
            prop_assert_eq!(placement.policy.place(&facts), decision, "{:?}", placement);
            let here = decision == Decision::Here;
            prop_assert!(here || placement.policy.needs_facts(), "{:?}", placement);
            prop_assert!(here || !pinned, "{:?}", placement);
            if let Decision::Send(to) = decision {
                prop_assert!(neighbours.iter().any(|it| it.id == to), "{:?}", placement);
                prop_assert!(facts.caller != Some(to), "{:?}", placement);
            }
        }
    }
}

#[test]
fn the_table_has_each_name_once_and_the_book_has_every_line_of_it() {
    let book = include_str!("../../../../docs/operating.md");
    let row = |policy: &Placement| std::format!("| `{}` | {} |", policy.name, policy.about());
    for placement in Placement::ALL {
        let named = Placement::named(placement.name).unwrap();
        assert!(
            core::ptr::eq(named, *placement),
            "two policies have one name"
        );
        let row = row(placement);
        assert!(book.lines().any(|line| line == row), "missing: {row}");
    }
    let table = book.split("| placement | ").nth(1).unwrap();
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    assert_eq!(rows.count(), Placement::ALL.len());
    assert!(Placement::named("best").is_none());
}

#[test]
fn here_keeps_a_call_even_behind_others() {
    let idle = [neighbour((2, 0, 200))];
    let here = Placement::named("here").unwrap();
    assert_eq!(here.policy.place(&facts(60, &idle)), Decision::Here);
}

#[test]
fn least_work_sends_a_call_to_where_it_begins_first_with_the_way_counted() {
    let least = Placement::named("least-work").unwrap();
    let place = |facts: &Facts<'_>| least.policy.place(facts);
    let others = [(2, 4, 200), (3, 1, 200), (4, 1, 200)].map(neighbour);
    assert_eq!(place(&facts(6, &others)), Decision::Send(NodeId(3)));
    assert_eq!(
        place(&facts(2, &others)),
        Decision::Here,
        "that is too little"
    );
    assert_eq!(place(&facts(0, &others)), Decision::Here);
    let from_3 = Facts {
        caller: Some(NodeId(3)),
        ..facts(6, &others)
    };
    assert_eq!(place(&from_3), Decision::Send(NodeId(4)));
    let holds = [
        others[1],
        Neighbour {
            lacks: 1,
            ..others[2]
        },
    ];
    assert_eq!(place(&facts(6, &holds)), Decision::Send(NodeId(3)));
    let lacks = holds.map(|other| Neighbour {
        lacks: 3 - other.lacks,
        ..other
    });
    assert_eq!(place(&facts(6, &lacks)), Decision::Send(NodeId(4)));
    let pinned = Facts {
        pinned: true,
        ..facts(6, &others)
    };
    assert_eq!(place(&pinned), Decision::Here);
}
