//! A client goes on to another node while its call runs, and asks for the result there.
#![allow(clippy::unwrap_used)]

use core::time::Duration;

use nimblenet_core::{CallId, Config};
use nimblenet_sim::scenario::Scenario;
use nimblenet_sim::swarm::Trial;
use nimblenet_sim::{
    Draft, Finished, HandOver, Layout, LinkModel, Net, Publisher, Run, Settings, TimedExecutor,
};
use nimblenet_tasklet::Fault;

const SECOND: Duration = Duration::from_secs(1);
/// How long the tasklet runs.
const RUNS: Duration = Duration::from_secs(2);
const HOP: Duration = Duration::from_millis(5);

/// A line of five nodes, the first of which has the module.
fn line_with(link: LinkModel, configure: impl Fn(&mut Config) + 'static) -> Net {
    let module = TimedExecutor::module(&[RUNS.as_micros() as u32], 100);
    let drafts = vec![Draft::new("check", module, "func()")];
    let mut net = Net::new(
        1,
        &Layout::line(5),
        link,
        vec![(Publisher::new("shop"), drafts)],
        configure,
        |_| Box::new(TimedExecutor::default()),
    );
    net.run_for(5 * SECOND);
    assert!(net.run_call(1, "shop/check").result.is_ok());
    net
}

fn line() -> Net {
    line_with(LinkModel::perfect(HOP), |_| ())
}

fn call(net: &mut Net, node: u16, key: (u32, u32)) -> CallId {
    net.call_by(node, key, "shop/check", &[0x80]).unwrap()
}

fn claim(net: &mut Net, node: u16, at: u16, key: (u32, u32)) -> Finished {
    match net.claim(node, at, key, "shop/check") {
        Ok(call) => net.run_until_finished(node, call),
        Err(fault) => Finished {
            at: net.now(),
            result: Err(fault),
            trap: None,
            steps: Vec::new(),
            took: Duration::ZERO,
        },
    }
}

#[test]
fn the_result_comes_to_the_node_where_its_client_is_as_soon_as_there_is_one() {
    let mut net = line();
    let begun = net.now();
    let first = call(&mut net, 1, (7, 1));
    net.run_for(RUNS / 2);
    let claimed = claim(&mut net, 4, 1, (7, 1));
    assert_eq!(claimed.result, Ok(vec![0x80]));
    let after = claimed.at - begun;
    assert!(after < RUNS + 10 * HOP, "{after:?}");
    assert!(net.finished(1, first).is_some(), "the first node knows too");
    let ran: u64 = (2..=4)
        .map(|id| net.node(id).counters().acquired.local)
        .sum();
    assert_eq!(ran, 0, "nothing ran where the client went");
    // It goes on before it has read that, and asks once more.
    let again = claim(&mut net, 3, 1, (7, 1));
    assert_eq!(again.result, Ok(vec![0x80]));
    assert!(again.took < 8 * HOP, "{:?}", again.took);
    assert_eq!(net.node(1).counters().handed_over, 2);
}

#[test]
fn nothing_runs_for_a_client_number_or_tasklet_that_the_node_does_not_know() {
    let mut net = line();
    let known = call(&mut net, 1, (7, 1));
    net.run_until_finished(1, known);
    let calls = net.node(1).counters().calls;
    for (at, key) in [(1, (7, 2)), (1, (8, 1)), (2, (7, 1)), (3, (7, 1))] {
        let claimed = claim(&mut net, 3, at, key);
        assert_eq!(claimed.result, Err(Fault::UnknownCall), "{at} {key:?}");
    }
    let other = net.claim(3, 1, (7, 1), "shop/other").unwrap();
    let other = net.run_until_finished(3, other);
    assert_eq!(other.result, Err(Fault::UnknownCall));
    assert_eq!(net.node(1).counters().calls, calls);
    net.run_for(300 * SECOND);
    let late = claim(&mut net, 3, 1, (7, 1));
    assert_eq!(late.result, Err(Fault::UnknownCall), "it is kept no more");
    assert_eq!(net.node(1).results(net.now()), 0);
}

