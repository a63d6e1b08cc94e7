//! The paper's figures, from short runs.
#![allow(
    clippy::std_instead_of_alloc,
    clippy::unwrap_used,
    reason = "tests of a program for an operating system"
)]

use core::time::Duration;

use nimblenet_sim::claims::{claims, page};
use nimblenet_sim::course::{Course, Response};
use nimblenet_sim::figures::{
    Comparison, Figure, Sample, cumulative, first_call, load_per_node, responses, taskset,
};
use nimblenet_sim::followed::Followed;
use nimblenet_sim::scenario::Scenario;
use nimblenet_sim::trace::Trace;
use nimblenet_sim::{Cut, Profile, Report, Run, Settings};

fn trace() -> Trace {
    Scenario::default().trace(1).cut(400.0)
}

fn run(trace: &Trace, profile: Profile, cut: Cut) -> (Report, Course) {
    let settings = Settings {
        profile,
        cut,
        ..Settings::default()
    };
    let mut run = Run::new(trace, settings);
    run.advance(trace.duration());
    (run.report(), run.course())
}

fn compare<'a>(nimble: &'a (Report, Course), monolithic: &'a (Report, Course)) -> Comparison<'a> {
    let sample = |(report, course): &'a (Report, Course)| vec![Sample { report, course }];
    Comparison {
        nimble: sample(nimble),
        monolithic: sample(monolithic),
    }
}

/// The numbers of a figure, row by row.
fn numbers(figure: &Figure) -> Vec<Vec<f64>> {
    let rows = figure.csv.lines().skip(1);
    let cells = |row: &str| row.split(',').map(|cell| cell.parse().unwrap()).collect();
    rows.map(cells).collect()
}

#[test]
fn the_first_call_waits_for_each_module_and_runs_as_long_as_the_task_set_says() {
    let trace = trace();
    let (_, course) = run(&trace, Profile::Paper, Cut::Nimble);
    let call = course.followed.unwrap();
    let ran: Duration = call.spans.iter().map(|span| span.to - span.from).sum();
    let waited: Duration = call.waits().map(|(from, to)| to - from).sum();
    assert_eq!(ran + waited, call.ended - call.begun);
    let called = call.spans.iter().filter(|span| span.called).count();
    assert_eq!(call.spans.len(), 2 * called + 1);
    // It was triggered by a robot, and everything was fetched: its node had nothing yet.
    let at_s = (call.begun - Default::default()).as_secs_f64();
    let mut triggers = trace.triggers.iter();
    let trigger = triggers.find(|it| (it.at_s - at_s).abs() < 1e-5).unwrap();
    assert_eq!(trigger.node, Some(call.node.0));
    let run_s = trace.taskset.run_s(trigger.chain, 0.006);
    assert!((ran.as_secs_f64() - run_s).abs() < 1e-3);
    assert_eq!(call.waits().count(), called + 1);
    assert!(
        first_call(&call, "paper")
            .svg
            .contains(&format!("chain {}", trigger.chain))
    );
}

/// What ran for a call, in seconds, and where; the call has ended.
fn followed(trace: &Trace, settings: Settings, number: usize) -> (f64, Followed) {
    let mut run = Run::new(trace, settings);
    run.follow(number);
    run.advance(trace.duration());
    let call = run.course().followed.unwrap();
    let ran: Duration = call.spans.iter().map(|span| span.to - span.from).sum();
    (ran.as_secs_f64(), call)
}

#[test]
fn a_call_is_followed_to_where_it_ran_and_not_to_another_of_its_chain() {
    let trace = Scenario::default().trace(1).cut(120.0);
    let calls = trace.triggers.iter().filter(|it| it.node.is_some());
    // Calls that have time to end, some of them when everything is cached and one starts at once.
    let calls: Vec<_> = calls.zip(1..).filter(|(it, _)| it.at_s < 90.0).collect();
    let mut elsewhere = 0;
    for (trigger, number) in calls.into_iter().step_by(4) {
        let run_s = trace.taskset.run_s(trigger.chain, 0.006);
        let here = Settings::default();
        let (ran_s, call) = followed(&trace, here, number);
        assert!(
            (ran_s - run_s).abs() < 1e-3,
            "call {number}: {ran_s} of {run_s}"
        );
        assert_eq!(Some(call.ran_on.0), trigger.node, "call {number}");
        let placed = Settings {
            executors: Some(1),
            ..here
        };
        let (ran_s, call) = followed(&trace, placed, number);
        assert!(
            (ran_s - run_s).abs() < 1e-3,
            "call {number}: {ran_s} of {run_s}"
        );
        elsewhere += u32::from(call.ran_on != call.node);
    }
    assert!(elsewhere > 0, "placement moves calls");
}

