//! Many runs on all cores. Each run has one thread, and nothing of it depends on the others.

use core::num::NonZero;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nimblenet_sim::Run;
use nimblenet_sim::scenario::BadScenario;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

use super::{Case, Outcome};

/// The time that is simulated between two looks at the progress.
const STEP: Duration = Duration::from_secs(5);
/// How often the bar moves.
const REFRESH: Duration = Duration::from_millis(100);

/// Makes all runs; the outcomes have the order of the cases.
///
/// # Errors
/// If faults are to befall what a trace does not have.
pub(super) fn run(cases: &[Case<'_>]) -> Result<Vec<Outcome>, BadScenario> {
    let seconds: f64 = cases.iter().map(|case| case.recipe.duration_s()).sum();
    let bar = bar(seconds as u64);
    let (next, done_ms) = (AtomicUsize::new(0), AtomicU64::new(0));
    let mut outcomes: Vec<Option<Result<Outcome, BadScenario>>> = Vec::new();
    outcomes.resize_with(cases.len(), || None);
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        for _ in 0..threads.min(cases.len()) {
            let (sender, next, done_ms) = (sender.clone(), &next, &done_ms);
            scope.spawn(move || {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(at) else {
                        break;
                    };
                    // Nobody listens any more if another run has failed.
                    let _ = sender.send((at, one(case, done_ms)));
                }
            });
        }
        drop(sender);
        loop {
            match receiver.recv_timeout(REFRESH) {
                Ok((at, outcome)) => outcomes[at] = Some(outcome),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            bar.set_position(done_ms.load(Ordering::Relaxed) / 1000);
        }
    });
    bar.finish_and_clear();
    outcomes.into_iter().flatten().collect()
}

/// Makes one run on this thread.
fn one(case: &Case<'_>, done_ms: &AtomicU64) -> Result<Outcome, BadScenario> {
    let trace = case.recipe.trace();
    let (before, _) = usage();
    let mut run = Run::new(trace, case.settings);
    if let Some(faults) = case.faults {
        run.befall(faults)?;
    }
    let mut to = Duration::ZERO;
    loop {
        to += STEP;
        let goes_on = run.advance(to);
        done_ms.fetch_add(STEP.as_millis() as u64, Ordering::Relaxed);
        if !goes_on {
            break;
        }
    }
    let mut report = run.report();
    let (after, peak) = usage();
    report.cpu_s = (after - before).as_secs_f64();
    report.peak_rss_bytes = peak;
    Ok(Outcome {
        profile: case.settings.profile,
        cut: case.settings.cut,
        value: case.value,
        report,
        course: run.course(),
    })
}

/// The CPU time of this thread, and the most memory that the process has held, in bytes. Nothing if
/// the system does not say.
pub(super) fn usage() -> (Duration, u64) {
    let used = |who| getrusage(who).ok();
    let time = used(UsageWho::RUSAGE_THREAD).map_or(0, |used| {
        (used.user_time() + used.system_time()).num_microseconds()
    });
    let kilobytes = used(UsageWho::RUSAGE_SELF).map_or(0, |used| used.max_rss());
    let time = Duration::from_micros(time.unsigned_abs());
    (time, kilobytes.unsigned_abs() << 10)
}

/// A bar over simulated seconds on standard error, seen on a terminal only.
fn bar(seconds: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(seconds), ProgressDrawTarget::stderr());
    let template = "{elapsed:>4} {bar:30} {pos} of {len} simulated seconds";
    let style = ProgressStyle::with_template(template);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}
