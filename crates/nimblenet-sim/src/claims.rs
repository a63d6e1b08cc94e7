//! The paper's claims beside what came out, and the page that shows both with the figures.

use std::collections::BTreeMap;

use crate::figures::{Comparison, Figure, Sample, break_even, mean_of};
use crate::run::Profile;
use crate::tally::Accounting;

/// The node that the registry is attached to.
const GATEWAY: u16 = 1;
/// Packet headers: IP with UDP, and these with 802.11 and LLC.
const SHORT: u32 = 28;
const LONG: u32 = 100;

/// A claim of the paper.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    /// Where the paper makes it.
    pub place: &'static str,
    /// What is measured.
    pub what: &'static str,
    /// What the paper says.
    pub paper: &'static str,
    /// What an independent model of the paper's protocol found.
    pub model: &'static str,
    /// What the default protocol is to reach.
    pub band: &'static str,
    /// What came out, for each protocol in the order given.
    pub found: Vec<String>,
}

/// How a claim is measured with one protocol; the monolithic task set with the paper's is there for
/// comparison.
struct Measured<'c, 'a> {
    own: &'c Comparison<'a>,
    paper: &'c Comparison<'a>,
}

type Measure = fn(&Measured<'_, '_>) -> String;

/// The place, what is measured, the paper, the model, the band, and the measurement.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    Measure,
);

const ROWS: [Row; 16] =
    [
        ("6.1", "triggers an hour", "about 7200", "7209", "", |it| {
            whole(mean_of(&it.own.nimble, |run| {
                Some(an_hour(run, run.course.triggers))
            }))
        }),
        (
            "6.1",
            "of them in contact with a node",
            "about 5470",
            "5661",
            "",
            |it| {
                whole(mean_of(&it.own.nimble, |run| {
                    Some(an_hour(run, run.report.triggered))
                }))
            },
        ),
        (
            "Fig. 8",
            "node 1 sends: monolithic / nimble, 28 B a packet",
            "4 (5 on the testbed)",
            "9.6",
            "",
            |it| {
                ratio(
                    sent_by_gateway(&it.own.monolithic),
                    sent_by_gateway(&it.own.nimble),
                )
            },
        ),
        (
            "Fig. 8",
            "the same, monolithic with the paper's protocol",
            "",
            "9.6",
            "at least 13, goal 15",
            |it| {
                ratio(
                    sent_by_gateway(&it.paper.monolithic),
                    sent_by_gateway(&it.own.nimble),
                )
            },
        ),
        (
            "Fig. 8",
            "Jain's index of the nodes' load, nimble",
            "more even",
            "0.92",
            "at least 0.92, goal 0.95",
            |it| jain(&it.own.nimble),
        ),
        ("Fig. 8", "the same, monolithic", "", "0.77", "", |it| {
            jain(&it.own.monolithic)
        }),
        (
            "Fig. 9",
            "break-even, 28 B a packet",
            "300 s (400 s)",
            "",
            "",
            |it| at(break_even(it.own, accounting(it.own), SHORT)),
        ),
        (
            "Fig. 9",
            "break-even, 100 B a packet",
            "300 s (400 s)",
            "210 to 300 s",
            "below 100 s, goal 60 s",
            |it| at(break_even(it.own, accounting(it.own), LONG)),
        ),
        (
            "Fig. 9",
            "bytes on air / lower bound, nimble, 28 B a packet",
            "",
            "4.39",
            "at most 2.4, goal 2.0",
            |it| over_bound(&it.own.nimble, SHORT),
        ),
        (
            "Fig. 9",
            "the same, 100 B a packet",
            "",
            "6.43",
            "at most 2.6, goal 2.2",
            |it| over_bound(&it.own.nimble, LONG),
        ),
        (
            "Fig. 10",
            "100 s windows after the break-even in which nimble responds faster",
            "most",
            "",
            "more than half",
            |it| windows_won(it.own),
        ),
        (
            "6.4",
            "mean wait for modules, nimble",
            "",
            "0.71 s",
            "at most 0.16 s, goal 0.13 s",
            |it| second(mean_of(&it.own.nimble, |run| run.report.mean_acquisition_s)),
        ),
        ("6.4", "the same, monolithic", "", "", "", |it| {
            second(mean_of(&it.own.monolithic, |run| {
                run.report.mean_acquisition_s
            }))
        }),
        (
            "6.4",
            "mean response, nimble",
            "",
            "execution + 0.71 s",
            "execution + 0.17 s",
            |it| second(mean_of(&it.own.nimble, |run| run.report.mean_response_s)),
        ),
        ("6.4", "the same, monolithic", "", "", "", |it| {
            second(mean_of(&it.own.monolithic, |run| {
                run.report.mean_response_s
            }))
        }),
        (
            "6.4",
            "execution: nimble takes longer by",
            "about 30 ms",
            "30 ms",
            "",
            |it| {
                let execution = |runs| mean_of(runs, |run| run.report.mean_execution_s);
                let both = execution(&it.own.nimble).zip(execution(&it.own.monolithic));
                or_dash(both.map(|(nimble, monolithic)| {
                    format!("{:.1} ms", (nimble - monolithic) * 1000.0)
                }))
            },
        ),
    ];

