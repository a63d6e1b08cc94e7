//! The outcomes for a person, 80 columns wide.

use alloc::collections::BTreeMap;
use core::cmp::Reverse;

use comfy_table::{CellAlignment, Table, presets};
use nimblenet_core::Priority;
use nimblenet_sim::scenario::Sweep;
use nimblenet_sim::tally::Accounting;
use nimblenet_sim::{Cut, Deadlines, Duty, HEADERS, HandOver, Report};

use super::Outcome;
use super::drawing::{Contest, contests};
use crate::output::{counted, row};

/// Rows of nodes; of more nodes only those that sent most, and the others together.
const NODE_ROWS: usize = 16;

/// One run in full, or a row for each of several.
pub(crate) fn page(outcomes: &[Outcome], sweep: Option<&Sweep>) -> String {
    match outcomes {
        [outcome] if sweep.is_none() => full(&outcome.report),
        _ => several(outcomes, sweep),
    }
}

fn full(report: &Report) -> String {
    let mut page = String::new();
    calls(&mut page, report);
    traffic(&mut page, report);
    format!(
        "{page}\n{}\n\n{}",
        kinds(report).trim_fmt(),
        nodes_table(report).trim_fmt()
    )
}

/// What was run, and how calls ended.
fn calls(page: &mut String, report: &Report) {
    let mut say = |label: &str, text: String| row(page, label, &text);
    let Report {
        taskset,
        profile,
        seed,
        ..
    } = report;
    let nodes = counted(report.tx_bytes.len() - 1, "node");
    say(
        "run",
        format!("{taskset} task set, profile {profile}, seed {seed}, {nodes}"),
    );
    say(
        "calls",
        format!(
            "{} made, {} finished by the end, {} failed",
            report.triggered, report.finished_by_end, report.failed
        ),
    );
    say(
        "response",
        format!(
            "mean {}, p99 {}; acquisition {}, execution {}",
            seconds(report.mean_response_s),
            seconds(report.p99_response_s),
            seconds(report.mean_acquisition_s),
            seconds(report.mean_execution_s)
        ),
    );
    if report.executors.is_some() {
        let pool_s = report.perfect_pool_mean_s;
        let times = report
            .mean_response_s
            .zip(pool_s.filter(|pool_s| *pool_s > 0.0));
        let times = times.map(|(mean_s, pool_s)| format!("{:.2} times that", mean_s / pool_s));
        say(
            "pool",
            format!(
                "mean {} if all executors were one and communication free; here {}, {} moved",
                seconds(pool_s),
                or_dash(times),
                counted(report.calls_moved as usize, "call")
            ),
        );
    }
    if let Some(deadlines) = &report.deadlines {
        say("deadlines", met(deadlines));
    }
    if let Some(results) = &report.hand_over {
        say("results", got(results));
    }
}

/// Where robots have got the results of their calls.
fn got(results: &HandOver) -> String {
    format!(
        "{} where the robot had called, {} when it came back, {} at another node after {} in the mean; {} \
         lost, {} not yet, {} not taken; {} kB",
        results.at_once,
        results.back,
        results.elsewhere,
        seconds(results.mean_wait_s),
        results.lost,
        results.open,
        results.not_taken,
        kilobytes(results.bytes)
    )
}

/// What became of the deadlines and the results of several runs together, if they have any.
fn together(outcomes: &[Outcome]) -> Vec<(&'static str, String)> {
    let reports = || outcomes.iter().map(|outcome| &outcome.report);
    let mut deadlines: BTreeMap<&str, Deadlines> = BTreeMap::new();
    for (name, own) in reports().filter_map(|it| it.deadlines.as_ref()).flatten() {
        let sum = deadlines.entry(name).or_default();
        sum.calls += own.calls;
        sum.met += own.met;
        sum.too_late += own.too_late;
    }
    let results: Vec<HandOver> = reports().filter_map(|it| it.hand_over).collect();
    let sum = |of: fn(&HandOver) -> u64| results.iter().map(of).sum::<u64>();
    let waits = results
        .iter()
        .filter_map(|it| Some((it.mean_wait_s?, it.elsewhere as f64)));
    let (waited_s, asked) = waits.fold((0.0, 0.0), |(waited_s, asked), (mean_s, count)| {
        (waited_s + mean_s * count, asked + count)
    });
    let all = HandOver {
        at_once: sum(|it| it.at_once),
        elsewhere: sum(|it| it.elsewhere),
        back: sum(|it| it.back),
        lost: sum(|it| it.lost),
        open: sum(|it| it.open),
        not_taken: sum(|it| it.not_taken),
        mean_wait_s: (asked > 0.0).then(|| waited_s / asked),
        bytes: sum(|it| it.bytes),
    };
    let deadlines = (!deadlines.is_empty()).then(|| ("deadlines", met(&deadlines)));
    let results = (!results.is_empty()).then(|| ("results", got(&all)));
    deadlines.into_iter().chain(results).collect()
}