#[test]
fn lines_with_gaps_keep_their_times() {
    let trace = trace();
    let made = run(&trace, Profile::Paper, Cut::Nimble);
    let ends = |times: &[f64]| {
        let (report, mut course) = made.clone();
        let response = |at_s: &f64| Response {
            at_s: *at_s,
            took_s: *at_s,
        };
        course.duration_s = 395.0;
        course.responses = times.iter().map(response).collect();
        (report, course)
    };
    let (early, late, all) = (
        ends(&[50.0]),
        ends(&[350.0]),
        ends(&[50.0, 150.0, 250.0, 350.0]),
    );
    let sample = |(report, course)| Sample { report, course };
    let [early, late, all] = [&early, &late, &all].map(|(report, course)| sample((report, course)));
    let figure = responses(&Comparison {
        nimble: vec![early, late],
        monolithic: vec![all, all],
    });
    let row = |at: &str| {
        let mut rows = figure.csv.lines().filter_map(|row| row.split_once(','));
        rows.find(|(time, _)| *time == at).unwrap().1
    };
    assert_eq!(row("100"), "50,50");
    // No call of the nimble task set ended in this window.
    assert_eq!(row("250"), ",150");
    assert_eq!(row("395"), "350,350", "the last window ends with the run");
    assert!(!figure.csv.contains("\n400"), "{}", figure.csv);
}

#[test]
fn figures_have_the_numbers_of_the_reports() {
    let trace = trace();
    let nimble = run(&trace, Profile::Paper, Cut::Nimble);
    let monolithic = run(&trace, Profile::Paper, Cut::Monolithic);
    let both = compare(&nimble, &monolithic);
    let loads = numbers(&load_per_node(&both));
    assert_eq!(loads.len(), 12);
    assert_eq!(loads[0][1] * 1000.0, nimble.0.tx_bytes[&1] as f64);
    assert_eq!(loads[11][4] * 1000.0, monolithic.0.rx_bytes[&12] as f64);
    let over_time = numbers(&cumulative(&both));
    let reported = &nimble.0.cumulative_txrx_bytes_per_10s;
    assert_eq!(over_time.len(), reported.len());
    let last = over_time.last().unwrap();
    assert_eq!(last[0], 400.0);
    assert_eq!((last[1] * 1e6).round(), *reported.last().unwrap() as f64);
    // Windows of 100 s, 10 s apart, of which every tenth is reported.
    let windows = numbers(&responses(&both));
    assert_eq!(windows.len(), 31);
    let reported = &nimble.0.mean_response_s_per_100s;
    assert_eq!(reported.len(), 4);
    assert_eq!(Some(windows[10][1]), reported[1]);
    assert_eq!(numbers(&taskset(&trace, 0.006)).len(), 200);
}

#[test]
fn the_page_has_each_claim_with_what_each_protocol_led_to() {
    let trace = trace();
    let protocols = [Profile::Paper, Profile::Default];
    let runs = protocols.map(|profile| {
        let cuts = [Cut::Nimble, Cut::Monolithic];
        cuts.map(|cut| run(&trace, profile, cut))
    });
    let compared = protocols.iter().zip(&runs);
    let compared = compared.map(|(profile, [nimble, monolithic])| {
        let comparison = compare(nimble, monolithic);
        (*profile, comparison)
    });
    let compared: Vec<_> = compared.collect();
    let claims = claims(&compared);
    let found = |what: &str| {
        let claim = claims.iter().find(|claim| claim.what.starts_with(what));
        &claim.unwrap().found
    };
    for profile in 0..2 {
        let triggers: f64 = found("triggers an hour")[profile].parse().unwrap();
        assert!((7000.0..7400.0).contains(&triggers), "{triggers}");
        let ratio: f64 = found("node 1 sends")[profile].parse().unwrap();
        assert!(ratio > 3.0, "{ratio}");
        let longer = found("execution: nimble")[profile].split_once(' ').unwrap();
        let longer_ms: f64 = longer.0.parse().unwrap();
        assert!((25.0..40.0).contains(&longer_ms), "{longer_ms}");
    }
    let figures: Vec<Figure> = compared.iter().map(|(_, runs)| cumulative(runs)).collect();
    let page = page(&compared, "a < b", &figures);
    assert_eq!(page.matches("<svg").count(), 2);
    assert_eq!(page.matches("<tr>").count(), claims.len() + 1);
    assert!(page.contains("a &lt; b") && page.ends_with("</html>\n"));
}
