//! The story of one simulated call.

use core::fmt::Write as _;
use core::str::FromStr;
use core::time::Duration;

use nimblenet_core::Instant;
use nimblenet_sim::figures::spoken;
use nimblenet_sim::followed::Followed;
use nimblenet_sim::trace::{Trace, Trigger};
use nimblenet_sim::{Run, Settings};
use serde_json::{Value as Json, json};

use crate::failure::misuse;
use crate::output::row;
use crate::steps::{self, Step};

/// The time that is simulated between two looks at the call.
const STEP: Duration = Duration::from_secs(5);

/// Which call is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Which {
    /// The one with this number, from 1, of those that robots in contact make.
    Number(usize),
    /// That with the longest response.
    Slowest,
}

impl FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "slowest" {
            return Ok(Self::Slowest);
        }
        let number: Option<usize> = text.parse().ok();
        let number = number.filter(|number| *number > 0);
        let number = number.ok_or("slowest, or the number of a call from 1, is expected")?;
        Ok(Self::Number(number))
    }
}

/// What happened to a call.
pub(crate) struct Story<'t> {
    number: usize,
    trigger: &'t Trigger,
    /// None if it had not ended by the end.
    followed: Option<Followed>,
}

impl<'t> Story<'t> {
    /// Runs a trace and follows one call. To find the slowest, it runs twice: the same trace and
    /// settings give the same run.
    ///
    /// # Errors
    /// If there is no such call.
    pub(crate) fn of(trace: &'t Trace, settings: Settings, which: Which) -> anyhow::Result<Self> {
        let number = match which {
            Which::Number(number) => number,
            Which::Slowest => {
                let mut run = Run::new(trace, settings);
                run.advance(trace.duration());
                let slowest = run.slowest();
                slowest.ok_or_else(|| misuse("--explain slowest: no call has a result"))?
            }
        };
        let mut calls = trace
            .triggers
            .iter()
            .filter(|trigger| trigger.node.is_some());
        let count = calls.clone().count();
        let trigger = calls
            .nth(number - 1)
            .ok_or_else(|| misuse(format!("--explain {number}: there are only {count} calls")))?;
        let mut run = Run::new(trace, settings);
        run.follow(number);
        let mut to = Duration::ZERO;
        let followed = loop {
            to += STEP;
            let goes_on = run.advance(to);
            let followed = run.course().followed;
            if followed.is_some() || !goes_on {
                break followed;
            }
        };
        Ok(Self {
            number,
            trigger,
            followed,
        })
    }

    fn steps(&self) -> Vec<Step> {
        let followed = self.followed.iter();
        let steps = followed.flat_map(|followed| &followed.steps);
        steps.map(Step::simulated).collect()
    }

    /// Everything in the order of time: from, to, and what ran; none for a wait.
    fn course(&self) -> Vec<(f64, f64, Option<String>)> {
        let Some(followed) = &self.followed else {
            return Vec::new();
        };
        let since = |at: Instant| (at - followed.begun).as_secs_f64();
        let waits = followed
            .waits()
            .map(|(from, to)| (since(from), since(to), None));
        let spans = followed.spans.iter().map(|span| {
            let name = spoken(&span.tasklet);
            (since(span.from), since(span.to), Some(name))
        });
        let mut course: Vec<_> = waits.chain(spans).collect();
        course.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        course
    }

    /// The story for a person.
    pub(crate) fn page(&self) -> String {
        let mut page = String::new();
        let Trigger {
            at_s,
            robot,
            node,
            chain,
        } = self.trigger;
        let node = node.unwrap_or_default();
        let number = self.number;
        let made = format!(
            "{number}, at {at_s:.3} s: robot {robot} triggers chain {chain} at node {node}"
        );
        row(&mut page, "call", &made);
        let Some(followed) = &self.followed else {
            row(
                &mut page,
                "outcome",
                "it has not ended by the end of the run",
            );
            return page;
        };
        let took = followed.ended - followed.begun;
        let ran: Duration = followed.spans.iter().map(|span| span.to - span.from).sum();
        let waited: Duration = followed.waits().map(|(from, to)| to - from).sum();
        let text = match followed.fault {
            None => "a result".to_owned(),
            Some(fault) => format!("{}: {}", fault.code(), fault.meaning().trim()),
        };
        row(&mut page, "outcome", &text);
        let text = format!(
            "{:.3} s; its tasklets ran for {:.3} s, and for {:.3} s it waited: for modules, for an \
             executor, or for the way between nodes",
            took.as_secs_f64(),
            ran.as_secs_f64(),
            waited.as_secs_f64()
        );
        row(&mut page, "response", &text);
        if followed.ran_on.0 != node {
            row(&mut page, "ran", &format!("on node {}", followed.ran_on.0));
        }
        let (steps, course) = (self.steps(), self.course());
        if !steps.is_empty() {
            let _ = write!(page, "\n{}\n", steps::table(&steps).trim_fmt());
        }
        if !course.is_empty() {
            let _ = writeln!(page, "\n{:>9} {:>9}", "FROM", "TO");
        }
        for (from_s, to_s, what) in course {
            let what = what.map_or_else(|| "waits".to_owned(), |name| format!("{name} runs"));
            let _ = writeln!(page, "{from_s:>7.3} s {to_s:>7.3} s  {what}");
        }
        page
    }

    /// The story as JSON; times of `course` count from the trigger.
    pub(crate) fn document(&self) -> Json {
        let steps: Vec<Json> = self.steps().iter().map(Step::to_json).collect();
        let course = self.course();
        let course = course
            .iter()
            .map(|(from_s, to_s, ran)| json!({ "from_s": from_s, "to_s": to_s, "ran": ran }));
        let followed = self.followed.as_ref();
        json!({
            "call": self.number,
            "at_s": self.trigger.at_s,
            "robot": self.trigger.robot,
            "node": self.trigger.node,
            "chain": self.trigger.chain,
            "ended": followed.is_some(),
            "fault": followed.and_then(|it| it.fault).map(|fault| fault.code()),
            "ran_on": followed.map(|it| it.ran_on.0),
            "response_s": followed.map(|it| (it.ended - it.begun).as_secs_f64()),
            "steps": steps,
            "course": course.collect::<Vec<_>>(),
        })
    }
}
