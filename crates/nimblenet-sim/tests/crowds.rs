//! Crowds: one who asks alone may have everything, and while others ask nobody is starved.
#![allow(clippy::unwrap_used)]

use core::time::Duration;

use nimblenet_core::{CallId, PartyId};
use nimblenet_sim::{Draft, Layout, LinkModel, Net, Publisher, TimedExecutor};
use nimblenet_tasklet::Fault;

const SECOND: Duration = Duration::from_secs(1);
/// How long the tasklet runs.
const RUNS: Duration = Duration::from_millis(200);
/// How many jobs a node has.
const JOBS: usize = 16;
/// When one who was refused comes again, as the answer says.
const COMES_AGAIN: Duration = Duration::from_secs(5);

const GREEDY: Option<PartyId> = Some(PartyId(1));
const MODEST: Option<PartyId> = Some(PartyId(2));

/// Three nodes in a line, and two namespaces.
fn line() -> Net {
    let shelf = |namespace| {
        let module = TimedExecutor::module(&[RUNS.as_micros() as u32], 100);
        let drafts = vec![Draft::new("rms", module, "func()")];
        (Publisher::new(namespace), drafts)
    };
    let mut net = Net::new(
        1,
        &Layout::line(3),
        LinkModel::perfect(Duration::from_millis(5)),
        vec![shelf("shop"), shelf("yard")],
        |config| config.limits.jobs = JOBS,
        |_| Box::new(TimedExecutor::default()),
    );
    net.run_for(5 * SECOND);
    for name in ["shop/rms", "yard/rms"] {
        assert!(net.run_call(2, name).result.is_ok());
    }
    // Nobody has asked for a while.
    net.run_for(20 * SECOND);
    net
}

/// Calls as often as the node takes calls.
fn fill(net: &mut Net, from: Option<PartyId>, name: &str) -> Vec<CallId> {
    let calls = core::iter::from_fn(|| match net.call_from(2, from, name, &[0x80]) {
        Ok(call) => Some(call),
        Err(fault) => {
            assert_eq!(fault, Fault::Busy);
            None
        }
    });
    calls.take(10 * JOBS).collect()
}

fn live(net: &Net, calls: &[CallId]) -> usize {
    let ended = calls
        .iter()
        .filter(|call| net.finished(2, **call).is_some());
    calls.len() - ended.count()
}

/// The greedy one takes whatever it gets at every moment; the other calls once, and when it is refused
/// comes again. After which time its calls have ended, one after the other.
fn contest(net: &mut Net, greedy: (Option<PartyId>, &str), modest: (Option<PartyId>, &str)) {
    let mut held = fill(net, greedy.0, greedy.1);
    assert_eq!(held.len(), JOBS, "alone it has every place");
    for turn in 0..5 {
        let asked = net.now();
        let call = loop {
            match net.call_from(2, modest.0, modest.1, &[0x80]) {
                Ok(call) => break call,
                Err(fault) => assert_eq!(fault, Fault::Busy),
            }
            let again = net.now() + COMES_AGAIN;
            while net.now() < again {
                held.extend(fill(net, greedy.0, greedy.1));
                net.run_for(RUNS / 4);
            }
        };
        let waited = net.now() - asked;
        let most = if turn == 0 {
            COMES_AGAIN + RUNS
        } else {
            Duration::ZERO
        };
        assert!(waited <= most, "turn {turn}: {waited:?}");
        held.extend(fill(net, greedy.0, greedy.1));
        assert!(live(net, &held) <= JOBS / 2, "turn {turn}: it has its half");
        // No more than its own turn and the jobs before it in line.
        let end = net.run_until_finished(2, call);
        assert_eq!(end.result, Ok(vec![0x80]));
        assert!(
            end.took <= RUNS * (JOBS as u32 / 2 + 2),
            "turn {turn}: {:?}",
            end.took
        );
    }
    // When nobody else asks any more, everything is there for one again.
    for call in held {
        net.run_until_finished(2, call);
    }
    net.run_for(20 * SECOND);
    assert_eq!(fill(net, greedy.0, greedy.1).len(), JOBS);
}

#[test]
fn a_caller_alone_has_every_place_and_half_of_them_while_another_asks() {
    contest(&mut line(), (GREEDY, "shop/rms"), (MODEST, "shop/rms"));
}

#[test]
fn a_namespace_alone_has_every_place_and_half_of_them_while_another_is_asked_for() {
    contest(&mut line(), (None, "shop/rms"), (None, "yard/rms"));
}

#[test]
fn another_node_has_at_most_half_of_the_places_while_this_one_s_callers_ask() {
    let mut net = line();
    let own = net.call_from(2, MODEST, "shop/rms", &[0x80]).unwrap();
    let calls: Vec<_> = (0..JOBS - 2)
        .map(|_| net.call_at(3, 2, "shop/rms", &[0x80]).unwrap())
        .collect();
    net.run_for(RUNS / 4);
    assert_eq!(net.node(2).jobs(), 1 + JOBS / 2);
    let more = fill(&mut net, MODEST, "shop/rms");
    assert_eq!(more.len(), JOBS / 2 - 1);
    let ends = calls
        .into_iter()
        .map(|call| net.run_until_finished(3, call).result);
    let busy = ends.filter(|end| *end == Err(Fault::Busy));
    assert_eq!(busy.count(), JOBS - 2 - JOBS / 2);
    for call in more.into_iter().chain([own]) {
        assert_eq!(net.run_until_finished(2, call).result, Ok(vec![0x80]));
    }
}
