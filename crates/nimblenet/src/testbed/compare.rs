//! Both worlds side by side: the testbed and the simulator on the same trace.

use core::time::Duration;
use std::collections::BTreeMap;

use anyhow::Context as _;
use comfy_table::{CellAlignment, Table, presets};
use nimblenet_sim::bound::{LowerBound, Needs};
use nimblenet_sim::figures::{
    Comparison, Figure, Sample, break_even, cumulative, load_per_node, responses,
};
use nimblenet_sim::trace::Trace;
use nimblenet_sim::{Balance, Cut, Report, Settings};
use serde_json::{Map, Value as Json, json};

use super::runner::State;
use super::{Extra, Outcome};
use crate::output::row;
use crate::sim;

/// The keys of a report that are compared.
const COMPARED: [&str; 19] = [
    "triggered",
    "finished_by_end",
    "failed",
    "nacks",
    "tx_bytes",
    "rx_bytes",
    "air_bytes",
    "air_packets",
    "tx_bytes_by_kind",
    "received_module_bytes",
    "messages_originated",
    "acquisitions_by_source",
    "mean_acquisition_s",
    "mean_execution_s",
    "mean_response_s",
    "p99_response_s",
    "cached_bytes_per_node",
    "jain_txrx",
    BOUND,
];
/// The key of the lower bound, and of that of calls with a result in the simulator.
const BOUND: &str = "lower_bound_bytes";
const BOUND_OF_FINISHED: &str = "lower_bound_of_finished_bytes";
/// The kinds of messages that serve no call.
const HOUSEKEEPING: [&str; 3] = ["hello", "holdings", "report"];

/// One task set in both worlds.
#[derive(Clone, Debug)]
pub(crate) struct Both {
    /// The task set.
    pub(crate) cut: Cut,
    /// Real nodes.
    pub(crate) testbed: Outcome,
    /// The simulator.
    pub(crate) sim: sim::Outcome,
    /// The simulator with the limits of Linux nodes, if the nodes are boards.
    pub(crate) linux: Option<sim::Outcome>,
    /// The lower bound of what the calls of the simulator have run that had a result: real nodes tell of no
    /// others. The second one is that with the limits of Linux nodes.
    pub(crate) bounds: (u64, Option<u64>),
}

/// The lower bound of what the calls of a simulated run have run that had a result.
pub(crate) fn bound_of_finished(trace: &Trace, settings: &Settings, run: &sim::Outcome) -> u64 {
    let tasks = settings.cut.of(&trace.taskset);
    let needs = Needs::of_calls(&run.course.finished, &tasks);
    let bound = LowerBound::of(trace, &tasks, settings.cache_bytes as u64, &needs);
    bound.bytes(settings.header_bytes)
}

/// What came out as JSON: the report of the testbed, what only a testbed has, the report of the
/// simulator and the difference. `other` is the other task set, if that was replayed too.
///
/// # Errors
/// If a report cannot be written, which does not happen.
pub(crate) fn document(both: &Both, other: Option<&Both>) -> anyhow::Result<Json> {
    let mut testbed = serde_json::to_value(&both.testbed.report).context("writing a report")?;
    if both.testbed.extra.boards.is_some() {
        // Nobody asks a board what its cache holds.
        testbed["cached_bytes_per_node"] = Json::Null;
    }
    testbed[BOUND_OF_FINISHED] = testbed[BOUND].clone();
    let mut sim = serde_json::to_value(&both.sim.report).context("writing a report")?;
    sim[BOUND_OF_FINISHED] = both.bounds.0.into();
    let difference = difference(&testbed, &sim);
    let linux = both.linux.as_ref();
    let linux = linux.map(|linux| serde_json::to_value(&linux.report));
    let mut linux = linux.transpose().context("writing a report")?;
    if let (Some(linux), Some(bound)) = (&mut linux, both.bounds.1) {
        linux[BOUND_OF_FINISHED] = bound.into();
    }
    let of_linux = linux
        .as_ref()
        .map(|linux| self::difference(&testbed, linux));
    let mut document = testbed;
    add(&mut document, &both.testbed.extra);
    document["housekeeping_bytes"] = housekeeping(&both.testbed.report).into();
    document["sim"] = sim;
    document["difference"] = difference;
    if let (Some(linux), Some(of_linux)) = (linux, of_linux) {
        document["sim_linux"] = linux;
        document["difference_linux"] = of_linux;
    }
    if let Some(other) = other {
        document["findings"] = findings(both, other);
    }
    Ok(document)
}