#[test]
fn a_call_made_again_with_its_number_runs_once_and_is_answered_each_time() {
    let mut net = line();
    let begun = net.now();
    let calls = [0, 1, 2].map(|_| {
        net.run_for(RUNS / 10);
        call(&mut net, 1, (7, 1))
    });
    for call in calls {
        let ended = net.run_until_finished(1, call);
        assert_eq!(ended.result, Ok(vec![0x80]));
        assert!(ended.at - begun < RUNS + RUNS / 5, "{:?}", ended.at - begun);
    }
    let later = call(&mut net, 1, (7, 1));
    let later = net.run_until_finished(1, later);
    assert_eq!((later.result, later.took), (Ok(vec![0x80]), Duration::ZERO));
    assert_eq!(net.node(1).counters().acquired.local, 1, "it ran once");
    // Another number is another call.
    let other = call(&mut net, 1, (7, 2));
    assert!(net.run_until_finished(1, other).took >= RUNS);
}

#[test]
fn a_client_that_comes_back_asks_the_node_that_it_has_called() {
    let mut net = line();
    let first = call(&mut net, 1, (7, 1));
    net.run_for(RUNS / 4);
    let waits = net.claim(1, 1, (7, 1), "shop/check").unwrap();
    let [first, waits] = [first, waits].map(|call| net.run_until_finished(1, call));
    assert_eq!((&waits.result, waits.at), (&first.result, first.at));
    let unknown = net.claim(1, 1, (7, 2), "shop/check");
    assert_eq!(unknown, Err(Fault::UnknownCall));
}

#[test]
fn over_links_that_lose_frames_every_client_gets_its_result() {
    let lossy = LinkModel {
        loss: 0.15,
        ..LinkModel::perfect(HOP)
    };
    let mut net = line_with(lossy, |_| ());
    for number in 0..40 {
        let (from, to) = [(1, 4), (2, 4), (5, 2), (3, 2)][number as usize % 4];
        call(&mut net, from, (7, number));
        net.run_for(RUNS / 2);
        // A client asks again while the node that it has called does not answer.
        let mut claims = (0..4).map(|_| claim(&mut net, to, from, (7, number)).result);
        let ended = claims.find(|result| *result != Err(Fault::Unreachable));
        drop(claims);
        let seed = net.seed();
        assert_eq!(ended, Some(Ok(vec![0x80])), "seed {seed}, call {number}");
    }
    assert!(net.fates().lost > 100, "{:?}", net.fates());
}

#[test]
fn a_fault_is_handed_over_like_a_result() {
    let mut net = line();
    let first = call(&mut net, 1, (7, 1));
    net.run_for(RUNS / 4);
    let waits = net.claim(4, 1, (7, 1), "shop/check").unwrap();
    net.run_for(RUNS / 4);
    net.stop(1, first);
    let stopped = net.run_until_finished(4, waits);
    assert_eq!(stopped.result, Err(Fault::Stopped));
}

#[test]
fn a_call_that_waits_or_runs_elsewhere_is_handed_over_by_the_node_that_took_it() {
    let mut net = line_with(LinkModel::perfect(HOP), |config| {
        config.limits.jobs = 2;
        config.limits.waiting = 4;
    });
    for number in 1..=4 {
        call(&mut net, 1, (7, number));
    }
    let waits = net.node(1).calls().filter(|call| call.depth == 0).count();
    let away = net.node(1).counters().placed;
    assert!(waits > 0 || away > 0, "the table was full");
    for number in [4, 3, 2, 1] {
        let claimed = claim(&mut net, 5, 1, (7, number));
        assert_eq!(claimed.result, Ok(vec![0x80]), "{number}");
    }
    // A job that moves away gives its result to the node that it has left, and that one on.
    let moves = call(&mut net, 1, (8, 1));
    net.run_for(RUNS / 4);
    net.drain(1, true);
    let claimed = claim(&mut net, 5, 1, (8, 1));
    assert_eq!(claimed.result, Ok(vec![0x80]));
    assert!(net.finished(1, moves).is_some());
}

