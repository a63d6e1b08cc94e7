//! One suite for every policy of the table.

extern crate std;

use alloc::vec::Vec;

use nimblenet_tasklet::NamespaceId;
use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn a_decision_follows_from_the_facts_and_names_a_neighbour_other_than_the_caller(
        neighbours in proptest::collection::btree_set(0u16..20, 0..8),
        (module_bytes, cost, cached) in any::<(u32, u64, bool)>(),
        caller in proptest::option::of(0u16..20),
        left in proptest::option::of(0u64..100_000),
        (backlog, executors) in (0usize..64, 1usize..8),
    ) {
        let neighbours: Vec<NodeId> = neighbours.into_iter().map(NodeId).collect();
        let facts = Facts {
            tasklet: TaskletRef { namespace: NamespaceId(1), number: 2, sequence: 3 },
            module_bytes,
            cost,
            cached,
            caller: caller.map(NodeId),
            left: left.map(Duration::from_millis),
            backlog,
            executors,
            neighbours: &neighbours,
        };
        for placement in Placement::ALL {
            let decision = placement.policy.place(&facts);
            prop_assert_eq!(placement.policy.place(&facts), decision, "{:?}", placement);
            let here = decision == Decision::Here;
            prop_assert!(here || placement.policy.needs_facts(), "{:?}", placement);
            if let Decision::Send(to) = decision {
                prop_assert!(neighbours.contains(&to), "{:?}", placement);
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
    let facts = Facts {
        tasklet: TaskletRef {
            namespace: NamespaceId(1),
            number: 2,
            sequence: 3,
        },
        module_bytes: 100,
        cost: 1000,
        cached: false,
        caller: None,
        left: Some(Duration::ZERO),
        backlog: 64,
        executors: 1,
        neighbours: &[NodeId(2)],
    };
    let here = Placement::named("here").unwrap();
    assert_eq!(here.policy.place(&facts), Decision::Here);
}
