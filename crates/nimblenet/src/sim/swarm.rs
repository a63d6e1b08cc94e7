//! Swarms: many short random runs on all cores, and the replay of one.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::num::NonZero;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::panic;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nimblenet_sim::swarm::{self, Failure, Fired, Judgement, KNOWN, Trial};
use serde_json::{Value as Json, json};

use super::batch::usage;
use crate::failure::Coded;
use crate::interrupt::Interrupt;
use crate::output;
use crate::remote::block_on;

/// The code of an error that says that a swarm has found something.
const FOUND: &str = "fault-found";
/// How often the bar moves.
const REFRESH: Duration = Duration::from_millis(100);
/// How many seeds are named.
const SEEDS_SHOWN: usize = 8;

/// What a swarm has found.
#[derive(Default)]
struct Findings {
    runs: u64,
    cpu: Vec<Duration>,
    fired: Fired,
    /// Seeds that show each known fault.
    known: BTreeMap<&'static str, Vec<u64>>,
    /// The others, in the order of their seeds.
    unknown: Vec<(u64, Failure, Trial)>,
}

/// Runs the trials of `count` seeds from `first` on, and prints what they have shown.
///
/// # Errors
/// If a fault is found that is not known.
pub(crate) fn run(first: u64, count: u64, as_json: bool) -> anyhow::Result<()> {
    let stop = stop_at_request();
    let findings = quietly(|| gather(first, count, &stop));
    if as_json {
        output::json(&findings.document())?;
    } else {
        output::text(&findings.page())?;
    }
    let message = match findings.unknown.len() {
        0 if findings.runs < count => {
            let runs = findings.runs;
            let message = format!(
                "interrupted after {runs} of {count} runs, which have shown what is printed"
            );
            return Err(anyhow::Error::msg(message));
        }
        0 => return Ok(()),
        1 => "one seed shows a fault that is not known".to_owned(),
        found => format!("{found} seeds show faults that are not known"),
    };
    Err(Coded::new(FOUND, message).told().into())
}

/// Runs the trial of a file, and prints what it has shown.
///
/// # Errors
/// If a checker finds something.
pub(crate) fn replay(trial: &Trial, as_json: bool) -> anyhow::Result<()> {
    let verdict = quietly(|| swarm::perform(trial));
    let failure = verdict.failure;
    if as_json {
        output::json(&json!({
            "seed": trial.seed,
            "failure": failure.as_ref().map(document),
            "fired": verdict.fired,
            "event_log_hash": format!("{:016x}", verdict.event_log_hash),
        }))?;
    } else {
        let mut page = String::new();
        happened(&mut page, &verdict.fired);
        if failure.is_none() {
            page.push_str("\nNo checker has found anything.\n");
        }
        output::text(&page)?;
    }
    failure.map_or(
        Ok(()),
        |Failure {
             checker,
             at_s,
             what,
         }| {
            let message = format!("{checker}, at {at_s:.3} s: {what}");
            Err(Coded::new(FOUND, message).told().into())
        },
    )
}

/// Does something in which panics are findings.
fn quietly<T>(act: impl FnOnce() -> T) -> T {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let result = act();
    panic::set_hook(hook);
    result
}

/// What becomes true when the user wants an end: what was found until then is printed.
fn stop_at_request() -> Arc<AtomicBool> {
    let stop = Arc::<AtomicBool>::default();
    let asked = stop.clone();
    // It ends with the process. Without it a request ends the process at once, as usual.
    thread::spawn(move || {
        let _ = block_on(async {
            Interrupt::new()?.requested().await;
            asked.store(true, Ordering::Relaxed);
            Ok(())
        });
    });
    stop
}