#[test]
fn when_the_node_that_took_the_call_falls_or_starts_anew_its_client_hears_of_it() {
    let mut net = line();
    call(&mut net, 1, (7, 1));
    net.run_for(RUNS / 4);
    let waits = net.claim(3, 1, (7, 1), "shop/check").unwrap();
    net.run_for(RUNS / 4);
    net.crash(1);
    let silent = net.run_until_finished(3, waits);
    assert_eq!(silent.result, Err(Fault::Unreachable));
    net.restart(1);
    net.run_for(5 * SECOND);
    let forgotten = claim(&mut net, 3, 1, (7, 1));
    assert_eq!(forgotten.result, Err(Fault::UnknownCall));
}

/// How robots get their results on the floor of the paper, with one executor a node.
fn floor(faults: &str) -> (HandOver, u64, u64) {
    let mut scenario = Scenario {
        duration_s: 600.0,
        ..Scenario::default()
    };
    scenario.nodes.executors = Some(1);
    scenario.robots.hand_over = true;
    scenario.robots.speed_m_s = (1.0, 3.0);
    let trace = scenario.trace(81);
    let mut settings = Settings::default();
    scenario.settle(&mut settings);
    let mut run = Run::new(&trace, settings);
    run.befall(&Trial::read(faults).unwrap()).unwrap();
    while run.advance(Duration::from_secs(600)) {}
    let report = run.report();
    let results = report.hand_over.unwrap();
    (results, report.triggered, report.failed)
}

#[test]
fn robots_that_drive_on_get_their_results_where_they_are() {
    let (results, triggered, failed) = floor("");
    assert_eq!((results.lost, failed), (0, 0), "{results:?}");
    let told = results.at_once + results.elsewhere + results.back + results.open;
    assert_eq!(told, triggered, "{results:?}");
    assert!(results.elsewhere > triggered / 50, "{results:?}");
    // A robot out of contact at the end, or on its way, has not asked yet.
    assert!(results.open < triggered / 20, "{results:?}");
    // A result that is there comes within the way to its node and back, others when the call ends.
    assert!(results.mean_wait_s.unwrap() < 5.0, "{results:?}");
    let questions = results.elsewhere + results.back;
    assert!(results.bytes < 500 * questions, "{results:?}");
}

#[test]
fn a_robot_hears_that_a_node_has_lost_its_result_and_gets_the_others() {
    let (results, triggered, failed) =
        floor("[[fault]]\nkind = \"crash\"\nat_s = 300.0\nfor_s = 20.0\nnode = 6\nkeeps = true\n");
    assert!(failed > 0, "{results:?}");
    assert!(
        (1..=failed).contains(&results.lost),
        "{results:?}, {failed} failed"
    );
    assert!(results.open < 30, "{results:?}");
    assert!(results.not_taken > 0, "{results:?}");
    let told = results.at_once + results.elsewhere + results.back + results.lost;
    assert_eq!(
        told + results.open + results.not_taken,
        triggered,
        "{results:?}"
    );
}

#[test]
fn a_call_that_failed_before_anything_ran_may_be_made_again_with_its_number() {
    // Node 2 has neither the module nor a way to whoever has it.
    let mut net = line();
    net.cut(1, 2);
    let first = call(&mut net, 2, (7, 1));
    let first = net.run_until_finished(2, first);
    assert_eq!(first.result, Err(Fault::Unreachable));
    let told = claim(&mut net, 3, 2, (7, 1));
    assert_eq!(told.result, Err(Fault::Unreachable), "its client hears why");
    net.mend(1, 2);
    net.run_for(90 * SECOND);
    let again = call(&mut net, 2, (7, 1));
    let again = net.run_until_finished(2, again);
    assert_eq!(again.result, Ok(vec![0x80]));
    assert_eq!(claim(&mut net, 3, 2, (7, 1)).result, Ok(vec![0x80]));
}