/// For each number that is compared, by how much it is above that of the simulator, in per cent.
fn difference(testbed: &Json, sim: &Json) -> Json {
    let compared = COMPARED.map(|key| {
        // What calls without a result have run counts in the simulator alone.
        let other = if key == BOUND { BOUND_OF_FINISHED } else { key };
        (key.to_owned(), percent(&testbed[key], &sim[other]))
    });
    Json::Object(compared.into_iter().collect())
}

/// Adds what only a testbed has.
fn add(document: &mut Json, extra: &Extra) {
    let Balance {
        sent,
        doubled,
        lost,
        delivered,
        on_way,
    } = sum(extra);
    let fates = extra.fates;
    document["boards"] = match extra.boards {
        Some(_) => "pico".into(),
        None => "process".into(),
    };
    if let Some(boards) = &extra.boards {
        let sum = |of: fn(&State) -> u64| boards.iter().map(of).sum::<u64>();
        document["cores"] = json!({
            "instructions": sum(|board| board.instructions),
            "lost_line_bytes": sum(|board| board.lost_bytes),
            "damaged_frames": sum(|board| board.damaged),
        });
        document["replay_hash"] = json!(extra.hash.map(|hash| format!("{hash:016x}")));
    }
    document["speedup"] = extra.speedup.into();
    document["load"] = json!(extra.room);
    document["acquisitions_by_hops"] = json!(extra.by_hops);
    document["overhead_s"] = json!(extra.overhead_s);
    document["cut_off"] = extra.cut_off.into();
    document["unanswered"] = extra.unanswered.into();
    document["outbox_full"] = extra.outbox_full.into();
    document["air"] = json!({
        "conserved": broken_links(extra).is_empty(),
        "sent_bytes": sent,
        "doubled_bytes": doubled,
        "delivered_bytes": delivered,
        "lost_bytes": lost,
        "on_way_bytes": on_way,
        "late_p99_s": extra.lateness.0.as_secs_f64(),
        "late_max_s": extra.lateness.1.as_secs_f64(),
        "frames_sent": fates.sent,
        "frames_delivered": fates.delivered,
        "frames_lost": fates.lost,
        "frames_too_long": fates.too_long,
        "frames_overflowed": fates.overflowed,
        "frames_dead": fates.dead,
    });
}

/// By how much, in per cent, a number is above another; for each, of maps. None where there is nothing
/// to compare with.
fn percent(number: &Json, other: &Json) -> Json {
    if let (Json::Object(numbers), Json::Object(others)) = (number, other) {
        let keys = numbers.keys().chain(others.keys());
        let nothing = json!(0);
        let of = |map: &Map<String, Json>, key: &str| map.get(key).unwrap_or(&nothing).clone();
        let each = keys.map(|key| (key.clone(), percent(&of(numbers, key), &of(others, key))));
        return Json::Object(each.collect());
    }
    match (number.as_f64(), other.as_f64()) {
        (Some(number), Some(other)) if number == other => json!(0.0),
        (Some(number), Some(other)) if other != 0.0 => {
            json!(((number - other) / other * 10_000.0).round() / 100.0)
        }
        _ => Json::Null,
    }
}

/// The links whose bytes do not add up, in words.
pub(crate) fn broken_links(extra: &Extra) -> Vec<String> {
    let broken = extra.balances.iter().filter(|(_, _, balance)| {
        balance.sent + balance.doubled != balance.delivered + balance.lost + balance.on_way
    });
    let broken = broken.map(|(from, to, balance)| format!("{from} to {to}: {balance:?}"));
    broken.collect()
}

fn sum(extra: &Extra) -> Balance {
    let links = extra.balances.iter().map(|(_, _, balance)| balance);
    links.fold(Balance::default(), |sum, link| Balance {
        sent: sum.sent + link.sent,
        doubled: sum.doubled + link.doubled,
        lost: sum.lost + link.lost,
        delivered: sum.delivered + link.delivered,
        on_way: sum.on_way + link.on_way,
    })
}