/// How many calls of each priority have ended in time, the most urgent first.
fn met(deadlines: &BTreeMap<&str, Deadlines>) -> String {
    let priorities = Priority::ALL.iter().rev().map(|priority| priority.name());
    let rows = priorities.filter_map(|name| {
        let Deadlines {
            calls,
            met,
            too_late,
        } = deadlines.get(name)?;
        let share = percent(*met as f64 / (*calls as f64).max(1.0));
        Some(format!(
            "{name} {share} of {calls} met, {too_late} given up as too late"
        ))
    });
    rows.collect::<Vec<_>>().join("; ")
}

/// What was sent, and where tasklets came from.
fn traffic(page: &mut String, report: &Report) {
    let mut say = |label: &str, text: String| row(page, label, &text);
    say(
        "on air",
        format!(
            "{} kB in {}, {} times the lower bound of {} kB for what has run",
            kilobytes(report.air_bytes),
            counted(report.air_packets as usize, "packet"),
            or_dash(
                report
                    .air_over_lower_bound
                    .map(|times| format!("{times:.2}"))
            ),
            kilobytes(report.lower_bound_bytes)
        ),
    );
    let by_header = &report.air_bytes_by_accounting;
    for (accounting, bytes) in [("nominal", &by_header.nominal), ("real", &by_header.real)] {
        let bytes = HEADERS.iter().filter_map(|header| {
            let bytes = kilobytes(*bytes.get(header)?);
            Some(format!("{bytes} kB with {header} bytes a packet"))
        });
        say(accounting, bytes.collect::<Vec<_>>().join(", "));
    }
    say(
        "evenness",
        format!(
            "Jain's index {:.3}, coefficient of variation {:.3} (sent and received)",
            report.jain_txrx, report.cv_txrx
        ),
    );
    if !report.energy_j.is_empty() {
        say("energy", energy(report));
    }
    let sources = report.acquisitions_by_source;
    say(
        "tasklets",
        format!(
            "{} local, {} from neighbours, {} from further away, {} from the registry",
            sources.local, sources.neighbour, sources.global, sources.registry
        ),
    );
}

/// What nodes have used, without the registry, and what they did with it.
fn energy(report: &Report) -> String {
    let others = |id: &u16| *id != report.registry;
    let used = report.energy_j.iter().filter(|(id, _)| others(id));
    let used: Vec<f64> = used.map(|(_, joules)| *joules).collect();
    let duties = report.duty_cycle.iter().filter(|(id, _)| others(id));
    let duties: Vec<_> = duties.map(|(_, duty)| *duty).collect();
    let count = duties.len().max(1) as f64;
    let percent = |of: fn(&Duty) -> f64| 100.0 * duties.iter().map(of).sum::<f64>() / count;
    format!(
        "{:.1} J a node ({:.1} to {:.1}); a node runs {:.1} %, sends {:.2} %, receives {:.2} % of the time",
        used.iter().sum::<f64>() / count,
        used.iter().copied().fold(f64::INFINITY, f64::min),
        used.iter().copied().fold(0.0, f64::max),
        percent(|duty| duty.run),
        percent(|duty| duty.send),
        percent(|duty| duty.receive),
    )
}

fn kinds(report: &Report) -> Table {
    let mut table = table(&["kind", "messages", "sent kB", "share"]);
    let mut kinds: Vec<_> = report.tx_bytes_by_kind.iter().collect();
    kinds.sort_by_key(|(_, bytes)| Reverse(**bytes));
    for (kind, bytes) in kinds {
        let messages = report.messages_originated.get(kind).copied();
        table.add_row([
            (*kind).to_owned(),
            messages.unwrap_or_default().to_string(),
            kilobytes(*bytes),
            percent(*bytes as f64 / (report.air_bytes as f64).max(1.0)),
        ]);
    }
    table
}

fn nodes_table(report: &Report) -> Table {
    let mut table = table(&["node", "sent kB", "received kB"]);
    let received = |id: &u16| report.rx_bytes.get(id).copied().unwrap_or_default();
    let mut nodes: Vec<(u16, u64)> = report.tx_bytes.iter().map(|(id, tx)| (*id, *tx)).collect();
    let mut others = Vec::new();
    if nodes.len() > NODE_ROWS {
        nodes.sort_by_key(|(_, sent)| Reverse(*sent));
        others = nodes.split_off(NODE_ROWS - 1);
        nodes.sort_unstable();
    }
    for (id, sent) in nodes {
        let name = match id == report.registry {
            true => format!("{id}, registry"),
            false => id.to_string(),
        };
        table.add_row([name, kilobytes(sent), kilobytes(received(&id))]);
    }
    if !others.is_empty() {
        table.add_row([
            format!("{} others", others.len()),
            kilobytes(others.iter().map(|(_, sent)| sent).sum()),
            kilobytes(others.iter().map(|(id, _)| received(id)).sum()),
        ]);
    }
    table
}