fn gather(first: u64, count: u64, stop: &AtomicBool) -> Findings {
    let bar = ProgressBar::with_draw_target(Some(count), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{elapsed:>4} {bar:30} {pos} of {len} runs");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let next = AtomicU64::new(0);
    let threads = thread::available_parallelism().map_or(1, NonZero::get) as u64;
    let mut judged = Vec::new();
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        for _ in 0..threads.min(count) {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= count || stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let (before, _) = usage();
                    let judgement = swarm::judge(first.wrapping_add(at));
                    let (after, _) = usage();
                    // Nobody listens any more if another thread has ended early.
                    let _ = sender.send((judgement, after.saturating_sub(before)));
                }
            });
        }
        drop(sender);
        loop {
            match receiver.recv_timeout(REFRESH) {
                Ok(one) => judged.push(one),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            bar.set_position(judged.len() as u64);
        }
    });
    bar.finish_and_clear();
    judged.sort_by_key(|(judgement, _)| judgement.seed);
    let mut findings = Findings::default();
    for (judgement, cpu) in judged {
        findings.add(judgement, cpu);
    }
    findings.cpu.sort();
    findings
}

impl Findings {
    fn add(&mut self, judgement: Judgement, cpu: Duration) {
        let seed = judgement.seed;
        self.runs += 1;
        self.cpu.push(cpu);
        for (kind, times) in judgement.verdict.fired {
            *self.fired.entry(kind).or_default() += times;
        }
        for (known, _) in judgement.known {
            self.known.entry(known.name).or_default().push(seed);
        }
        let unknown = judgement.unknown;
        self.unknown
            .extend(unknown.map(|(failure, trial)| (seed, failure, trial)));
    }

    fn median_cpu_ms(&self) -> f64 {
        let median = self.cpu.get(self.cpu.len() / 2);
        median.map_or(0.0, |median| median.as_secs_f64() * 1e3)
    }

    fn document(&self) -> Json {
        let unknown = self.unknown.iter().map(|(seed, failure, trial)| {
            let mut found = document(failure);
            found["seed"] = (*seed).into();
            found["scenario"] = trial.write().into();
            found
        });
        json!({
            "runs": self.runs,
            "cpu_ms_median": self.median_cpu_ms(),
            "fired": self.fired,
            "known": self.known,
            "failures": unknown.collect::<Vec<_>>(),
        })
    }

    fn page(&self) -> String {
        let mut page = format!(
            "{} runs, {:.1} ms of CPU time each in the median\n\n",
            self.runs,
            self.median_cpu_ms()
        );
        happened(&mut page, &self.fired);
        page.push_str("\nKnown faults of the protocol\n");
        for known in KNOWN {
            if let Some(seeds) = self.known.get(known.name) {
                page.push_str(&format!("  {:30} {}\n", known.name, listed(seeds)));
            }
        }
        if self.unknown.is_empty() {
            page.push_str("\nNothing else was found.\n");
        }
        let mut by_checker: BTreeMap<&str, Vec<&(u64, Failure, Trial)>> = BTreeMap::new();
        for found in &self.unknown {
            by_checker.entry(found.1.checker).or_default().push(found);
        }
        for (checker, found) in by_checker {
            let seeds: Vec<u64> = found.iter().map(|(seed, ..)| *seed).collect();
            page.push_str(&format!("\nFound by {checker}: seeds {}\n", listed(&seeds)));
            for (seed, Failure { at_s, what, .. }, trial) in found {
                let file = trial.write();
                page.push_str(&format!(
                    "\nseed {seed}, at {at_s:.3} s: {what}\nThe smallest trial for --faults:\n\n{file}"
                ));
            }
        }
        page
    }
}

fn document(failure: &Failure) -> Json {
    json!({ "checker": failure.checker, "at_s": failure.at_s, "what": failure.what })
}

fn happened(page: &mut String, fired: &Fired) {
    page.push_str("What has happened\n");
    for (kind, times) in fired {
        page.push_str(&format!("  {kind:30} {times:>10}\n"));
    }
}

/// How many seeds, and the first of them.
fn listed(seeds: &[u64]) -> String {
    let shown: Vec<String> = seeds.iter().take(SEEDS_SHOWN).map(u64::to_string).collect();
    let more = if seeds.len() > SEEDS_SHOWN {
        ", ..."
    } else {
        ""
    };
    format!("{} ({}{more})", seeds.len(), shown.join(", "))
}
