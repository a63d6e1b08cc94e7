//! Swarms: a thousand random runs show nothing but the known faults, and those are still there.
#![allow(clippy::unwrap_used, clippy::std_instead_of_alloc)]

use std::collections::{BTreeMap, BTreeSet};
use std::panic;
use std::sync::Once;
use std::thread;

use nimblenet_sim::swarm::{self, Fired, Judgement, KNOWN, Lie, Trial, What};

const RUNS: u64 = 1000;
/// With how many seeds the trial of a known fault is tried.
const SEEDS: u64 = 100;

/// A panic of a node is a finding, which says what it is; a backtrace for each would only hide it.
fn quietly() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if info
                .location()
                .is_none_or(|at| !at.file().contains("nimblenet-core"))
            {
                usual(info);
            }
        }));
    });
}

fn judged(seeds: impl Iterator<Item = u64> + Clone + Send) -> Vec<Judgement> {
    quietly();
    let threads = thread::available_parallelism().map_or(1, |threads| threads.get());
    thread::scope(|scope| {
        let parts = (0..threads).map(|at| {
            let seeds = seeds.clone().skip(at).step_by(threads);
            scope.spawn(move || seeds.map(swarm::judge).collect::<Vec<_>>())
        });
        let parts: Vec<_> = parts.collect();
        parts
            .into_iter()
            .flat_map(|part| part.join().unwrap())
            .collect()
    })
}

#[test]
fn a_thousand_runs_show_nothing_but_known_faults_and_everything_that_may_go_wrong_does() {
    let mut fired = Fired::new();
    let mut known = BTreeMap::<&str, u64>::new();
    let mut unknown = String::new();
    for judgement in judged(1..RUNS + 1) {
        for (kind, times) in judgement.verdict.fired {
            *fired.entry(kind).or_default() += times;
        }
        for (fault, _) in judgement.known {
            *known.entry(fault.name).or_default() += 1;
        }
        if let Some((failure, smallest)) = judgement.unknown {
            let seed = judgement.seed;
            unknown.push_str(&format!("\nseed {seed}: {failure:?}\n{}", smallest.write()));
        }
    }
    assert!(unknown.is_empty(), "{unknown}");
    for kind in [
        "crash",
        "crash-with-state",
        "clock",
        "cut",
        "partition",
        "link",
        "publish",
        "withdraw",
        "swap",
        "rollback",
        "drain",
        "slow",
        "says-idle",
        "says-full",
        "says-random",
        "says-half",
        "crowd",
        "frame-lost",
        "frame-swallowed",
        "frame-overflowed",
        "frame-doubled",
        "frame-corrupted",
        "frame-overtaken",
        "frame-dead",
        "freeze",
        "thaw",
        "call-completed",
        "call-failed",
        "call-refused",
        "call-stopped",
        "call-moved",
        "claim",
        "call-again",
        "call-cancelled",
        "overload",
        "flow-begun",
        "flow-refused",
        "flow-stopped",
        "flow-through",
        "item",
        "item-refused",
    ]
    .into_iter()
    .chain(lies())
    {
        let times = fired.get(kind).copied().unwrap_or_default();
        assert!(times >= 10, "{kind}: {times}");
    }
    assert!(
        known.len() >= 2,
        "the swarm finds by itself what is known: {known:?}"
    );
}

fn lies() -> impl Iterator<Item = &'static str> {
    let lies = [
        Lie::Holders,
        Lie::Numbers,
        Lie::Results,
        Lie::Floods,
        Lie::Mutants,
        Lie::Replays,
        Lie::Offers,
    ];
    lies.into_iter().map(Lie::name)
}

#[test]
fn the_file_of_every_known_fault_shows_it() {
    quietly();
    for known in KNOWN {
        let trial = known.trial();
        let shows = |seed: u64| {
            let trial = Trial {
                seed,
                ..trial.clone()
            };
            let failure = swarm::perform(&trial).failure;
            failure.is_some_and(|failure| Some(failure.checker) == trial.checker.as_deref())
        };
        if shows(trial.seed) {
            continue;
        }
        // A change elsewhere moves what happens at random in the trial, and the file must still show it.
        let name = known.name;
        match (trial.seed..trial.seed + SEEDS).find(|seed| shows(*seed)) {
            Some(seed) => panic!(
                "known/{name}.toml does not show its fault any more; with seed = {seed} it does"
            ),
            None => panic!(
                "{name} does not fail as known any more: take it from the list in \
                 crates/nimblenet-sim/src/swarm/known.rs"
            ),
        }
    }
    let names: BTreeSet<&str> = KNOWN.iter().map(|known| known.name).collect();
    assert_eq!(names.len(), KNOWN.len());
}