/// The columns of a table of several runs, after what tells them apart.
const COLUMNS: [&str; 8] = [
    "calls", "failed", "air kB", "/bound", "node 1", "acquire", "mean s", "p99 s",
];

fn several(outcomes: &[Outcome], sweep: Option<&Sweep>) -> String {
    let value = sweep.map(|_| "value");
    let header = value
        .into_iter()
        .chain(["profile", "set", "seed"])
        .chain(COLUMNS);
    let header: Vec<&str> = header.collect();
    let mut table = table(&header);
    let same =
        |a: &Outcome, b: &Outcome| (a.value, a.profile, a.cut) == (b.value, b.profile, b.cut);
    for group in outcomes.chunk_by(same) {
        let numbers: Vec<[Option<f64>; 8]> = group.iter().map(|it| numbers(&it.report)).collect();
        for (outcome, numbers) in group.iter().zip(&numbers) {
            let seed = outcome.report.seed.to_string();
            table.add_row(cells(outcome, &seed, numbers));
        }
        if group.len() > 1 {
            let mean = |at: usize| {
                let known: Vec<f64> = numbers.iter().filter_map(|run| run[at]).collect();
                (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
            };
            let means = core::array::from_fn(mean);
            table.add_row(cells(&group[0], "mean", &means));
        }
    }
    let report = &outcomes[0].report;
    let accounting = match report.accounting {
        Accounting::Nominal => "nominal",
        Accounting::Real => "real",
    };
    let mut legend = String::new();
    let value = sweep.map_or_else(String::new, |sweep| {
        format!("value: of {}; ", sweep.parameter.name())
    });
    let text = format!(
        "{value}on air and sent by node 1 in kB, {accounting}, {} bytes a packet besides; /bound: on air, \
         as a multiple of the lower bound; acquire: mean wait for modules, in s",
        report.header_bytes
    );
    row(&mut legend, "legend", &text);
    let groups = outcomes.chunk_by(same);
    let is_one = groups.clone().count() == 1;
    for group in groups {
        for (label, text) in together(group) {
            let Outcome { value, cut, .. } = &group[0];
            let value = value.map_or_else(String::new, |value| format!("{value} "));
            let (profile, cut) = (group[0].report.profile, cut.name());
            let of = match is_one {
                true => String::new(),
                false => format!("{value}{profile} {cut}: "),
            };
            row(&mut legend, label, &format!("{of}{text}"));
        }
    }
    let contests = contests(outcomes);
    if !contests.is_empty() {
        legend = format!("{legend}\n{}", contest_table(&contests).trim_fmt());
    }
    format!("{}\n\n{legend}", table.trim_fmt())
}

/// From when on the nimble task set loads the mesh less, and how often it responds faster then.
fn contest_table(contests: &[Contest]) -> Table {
    let mut table = table(&["value", "break-even s", "100 s windows won", "of", "share"]);
    for contest in contests {
        let share = contest.windows_won as f64 / contest.windows as f64;
        let share = (contest.windows > 0).then(|| percent(share));
        table.add_row([
            contest.value.to_string(),
            contest
                .break_even_s
                .map_or_else(|| "never".to_owned(), |at| at.to_string()),
            contest.windows_won.to_string(),
            contest.windows.to_string(),
            or_dash(share),
        ]);
    }
    table
}

fn cells(outcome: &Outcome, seed: &str, numbers: &[Option<f64>; 8]) -> Vec<String> {
    let [calls, failed, air, bound, node, acquisition, mean, p99] = numbers;
    let value = outcome.value.map(|value| value.to_string());
    let set = match outcome.cut {
        Cut::Nimble => "nimble",
        Cut::Monolithic => "mono",
    };
    let who = [outcome.report.profile, set, seed].map(str::to_owned);
    let shown = |number: &Option<f64>, decimals: usize| {
        or_dash(number.map(|number| format!("{number:.decimals$}")))
    };
    let numbers = [
        shown(calls, 0),
        shown(failed, 0),
        shown(air, 0),
        shown(bound, 2),
        shown(node, 0),
        shown(acquisition, 3),
        shown(mean, 2),
        shown(p99, 2),
    ];
    value.into_iter().chain(who).chain(numbers).collect()
}

fn numbers(report: &Report) -> [Option<f64>; 8] {
    [
        Some(report.triggered as f64),
        Some(report.failed as f64),
        Some(report.air_bytes as f64 / 1000.0),
        report.air_over_lower_bound,
        report.tx_bytes.get(&1).map(|bytes| *bytes as f64 / 1000.0),
        report.mean_acquisition_s,
        report.mean_response_s,
        report.p99_response_s,
    ]
}

/// A time; a dash if no call has a result.
fn seconds(seconds: Option<f64>) -> String {
    or_dash(seconds.map(|seconds| format!("{seconds:.3} s")))
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

fn kilobytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1000.0)
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// A table whose first column has names and whose others have numbers.
fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header.iter().copied());
    for column in table.column_iter_mut() {
        column.set_padding((0, 1));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