fn housekeeping(report: &Report) -> u64 {
    let of = |kind: &&str| report.tx_bytes_by_kind.get(kind).copied();
    HOUSEKEEPING.iter().filter_map(of).sum()
}

/// The paper's findings in each world: what both task sets together say.
fn findings(one: &Both, other: &Both) -> Json {
    let (testbed, sim) = worlds(&[one, other]);
    let finding = |runs: &Comparison<'_>| {
        let first = |cut: Cut| runs.of(cut).first().map(|run| run.report);
        let (nimble, monolithic) = (first(Cut::Nimble)?, first(Cut::Monolithic)?);
        let gateway = |report: &Report| report.tx_bytes.get(&1).map(|bytes| *bytes as f64);
        let longer = nimble.mean_execution_s.zip(monolithic.mean_execution_s);
        let (won, windows) = runs.windows_won().unwrap_or_default();
        Some(json!({
            "node_1_tx_ratio": Some(gateway(monolithic)? / gateway(nimble)?),
            "break_even_s": break_even(runs, nimble.accounting, nimble.header_bytes),
            "windows_won": won,
            "windows": windows,
            "execution_longer_s": longer.map(|(nimble, monolithic)| nimble - monolithic),
            "received_module_bytes_ratio": monolithic.received_module_bytes as f64
                / nimble.received_module_bytes.max(1) as f64,
        }))
    };
    json!({ "testbed": finding(&testbed), "sim": finding(&sim) })
}

/// The runs of each world.
fn worlds<'b>(all: &[&'b Both]) -> (Comparison<'b>, Comparison<'b>) {
    let of = |cut: Cut| all.iter().filter(move |both| both.cut == cut);
    let real = |both: &&'b Both| Sample {
        report: &both.testbed.report,
        course: &both.testbed.course,
    };
    let simulated = |both: &&'b Both| Sample {
        report: &both.sim.report,
        course: &both.sim.course,
    };
    let testbed = Comparison {
        nimble: of(Cut::Nimble).map(real).collect(),
        monolithic: of(Cut::Monolithic).map(real).collect(),
    };
    let sim = Comparison {
        nimble: of(Cut::Nimble).map(simulated).collect(),
        monolithic: of(Cut::Monolithic).map(simulated).collect(),
    };
    (testbed, sim)
}

/// The paper's figures 8, 9 and 10, of both worlds.
pub(crate) fn figures(all: &[&Both]) -> Vec<Figure> {
    let (testbed, sim) = worlds(all);
    let named = |world: &'static str, runs: &Comparison<'_>| {
        let all = [load_per_node(runs), cumulative(runs), responses(runs)];
        all.map(|figure| Figure {
            name: format!("{}-{world}", figure.name),
            caption: format!("{}, {world}", figure.caption),
            ..figure
        })
    };
    let real = named("testbed", &testbed);
    real.into_iter().chain(named("sim", &sim)).collect()
}