/// Declares a test for each fault that was known and is mended: its trial passes.
macro_rules! mended {
    ($($test:ident $name:literal,)+) => {$(
        #[test]
        fn $test() {
            passes($name, include_str!(concat!("mended/", $name, ".toml")));
        }
    )+};
}

mended! {
    frames_with_wrong_bytes_mislead_nobody_for_long "mutants-believed",
    an_answer_outlives_the_place_of_its_job "answer-forgotten",
    a_call_does_not_run_again_after_a_restart "answer-lost-in-restart",
    a_wrong_bit_makes_no_other_call "corrupted-calls",
    a_wrong_bit_makes_no_other_result "corrupted-results",
    wrong_bits_make_no_node_unheard "corrupted-unheard",
    floods_of_more_origins_than_a_board_remembers_end "flood-storm",
    floods_of_a_neighbour_have_a_limit "floods-without-limit",
    a_link_that_swallows_long_frames_passes_shorter_ones "long-frames-swallowed",
    leaping_numbers_in_a_nodes_name_do_not_make_it_unheard "muted-by-numbers",
    frames_that_are_repeated_elsewhere_mislead_nobody_for_long "replays-believed",
    false_results_in_a_nodes_name_do_not_make_it_unheard "muted-by-results",
    a_link_that_passes_one_way_only_is_left_for_a_way_around "one-way-link",
    a_link_that_is_dead_far_from_the_caller_is_gone_around "cut-far-from-the-caller",
    a_link_that_is_dead_next_to_a_callee_without_a_route_back_is_gone_around "cut-without-a-route",
    a_link_on_which_fetches_get_lost_is_gone_around "cut-under-fetches",
    a_link_that_is_dead_towards_a_neighbour_is_gone_around "cut-to-a-neighbour",
    a_link_that_is_dead_towards_nodes_that_flood_in_turn_is_gone_around "cut-to-who-floods",
    a_node_whose_numbers_fall_back_is_heard "restarted-unheard",
    offers_of_jobs_that_nobody_has_make_no_board_busy "forged-offers",
    an_order_to_move_a_call_that_has_yet_to_come_is_no_refusal_of_it "moved-before-they-come",
    numbers_that_were_used_in_a_nodes_name_do_not_make_it_unheard_later "muted-by-offers",
    numbers_that_a_node_came_to_while_another_spoke_in_its_name_are_heard_later "muted-while-forged",
    a_call_that_is_repeated_does_not_run_again_after_a_restart "repeated-call-after-restart",
    a_call_that_was_offered_to_another_node_does_not_run_again "repeated-call-after-move",
    what_a_source_sends_again_at_once_has_room_at_its_first_operator "output-sent-again",
    an_item_that_has_failed_at_the_sink_is_not_covered_again "failed-and-dropped",
    a_flow_goes_on_after_its_source_has_started_again_with_numbers_that_fall_back "source-fallen-back",
    fault_04_nodes_tell_of_a_registry_with_an_old_backup_and_follow_it_back "registry-rolled-back",
    fault_04_calls_are_served_after_the_way_back_of_an_old_backup "registry-rolled-back-calls",
    fault_04_nodes_tell_of_a_registry_with_other_content_and_follow_it_back "registry-swapped",
    fault_04_calls_are_served_after_the_way_back_of_a_lost_disk "registry-swapped-calls",
    fault_04_a_registry_hears_what_nodes_hold_behind_one_that_has_followed_it "registry-swapped-untold",
}