/// How the runs count bytes; the page says it above the rows.
fn accounting(runs: &Comparison<'_>) -> Accounting {
    let first = runs.nimble.first();
    first.map_or(Accounting::Nominal, |run| run.report.accounting)
}

/// A count, scaled to an hour.
fn an_hour(run: &Sample<'_>, count: u64) -> f64 {
    count as f64 * 3600.0 / run.course.duration_s
}

fn sent_by_gateway(runs: &[Sample<'_>]) -> Option<f64> {
    mean_of(runs, |run| {
        let mut nodes = run.course.nodes.iter();
        let (_, sent, _) = nodes.find(|(id, ..)| id.0 == GATEWAY)?;
        Some(sent.bytes(run.report.accounting, SHORT) as f64)
    })
}

fn jain(runs: &[Sample<'_>]) -> String {
    let index = mean_of(runs, |run| Some(run.report.jain_txrx));
    or_dash(index.map(|index| format!("{index:.3}")))
}

fn over_bound(runs: &[Sample<'_>], header_bytes: u32) -> String {
    let times = mean_of(runs, |run| {
        let number = |of: &BTreeMap<u32, u64>| of.get(&header_bytes).copied();
        let air = &run.report.air_bytes_by_accounting;
        let air = number(match run.report.accounting {
            Accounting::Nominal => &air.nominal,
            Accounting::Real => &air.real,
        })?;
        let bound = number(&run.report.lower_bound_bytes_by_header).filter(|bound| *bound > 0)?;
        Some(air as f64 / bound as f64)
    });
    or_dash(times.map(|times| format!("{times:.2}")))
}

fn windows_won(own: &Comparison<'_>) -> String {
    let Some((faster, all)) = own.windows_won() else {
        return "no break-even".to_owned();
    };
    if all == 0 {
        return or_dash(None);
    }
    let share = 100.0 * faster as f64 / all as f64;
    format!("{faster} of {all} ({share:.1} %)")
}

fn ratio(a: Option<f64>, b: Option<f64>) -> String {
    let both = a.zip(b.filter(|b| *b > 0.0));
    or_dash(both.map(|(a, b)| format!("{:.1}", a / b)))
}

fn second(seconds: Option<f64>) -> String {
    or_dash(seconds.map(|seconds| format!("{seconds:.3} s")))
}

fn whole(number: Option<f64>) -> String {
    or_dash(number.map(|number| format!("{number:.0}")))
}

/// What is not known, because there was nothing to measure, is a dash.
fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

fn at(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "never".to_owned(), |seconds| format!("{seconds} s"))
}

/// Holds the paper's claims against runs with each protocol; the first is the paper's.
pub fn claims(protocols: &[(Profile, Comparison<'_>)]) -> Vec<Claim> {
    let Some((_, paper)) = protocols.first() else {
        return Vec::new();
    };
    let rows = ROWS.into_iter();
    let claims = rows.map(|(place, what, said, model, band, measure)| Claim {
        place,
        what,
        paper: said,
        model,
        band,
        found: protocols
            .iter()
            .map(|(_, own)| measure(&Measured { own, paper }))
            .collect(),
    });
    claims.collect()
}

/// A page with the claims and the figures; `conditions` say what was run.
pub fn page(
    protocols: &[(Profile, Comparison<'_>)],
    conditions: &str,
    figures: &[Figure],
) -> String {
    let mut page = HEAD.to_owned();
    page += &format!("<p>{}</p>\n<table>\n<tr>", escape(conditions));
    let found = protocols
        .iter()
        .map(|(profile, _)| format!("found, profile {}", profile.name()));
    let header = ["where", "what", "paper", "model of the paper", "wanted"].map(str::to_owned);
    for cell in header.into_iter().chain(found) {
        page += &format!("<th>{}</th>", escape(&cell));
    }
    page += "</tr>\n";
    for claim in claims(protocols) {
        let said = [
            claim.place,
            claim.what,
            claim.paper,
            claim.model,
            claim.band,
        ];
        page += "<tr>";
        for cell in said
            .into_iter()
            .chain(claim.found.iter().map(String::as_str))
        {
            page += &format!("<td>{}</td>", escape(cell));
        }
        page += "</tr>\n";
    }
    page += "</table>\n";
    for figure in figures {
        let Figure { caption, svg, .. } = figure;
        let caption = escape(caption);
        page += &format!("<figure>\n{svg}\n<figcaption>{caption}</figcaption>\n</figure>\n");
    }
    page += "</body>\n</html>\n";
    page
}

const HEAD: &str = "<!DOCTYPE html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<title>NimbleNet: the paper's experiment, simulated</title>
<style>
body { font: 15px/1.45 sans-serif; color: #222; max-width: 1100px; margin: 2em auto; padding: 0 1em; }
table { border-collapse: collapse; margin: 1em 0 2em; }
th, td { border-bottom: 1px solid #ddd; padding: 4px 10px 4px 0; text-align: left; vertical-align: top; }
th { border-bottom: 2px solid #888; }
figure { margin: 2em 0; }
svg { max-width: 100%; height: auto; }
figcaption { color: #555; }
</style>
</head>
<body>
<h1>The paper's experiment, simulated</h1>
";

fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}