/// What came out for a person, 80 columns wide.
pub(crate) fn page(both: &Both, other: Option<&Both>) -> String {
    let Both { testbed, sim, .. } = both;
    let (report, extra) = (&testbed.report, &testbed.extra);
    let mut page = String::new();
    let mut say = |label: &str, text: String| row(&mut page, label, &text);
    let (kind, time) = match extra.boards {
        Some(_) => ("emulated board", "in virtual time".to_owned()),
        None => (
            "process",
            format!("{} times as fast as real time", extra.speedup),
        ),
    };
    say(
        "run",
        format!(
            "{} task set, profile {}, {} and a registry, {time}",
            report.taskset,
            report.profile,
            plural(report.tx_bytes.len() - 1, kind),
        ),
    );
    say(
        "calls",
        format!(
            "{} made, {} finished by the end, {} failed, {} cut off by the end, {} unanswered",
            report.triggered,
            report.finished_by_end,
            report.failed,
            extra.cut_off,
            extra.unanswered
        ),
    );
    say("load", room(extra));
    let air = sum(extra);
    let conserved = match broken_links(extra).as_slice() {
        [] => "nothing is missing".to_owned(),
        broken => format!("IT DOES NOT ADD UP: {}", broken.join(", ")),
    };
    say(
        "air",
        format!(
            "{} kB in, {} kB delivered, {} kB lost; {conserved}",
            air.sent / 1000,
            air.delivered / 1000,
            air.lost / 1000
        ),
    );
    let [p99_ms, most_ms] =
        [extra.lateness.0, extra.lateness.1].map(|late| late.as_secs_f64() * 1000.0);
    if extra.boards.is_none() {
        say(
            "in time",
            format!(
                "99 of 100 frames are at most {p99_ms:.1} ms late, the latest is {most_ms:.1} ms \
                 late, in the time of the trace"
            ),
        );
    }
    if let Some(overhead_s) = extra.overhead_s {
        say(
            "overhead",
            format!(
                "a call that is alone takes {:.1} ms longer than its waits and acquisitions; 6 ms \
                 for each call between tasklets in the simulator",
                overhead_s * 1000.0
            ),
        );
    }
    if let Some(other) = other {
        say("findings", spoken(&findings(both, other)));
    }
    format!(
        "{page}\n{}\n\n{}",
        totals(both).trim_fmt(),
        nodes(report, &sim.report).trim_fmt()
    )
}

/// A hop of the model takes as long: frames that are later by that change what is measured.
const LATE_MAX: Duration = Duration::from_millis(100);

/// What is to be done if the machine is too slow for what was asked of it; none if it is not. Boards have
/// virtual time, and are never late.
pub(crate) fn too_late(both: &Both) -> Option<String> {
    let extra = &both.testbed.extra;
    let (p99, latest) = extra.lateness;
    let is_late = extra.boards.is_none() && p99 > LATE_MAX;
    is_late.then(|| {
        let remedy = match extra.speedup {
            1 => "take fewer nodes, or a faster machine",
            _ => "take a smaller --speedup",
        };
        format!(
            "one frame of 100 came more than {:.1} s late, the latest {:.1} s, in the time of the trace: this \
             machine is too slow for it, and the numbers say little; {remedy}",
            p99.as_secs_f64(),
            latest.as_secs_f64()
        )
    })
}

/// How modules fit the trace, in words.
fn room(extra: &Extra) -> String {
    let room = &extra.room;
    let mut text = format!("{} modules of {} B", room.modules, room.module_bytes);
    for (count, what) in [
        (room.wait_once, "wait once for all"),
        (room.wait_never, "have no room to wait"),
    ] {
        if count > 0 {
            text += &format!("; {count} {what}");
        }
    }
    if room.longer > 0 {
        text += &format!(
            "; {} {} {} B longer together",
            room.longer,
            if room.longer == 1 { "is" } else { "are" },
            room.longer_bytes
        );
    }
    text
}

/// So many nodes of a kind.
fn plural(count: usize, kind: &str) -> String {
    let ending = match kind {
        _ if count == 1 => "",
        "process" => "es",
        _ => "s",
    };
    format!("{count} {kind}{ending}")
}

fn spoken(findings: &Json) -> String {
    let of = |world: &str| {
        let number = |key: &str| findings[world][key].as_f64();
        let shown = |number: Option<f64>, digits: usize| {
            number.map_or("-".to_owned(), |number| format!("{number:.digits$}"))
        };
        format!(
            "{world}: node 1 sends {} times less with nimble tasks, break-even at {} s, {} of {} \
             windows won, execution {} s longer",
            shown(number("node_1_tx_ratio"), 1),
            shown(number("break_even_s"), 0),
            shown(number("windows_won"), 0),
            shown(number("windows"), 0),
            shown(number("execution_longer_s"), 3),
        )
    };
    format!("{}; {}", of("testbed"), of("sim"))
}