/// Runs the trial of a mended fault with many seeds: what caused it happens, and nothing is found.
fn passes(name: &str, file: &str) {
    quietly();
    let trial = Trial::read(file).unwrap();
    for seed in trial.seed..trial.seed + SEEDS {
        let trial = Trial {
            seed,
            ..trial.clone()
        };
        let verdict = swarm::perform(&trial);
        assert_eq!(verdict.failure, None, "{name} {seed}");
        for incident in &trial.incidents {
            let kind = incident.what.name();
            assert!(verdict.fired[kind] > 0, "{name} {seed}: {kind}");
        }
    }
}

#[test]
fn a_known_fault_goes_with_what_causes_it() {
    quietly();
    let checkers: Vec<&str> = swarm::checkers().map(|(name, _)| name).collect();
    for known in KNOWN {
        let trial = known.trial();
        let named = trial.checker.iter().chain(&trial.also);
        for checker in named {
            assert!(
                checkers.contains(&&checker[..]),
                "{}: {checker}",
                known.name
            );
        }
        let without = trial.without_causes();
        let failure = swarm::perform(&without.unwrap()).failure;
        assert!(failure.is_none(), "{}: {failure:?}", known.name);
    }
}

#[test]
fn a_seed_repeats_and_another_does_not() {
    let hash = |seed| swarm::perform(&swarm::draw(seed)).event_log_hash;
    assert_eq!(hash(1), hash(1));
    assert_ne!(hash(1), hash(2));
}

#[test]
fn a_trial_survives_its_file() {
    for seed in 0..200 {
        let trial = swarm::draw(seed);
        let file = trial.write();
        let read = Trial::read(&file);
        assert_eq!(read.unwrap(), trial, "{file}");
    }
}

#[test]
fn a_failing_trial_is_made_smaller_until_only_what_lets_it_fail_is_left() {
    let known = KNOWN.iter().find(|known| known.name == "forged-results");
    let small = known.unwrap().trial();
    let mut large = small.clone();
    let other = swarm::draw(4);
    let nodes = small.mesh.as_ref().unwrap().nodes();
    let calls = other
        .calls
        .into_iter()
        .filter(|call| nodes.contains(&call.node) && call.on.is_none_or(|on| nodes.contains(&on)));
    large
        .calls
        .extend(calls.filter(|call| call.tasklet.starts_with("alpha")));
    let link = &mut large.mesh.as_mut().unwrap().link;
    (link.loss, link.duplication) = (0.01, 0.1);
    let smallest = swarm::minimise(&large, "right-result", 300);
    assert_eq!(smallest.calls.len(), 1, "{smallest:?}");
    assert_eq!(smallest.incidents.len(), 1);
    let forged = &smallest.incidents[0].what;
    assert!(matches!(forged, What::Forge { .. }), "{forged:?}");
    let link = smallest.mesh.as_ref().unwrap().link;
    assert_eq!((link.loss, link.duplication), (0.0, 0.0));
}

