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
        work: seconds(5),
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
        caller: None,
        left: None,
        backlog: 1,
        wait: seconds(wait),
        executors: 1,
        lacks: 0,
        fetch: Duration::from_millis(400),
        blur: Duration::from_secs(1),
        chance: 0,
        neighbours,
    }
}

proptest! {
    #[test]
    fn a_decision_follows_from_the_facts_and_names_a_neighbour_other_than_the_caller(
        neighbours in proptest::collection::btree_map(0u16..20, (0u32..20, 0u32..500), 0..8),
        (work, wait) in (0u32..20, 0u32..20),
        caller in proptest::option::of(0u16..20),
        left in proptest::option::of(0u32..100),
        (backlog, executors, chance) in (0usize..64, 1usize..8, any::<u32>()),
    ) {
        let neighbours = neighbours.into_iter();
        let neighbours = neighbours.map(|(id, (wait, way))| neighbour((id, wait, way)));
        let neighbours: Vec<Neighbour> = neighbours.collect();
        let facts = Facts {
            work: seconds(work),
            caller: caller.map(NodeId),
            left: left.map(seconds),
            backlog,
            executors,
            chance,
            ..facts(wait, &neighbours)
        };
        for placement in Placement::ALL {
            let decision = placement.policy.place(&facts);
            prop_assert_eq!(placement.policy.place(&facts), decision, "{:?}", placement);
            let here = decision == Decision::Here;
            prop_assert!(here || placement.policy.needs_facts(), "{:?}", placement);
            let alone = Facts { neighbours: &[], ..facts };
            prop_assert_eq!(placement.policy.place(&alone), Decision::Here, "{:?}", placement);
            // Where nothing waits a call stays, unless it runs faster elsewhere.
            prop_assert!(here || wait > 0 || work > 5, "{:?}", placement);
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
fn least_work_sends_a_call_to_where_it_ends_first_with_the_way_counted() {
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
}

#[test]
fn least_work_asks_the_one_that_fetches_least_of_those_that_seem_equal_and_those_that_are_faster() {
    let least = Placement::LEAST_WORK;
    let place = |facts: &Facts<'_>| least.policy.place(facts);
    let lacking = |other: Neighbour, lacks| Neighbour { lacks, ..other };
    let equal = [
        lacking(neighbour((2, 1, 200)), 0),
        lacking(neighbour((3, 0, 200)), 1),
    ];
    assert_eq!(place(&facts(6, &equal)), Decision::Send(NodeId(2)));
    let sooner = [lacking(neighbour((2, 2, 200)), 0), equal[1]];
    assert_eq!(place(&facts(6, &sooner)), Decision::Send(NodeId(3)));
    let faster = [Neighbour {
        work: seconds(1),
        ..neighbour((2, 0, 200))
    }];
    assert_eq!(place(&facts(0, &faster)), Decision::Send(NodeId(2)));
    let lacks = Facts {
        lacks: 9,
        ..facts(0, &equal)
    };
    assert_eq!(place(&lacks), Decision::Here, "nothing waits here");
    let slower = [Neighbour {
        work: seconds(20),
        ..neighbour((2, 0, 200))
    }];
    assert_eq!(place(&facts(9, &slower)), Decision::Here);
}

#[test]
fn two_choices_compares_two_neighbours_that_chance_has_chosen() {
    let two = Placement::TWO_CHOICES;
    let others = [(2, 1, 200), (3, 4, 200), (4, 2, 200)].map(neighbour);
    let mut chosen = [0; 3];
    for chance in (0..9).map(|at| (at % 3) | ((at / 3) << 16)) {
        let facts = Facts {
            chance,
            ..facts(9, &others)
        };
        match two.policy.place(&facts) {
            Decision::Send(to) => chosen[usize::from(to.0) - 2] += 1,
            Decision::Here => panic!("there is a better one"),
        }
    }
    assert_eq!(chosen[1], 0, "it is the worst of any two");
    assert!(chosen[0] > chosen[2] && chosen[2] > 0, "{chosen:?}");
    let one = [others[1]];
    assert_eq!(two.policy.place(&facts(9, &one)), Decision::Send(NodeId(3)));
    assert_eq!(two.policy.place(&facts(5, &one)), Decision::Here);
}

#[test]
fn steal_sends_a_call_that_waits_to_a_neighbour_that_has_nothing_to_do() {
    let steal = Placement::STEAL;
    let others = [(2, 1, 100), (3, 0, 300), (4, 0, 200)].map(neighbour);
    let place = |facts: &Facts<'_>| steal.policy.place(facts);
    assert_eq!(place(&facts(6, &others)), Decision::Send(NodeId(4)));
    assert_eq!(
        place(&facts(1, &others)),
        Decision::Here,
        "that is too little"
    );
    assert_eq!(place(&facts(6, &others[..1])), Decision::Here);
    let from_4 = Facts {
        caller: Some(NodeId(4)),
        ..facts(6, &others)
    };
    assert_eq!(place(&from_4), Decision::Send(NodeId(3)));
}