/// The totals of both worlds; for boards the simulator's with the limits of Linux nodes too.
fn totals(both: &Both) -> Table {
    let (real, sim) = (&both.testbed.report, &both.sim.report);
    let linux = both.linux.as_ref().map(|linux| &linux.report);
    let mut table = match linux {
        None => table(["", "testbed", "simulator", "difference"]),
        Some(_) => table(["", "testbed", "simulator", "difference", "Linux limits"]),
    };
    let mut add = |name: &str, of: &dyn Fn(&Report) -> Option<f64>, digits: usize| {
        let row = compared(name, (of(real), of(sim)), digits);
        let beside = linux.map(|linux| {
            let number = of(linux).map(|number| format!("{number:.digits$}"));
            number.unwrap_or_else(|| "-".to_owned())
        });
        table.add_row(row.into_iter().chain(beside));
    };
    add("finished calls", &|it| Some(it.finished_by_end as f64), 0);
    add("failed calls", &|it| Some(it.failed as f64), 0);
    add("on air, kB", &|it| Some(it.air_bytes as f64 / 1000.0), 1);
    add("packets", &|it| Some(it.air_packets as f64), 0);
    add(
        "housekeeping, kB",
        &|it| Some(housekeeping(it) as f64 / 1000.0),
        1,
    );
    add(
        "modules received, kB",
        &|it| Some(it.received_module_bytes as f64 / 1000.0),
        1,
    );
    add("acquisition, s", &|it| it.mean_acquisition_s, 3);
    add("execution, s", &|it| it.mean_execution_s, 3);
    add("response, s", &|it| it.mean_response_s, 3);
    add("response, p99, s", &|it| it.p99_response_s, 3);
    let sources: BTreeMap<&str, fn(&Report) -> u64> = [
        (
            "from the own cache",
            (|it| it.acquisitions_by_source.local) as fn(&Report) -> u64,
        ),
        ("from neighbours", |it| it.acquisitions_by_source.neighbour),
        ("from further away", |it| it.acquisitions_by_source.global),
        ("from the registry", |it| it.acquisitions_by_source.registry),
    ]
    .into();
    for (name, of) in sources {
        add(name, &|it| Some(of(it) as f64), 0);
    }
    table
}

/// What each node has sent and received.
fn nodes(real: &Report, sim: &Report) -> Table {
    let mut table = table(["node", "sent kB", "sim", "diff", "recv kB", "sim", "diff"]);
    for (id, sent) in &real.tx_bytes {
        let name = match *id == real.registry {
            true => format!("registry {id}"),
            false => id.to_string(),
        };
        let number = |of: &BTreeMap<u16, u64>| of.get(id).map(|bytes| *bytes as f64 / 1000.0);
        let tx = compared(
            &name,
            (Some(*sent as f64 / 1000.0), number(&sim.tx_bytes)),
            1,
        );
        let [_, rx @ ..] = compared("", (number(&real.rx_bytes), number(&sim.rx_bytes)), 1);
        table.add_row(tx.into_iter().chain(rx));
    }
    table
}

/// A row: a name, both numbers and their difference.
fn compared(name: &str, (real, sim): (Option<f64>, Option<f64>), digits: usize) -> [String; 4] {
    let shown = |number: Option<f64>| number.map(|number| format!("{number:.digits$}"));
    let difference = percent(&json!(real), &json!(sim)).as_f64();
    let difference = difference.map(|percent| format!("{percent:+.1} %"));
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    [
        name.to_owned(),
        or_dash(shown(real)),
        or_dash(shown(sim)),
        or_dash(difference),
    ]
}

/// A table whose first column has names and whose others have numbers.
fn table<const COLUMNS: usize>(header: [&str; COLUMNS]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header);
    for column in table.column_iter_mut() {
        column.set_padding((0, 1));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_in_per_cent_of_the_simulator_and_none_of_nothing() {
        assert_eq!(percent(&json!(105), &json!(100)), json!(5.0));
        assert_eq!(percent(&json!(0.5), &json!(2.0)), json!(-75.0));
        assert_eq!(percent(&json!(0), &json!(0)), json!(0.0));
        assert_eq!(percent(&json!(1), &json!(0)), Json::Null);
        assert_eq!(percent(&json!(null), &json!(3)), Json::Null);
        let nodes = percent(&json!({"1": 3, "2": 1}), &json!({"1": 2, "3": 4}));
        assert_eq!(nodes, json!({"1": 50.0, "2": null, "3": -100.0}));
    }
}