#[test]
fn a_file_that_cannot_do_what_it_says_is_refused_with_what_to_do() {
    let mesh = |links| format!("[mesh]\nturmoil_s = 5.0\nlinks = {links}\nregistries = [0]\n");
    for (text, expected) in [
        (
            mesh("[[0, 1], [2, 3], [3, 4], [6, 2]]"),
            "mesh.links: no way leads from node 0 to 2 to 4, 6: add links",
        ),
        (
            mesh("[]"),
            "mesh.links: they name 0 nodes, and a mesh has 2 to 64",
        ),
        (
            "seed = 3\n[[fault]]\nat_s = 1.0\nkind = 'drain'\nnode = 1".to_owned(),
            "seed: without a mesh it has no effect: give it with --seed",
        ),
        (String::new(), "fault: there is none, and no mesh"),
    ] {
        let trial = Trial::read(&text).and_then(|trial| trial.check_effect());
        let error = trial.unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn a_wrong_file_is_refused_with_field_and_range() {
    let mesh = "[mesh]\nturmoil_s = 5.0\nlinks = [[0, 1], [1, 2]]\nregistries = [0]\n";
    for (text, expected) in [
        (
            "[[fault]]\nat_s = 6.0\nkind = 'crash'\nnode = 1",
            "fault[0].at_s: 6 is not within 0 to 5",
        ),
        (
            "[[fault]]\nat_s = 1.0\nkind = 'crash'\nnode = 7",
            "fault[0].node: 7 is no node of the mesh; there are 0 to 2",
        ),
        (
            "[[fault]]\nat_s = 1.0\nkind = 'cut'\nfrom = 0\nto = 2",
            "fault[0].to: nodes 0 and 2 have no link; node 0 has links to 1",
        ),
        (
            "[[fault]]\nat_s = 1.0\nkind = 'swap'\nnode = 1",
            "fault[0].node: 1 is no registry; 0 can be named",
        ),
        (
            "[[fault]]\nat_s = 1.0\nkind = 'partition'\nnodes = [1, 77]",
            "fault[0].nodes: 77 is no node of the mesh; there are 0 to 2",
        ),
        (
            "[[fault]]\nat_s = 1.0\nkind = 'cut'\nfrom = 9\nto = 2",
            "fault[0].from: 9 is no node of the mesh; there are 0 to 2",
        ),
        (
            "[[fault]]\nat_s = 1.0\nkind = 'link'\nfrom = 0\nto = 1\nlink = { loss = 2.0 }",
            "fault[0].link.loss: 2 is not within 0 to 1",
        ),
        (
            "[[fault]]\nat_s = 1.0\nkind = 'clock'\nnode = 1\nrate = 0.0",
            "fault[0].rate: 0 is not within 0.01 to 100",
        ),
        (
            "[[call]]\nat_s = 1.0\nnode = 1\ntasklet = 'beta/leaf'\ndeadline_s = 1.0",
            "call[0].tasklet: beta/leaf is not published",
        ),
    ] {
        let error = Trial::read(&format!("{mesh}{text}")).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    let flow =
        "[[flow]]\nat_s = 1.0\nsink = 1\nsources = [2]\nroom = 8\nitems = 9\nevery_s = 0.1\n";
    for (text, expected) in [
        (
            "sources = [1]",
            "flow[0].sources: 1 is the sink, or named twice",
        ),
        (
            "sources = [4]",
            "flow[0].sources: 4 is no node of the mesh; there are 0 to 2",
        ),
        ("room = 1", "flow[0].room: 1 is not within 2 to 256"),
        (
            "every_s = 0.0",
            "flow[0].every_s: 0 is not within 0.001 to 600",
        ),
        (
            "sensed = true",
            "flow[0].sensed: without stop_after_s up to 5 it would never end",
        ),
        (
            "operators = [{ tasklet = 'alpha/none' }]",
            "flow[0].operators[0].tasklet: alpha/none is not published as an operator",
        ),
        (
            "operators = [{ tasklet = 'alpha/pass', count = 2 }]",
            "flow[0].operators[0].count: alpha/pass takes one item at a time, not 2: leave it out",
        ),
        (
            "operators = [{ tasklet = 'alpha/mix', count = 5 }]",
            "flow[0].room: 8 is not within 10 to 256",
        ),
        (
            "operators = [{ tasklet = 'alpha/mix', count = 120 }]\nroom = 240",
            "flow: they may need 1 operators and 496 items at a node; 16 and 256 can be",
        ),
    ] {
        // What the case says stands instead of the usual.
        let own: Vec<&str> = text
            .split(" = ")
            .take(1)
            .chain(text.split('\n').skip(1))
            .collect();
        let own: Vec<&str> = own
            .iter()
            .filter_map(|line| line.split(" =").next())
            .collect();
        let usual = flow
            .lines()
            .filter(|line| !own.iter().any(|name| line.starts_with(name)));
        let usual: Vec<&str> = usual.collect();
        let file = format!("{mesh}{}\n{text}", usual.join("\n"));
        let error = Trial::read(&file).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    for (text, word) in [
        ("[[fault]]\nat_s = 1.0\nkind = 'fire'\nnode = 1", "fire"),
        ("[[fault]]\nat_s = 1.0\nkind = 'crash'\nnod = 1", "nod"),
        (
            "[[fault]]\nat_s = 1.0\nkind = 'crash'\nnode = 1\nx = 2",
            "x",
        ),
    ] {
        let error = Trial::read(&format!("{mesh}{text}"))
            .unwrap_err()
            .to_string();
        assert!(error.contains(word), "{error}");
    }
}
