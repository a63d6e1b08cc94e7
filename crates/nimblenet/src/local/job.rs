//! Jobs: a tasklet and all it calls, run by one executor.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use nimblenet_executor::{ACTIVATIONS, CodeSource, Executor, ExecutorOptions};
use nimblenet_tasklet::{
    ActivationId, Answer, Digest, Executor as Kind, Fault, Outcome, Place, Start, TaskletName,
    Trap, Work,
};
use nimblenet_wasm::Limits;

use super::host::LocalHost;
use super::image::{JobImage, Saved};
use super::tasklets::{Tasklet, Tasklets};
use crate::clock;

/// The most bytes of the arguments or results of one call.
const VALUES_BYTES_MAX: usize = 4 << 20;

/// The limits for modules on this machine: higher than on a node, since a person waits for the run.
const LIMITS: Limits = Limits {
    module_bytes: 64 << 20,
    functions: 1 << 16,
    locals: 50_000,
    control_depth: 4096,
    // Calls nest as deep as on a Linux node, and no deeper.
    stack_slots: 16 << 10,
    memory_bytes: u32::MAX,
    table_elements: 1 << 20,
    table_growth: 0,
    validation_work: u32::MAX,
};

/// How a job ended.
#[derive(Debug)]
pub(crate) enum End {
    /// With results.
    Done(Report),
    /// Before a sub-tasklet call, where it was to freeze.
    Frozen {
        /// The tasklet that was to be called.
        call: TaskletName,
        /// The job.
        image: JobImage,
    },
}

/// A job's results, and what the job used.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// The results: a CBOR array.
    pub(crate) results: Vec<u8>,
    /// Fuel used since the job's start, before a freeze included.
    pub(crate) fuel_used: u64,
    /// Sub-tasklet calls since the job's start.
    pub(crate) calls: u64,
    /// Time spent on validating, translating and instantiating modules.
    pub(crate) load: Duration,
    /// Time spent on everything else.
    pub(crate) run: Duration,
    /// The most bytes that the tasklets needed at once: interpreter state and linear memory.
    pub(crate) memory_bytes: usize,
}

/// An arena with room for `tasklets`, and for a few more of them where they call themselves.
///
/// The operating system gives memory when it is used, so memory that is only reserved costs
/// nothing.
pub(crate) fn arena(tasklets: &Tasklets) -> Vec<u8> {
    const BASE_BYTES: usize = 4 << 20;
    const RECURSION_BYTES: usize = 16 << 20;
    let need = |tasklet: &Tasklet| {
        // Translated code and tables; then the value stack.
        let tables = 32 * tasklet.code.len() + 8 * LIMITS.stack_slots as usize;
        tasklet.memory_bytes() as usize + tables
    };
    let each: usize = tasklets.iter().map(need).sum();
    let again: usize = tasklets
        .iter()
        .map(|tasklet| need(tasklet).min(RECURSION_BYTES))
        .sum();
    vec![0; BASE_BYTES + each + again]
}

/// Runs jobs, one after the other.
pub(crate) struct Runner<'r> {
    tasklets: &'r Tasklets,
    executor: Executor<'r>,
    host: LocalHost,
    /// Takes arguments and results.
    out: Vec<u8>,
    next: u32,
}

impl<'r> Runner<'r> {
    /// Runs `tasklets` in `arena` on `host`.
    pub(crate) fn new(tasklets: &'r Tasklets, arena: &'r mut [u8], host: LocalHost) -> Self {
        let options = ExecutorOptions {
            limits: LIMITS,
            ..ExecutorOptions::default()
        };
        Self {
            tasklets,
            executor: Executor::new(arena, options),
            host,
            out: vec![0; VALUES_BYTES_MAX],
            next: 0,
        }
    }

    /// Calls the first tasklet with the CBOR array `args`. With `freeze_at`, the job ends before
    /// that sub-tasklet call, counted from 1.
    ///
    /// # Errors
    /// If the job fails, or ends before the call at which it should freeze.
    pub(crate) fn run(
        &mut self,
        args: &[u8],
        fuel: u64,
        freeze_at: Option<u64>,
    ) -> anyhow::Result<End> {
        let tasklets = self.tasklets;
        let mut job = Job::new(self, fuel);
        job.freeze_at = freeze_at;
        let step = job.start(0, &tasklets.export, args, fuel)?;
        job.drive(step)
    }

    /// Continues a job from its image.
    ///
    /// # Errors
    /// If the image does not belong to the tasklets, or the job fails.
    pub(crate) fn thaw(&mut self, image: &JobImage) -> anyhow::Result<End> {
        let mut job = Job::new(self, image.fuel);
        // The call that the image waits for is counted when it is made.
        job.calls = image.calls.saturating_sub(1);
        let mut last = None;
        for saved in &image.activations {
            last = Some(job.thaw(saved)?);
        }
        match last {
            Some(step @ Settled::Called { .. }) => job.drive(step),
            _ => bail!("the job image does not wait for a sub-tasklet call; it cannot go on"),
        }
    }
}

/// A job under way.
struct Job<'j, 'r> {
    runner: &'j mut Runner<'r>,
    frames: Frames<'r>,
    /// Fuel at the start.
    fuel: u64,
    calls: u64,
    freeze_at: Option<u64>,
    load: Duration,
    run: Duration,
    /// The first failure, in the activation that makes its callers fail.
    failure: Option<Failure>,
}

/// The activations of a job, outermost first.
struct Frames<'r>(Vec<Frame<'r>>);

struct Frame<'r> {
    activation: ActivationId,
    tasklet: &'r Tasklet,
    export: String,
}

impl CodeSource for Frames<'_> {
    fn code(&self, activation: ActivationId) -> &[u8] {
        let frame = self.0.iter().find(|frame| frame.activation == activation);
        frame.map_or(&[], |frame| &frame.tasklet.code)
    }
}

#[derive(Clone, Debug)]
struct Failure {
    tasklet: TaskletName,
    fault: Fault,
    trap: Option<Trap>,
    /// The place in its module, as text.
    place: Option<String>,
    /// Why a node does not take its module.
    refusal: Option<String>,
}

impl Tasklet {
    /// Why a node would not load it, if `fault` says that it was not loaded.
    fn refusal(&self, fault: Fault) -> Option<String> {
        let refused = matches!(fault, Fault::InvalidModule | Fault::NoMemory);
        refused.then(|| self.needs())?.linux_problem
    }

    /// A place in a module, as text.
    fn describe(&self, place: Place) -> String {
        match self.names.function(place.function()) {
            Some(name) => format!("in {name} at offset {:#x}", place.offset()),
            None => place.to_string(),
        }
    }
}

/// The outcome of one step of a job.
type Settled = Answer<Vec<u8>>;

/// A copy of the executor's answer.
fn step(outcome: Option<Outcome<'_>>) -> anyhow::Result<Settled> {
    let outcome = outcome.context(STRANGE)?;
    // The other activations are its callers, which never make room.
    if let Outcome::NoRoom { activation } = outcome {
        return Ok(Settled::Failed {
            activation,
            fault: Fault::NoMemory,
            trap: None,
            place: None,
            fuel: 0,
        });
    }
    Ok(outcome.owned())
}

const STRANGE: &str = "the executor gave an answer that does not belong here";

impl<'j, 'r> Job<'j, 'r> {
    fn new(runner: &'j mut Runner<'r>, fuel: u64) -> Self {
        Self {
            runner,
            frames: Frames(Vec::new()),
            fuel,
            calls: 0,
            freeze_at: None,
            load: Duration::ZERO,
            run: Duration::ZERO,
            failure: None,
        }
    }

    /// Carries outcomes between the activations until the job ends.
    fn drive(mut self, mut step: Settled) -> anyhow::Result<End> {
        loop {
            step = match step {
                Settled::Called {
                    import, args, fuel, ..
                } => {
                    let caller = self.frames.0.last().context("someone called")?;
                    let callee = caller.tasklet.callees.get(usize::from(import));
                    let (callee, export) = callee.context("the call is one of the entry's")?;
                    self.calls += 1;
                    if self.freeze_at == Some(self.calls) {
                        return self.freeze(*callee);
                    }
                    self.start(*callee, export, &args, fuel)?
                }
                Settled::Done { result, fuel, .. } => {
                    self.frames.0.pop();
                    if self.frames.0.is_empty() {
                        return self.done(result, fuel);
                    }
                    self.resume(Ok(&result), fuel)?
                }
                Settled::Failed {
                    fault,
                    trap,
                    place,
                    fuel,
                    ..
                } => {
                    let failed = self.frames.0.pop().context("someone failed")?;
                    let tasklet = failed.tasklet.name;
                    let failure = Failure {
                        tasklet,
                        fault,
                        trap,
                        place: place.map(|place| failed.tasklet.describe(place)),
                        refusal: failed.tasklet.refusal(fault),
                    };
                    let failure = self.failure.take().unwrap_or(failure);
                    if self.frames.0.is_empty() {
                        let outermost = tasklet;
                        return Err(JobFailed { outermost, failure }.into());
                    }
                    self.failure = Some(failure);
                    self.resume(Err(fault), fuel)?
                }
                Settled::Yielded { .. }
                | Settled::Frozen { .. }
                | Settled::NotFrozen { .. }
                | Settled::NoRoom { .. }
                | Settled::Verified { .. } => bail!(STRANGE),
            };
        }
    }

    /// Loads a tasklet, and runs it until it is suspended or ends.
    fn start(
        &mut self,
        tasklet: usize,
        export: &str,
        args: &[u8],
        fuel: u64,
    ) -> anyhow::Result<Settled> {
        self.push(tasklet, export);
        let start = self.frames.start(args, fuel);
        let activation = start.activation;
        if self.frames.0.len() > ACTIVATIONS {
            return Ok(Settled::Failed {
                activation,
                fault: Fault::TooDeep,
                trap: None,
                place: None,
                fuel,
            });
        }
        let clock = clock::now();
        let runner = &mut *self.runner;
        if start.entry.terms.executor == Kind::Native {
            let (host, out) = (&mut runner.host, &mut runner.out);
            let work = Work::Start(start);
            return step(runner.executor.execute(&work, &self.frames, host, out));
        }
        let admitted = runner.executor.admit(&start, &self.frames, &mut runner.out);
        self.load += clock.elapsed();
        if let Err(outcome) = admitted {
            return step(Some(outcome));
        }
        self.execute(|| Work::Continue { activation })
    }

    /// Gives the innermost activation the results of its call, or says why there are none.
    fn resume(&mut self, result: Result<&[u8], Fault>, fuel: u64) -> anyhow::Result<Settled> {
        let caller = self.frames.0.last().context("a caller waits")?;
        let activation = caller.activation;
        self.execute(|| Work::Resume {
            activation,
            result,
            fuel,
        })
    }

    fn execute<'w>(&mut self, work: impl FnOnce() -> Work<'w>) -> anyhow::Result<Settled> {
        let runner = &mut *self.runner;
        let clock = clock::now();
        let (host, out) = (&mut runner.host, &mut runner.out);
        let outcome = runner.executor.execute(&work(), &self.frames, host, out);
        self.run += clock.elapsed();
        let lacks_room = match outcome {
            Some(Outcome::NoRoom { activation }) => Some(activation),
            _ => None,
        };
        let step = step(outcome);
        if let Some(activation) = lacks_room {
            let (host, stop) = (&mut runner.host, Work::Stop { activation });
            runner
                .executor
                .execute(&stop, &self.frames, host, &mut runner.out);
        }
        step
    }

    /// Thaws an activation from an image.
    fn thaw(&mut self, saved: &Saved) -> anyhow::Result<Settled> {
        let name = saved.name;
        let tasklets = self.runner.tasklets;
        // The outermost tasklet may come from a file without a name.
        let at = match self.frames.0.is_empty() {
            true => Some(0),
            false => tasklets.position(name),
        };
        let at = at.with_context(|| {
            format!("the job image holds a run of {name}; add --with {name}=FILE")
        })?;
        let digest = Digest::of(&tasklets[at].code);
        ensure!(
            digest == saved.digest,
            "the file given for {name} is another module than the one that was frozen \
             (its digest is {digest}, the image's is {})",
            saved.digest
        );
        self.push(at, &saved.export);
        let start = self.frames.start(&[], u64::MAX);
        let runner = &mut *self.runner;
        let work = Work::Thaw {
            start,
            image: &saved.image,
        };
        let clock = clock::now();
        let (host, out) = (&mut runner.host, &mut runner.out);
        let outcome = runner.executor.execute(&work, &self.frames, host, out);
        self.load += clock.elapsed();
        match step(outcome)? {
            Settled::Failed { fault, .. } => Err(anyhow!(
                "the image of {name} cannot be thawed: {}",
                say(fault)
            )),
            step @ (Settled::Called { .. } | Settled::Done { .. }) => Ok(step),
            Settled::Yielded { .. }
            | Settled::Frozen { .. }
            | Settled::NotFrozen { .. }
            | Settled::NoRoom { .. }
            | Settled::Verified { .. } => bail!(STRANGE),
        }
    }

    /// Freezes all activations into a job image.
    fn freeze(self, callee: usize) -> anyhow::Result<End> {
        let runner = self.runner;
        let mut activations = Vec::new();
        for frame in &self.frames.0 {
            let activation = frame.activation;
            let len = runner.executor.image_len(activation, &self.frames);
            let mut image = vec![0; len.unwrap_or(0)];
            let room = image.len();
            let (work, host) = (Work::Freeze { activation, room }, &mut runner.host);
            let outcome = runner
                .executor
                .execute(&work, &self.frames, host, &mut image);
            let image = match outcome {
                Some(Outcome::Frozen { image, .. }) => image.to_vec(),
                Some(Outcome::Failed { fault, .. } | Outcome::NotFrozen { fault, .. }) => {
                    bail!("{} cannot be frozen: {}", frame.tasklet.name, say(fault))
                }
                _ => bail!("{} cannot be frozen", frame.tasklet.name),
            };
            activations.push(Saved {
                name: frame.tasklet.name,
                export: frame.export.clone(),
                digest: Digest::of(&frame.tasklet.code),
                memory_bytes: frame.tasklet.memory_bytes(),
                image,
            });
        }
        Ok(End::Frozen {
            call: runner.tasklets[callee].name,
            image: JobImage {
                fuel: self.fuel,
                calls: self.calls,
                activations,
            },
        })
    }

    fn done(self, results: Vec<u8>, fuel: u64) -> anyhow::Result<End> {
        if let Some(call) = self.freeze_at {
            let calls = self.calls;
            bail!(
                "the job ended after {calls} sub-tasklet calls, before call {call} at which it \
                 should freeze; choose a lower --freeze-at-call"
            );
        }
        debug_assert_eq!(
            self.runner.executor.used_bytes(),
            0,
            "an ended job leaves nothing"
        );
        Ok(End::Done(Report {
            results,
            fuel_used: self.fuel.saturating_sub(fuel),
            calls: self.calls,
            load: self.load,
            run: self.run,
            memory_bytes: self.runner.executor.counts().peak_bytes,
        }))
    }

    fn push(&mut self, tasklet: usize, export: &str) {
        let tasklets = self.runner.tasklets;
        self.frames.0.push(Frame {
            activation: ActivationId(self.runner.next),
            tasklet: &tasklets[tasklet],
            export: export.to_owned(),
        });
        self.runner.next = self.runner.next.wrapping_add(1);
    }
}

impl Frames<'_> {
    /// The start of the innermost activation.
    fn start<'s>(&'s self, args: &'s [u8], fuel: u64) -> Start<'s> {
        let (frame, outer) = self.0.split_last().expect("an activation was pushed");
        Start {
            activation: frame.activation,
            parent: outer.last().map(|parent| parent.activation),
            name: frame.tasklet.name,
            entry: frame.tasklet.entry(),
            code: &frame.tasklet.code,
            export: &frame.export,
            args,
            fuel,
            granted: frame.tasklet.granted,
        }
    }
}

/// Why a job failed.
#[derive(Clone, Debug)]
pub(crate) struct JobFailed {
    /// The tasklet that was to run.
    outermost: TaskletName,
    failure: Failure,
}

impl JobFailed {
    /// The stable code of the fault.
    pub(crate) fn code(&self) -> &'static str {
        self.failure.fault.code()
    }

    /// The stable codes of the fault, and of the trap if there was one.
    pub(crate) fn codes(&self) -> impl Iterator<Item = &'static str> {
        let Failure { fault, trap, .. } = self.failure;
        [fault.code()].into_iter().chain(trap.map(Trap::code))
    }
}

impl fmt::Display for JobFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure {
            tasklet,
            fault,
            trap,
            ref place,
            ref refusal,
        } = self.failure;
        let mut what = match trap {
            Some(trap) => format!("trapped: {trap} ({})", trap.meaning().trim()),
            None => say(fault),
        };
        if let Some(place) = place {
            what = format!("{what}, {place}");
        }
        if let Some(refusal) = refusal {
            what = format!("{what}: {refusal}");
        }
        let outermost = self.outermost;
        if tasklet == outermost {
            write!(f, "{tasklet} failed: {what}")
        } else {
            write!(
                f,
                "{outermost} failed because {tasklet}, which it called, failed: {what}"
            )
        }
    }
}

impl std::error::Error for JobFailed {}

/// A fault's code and meaning.
fn say(fault: Fault) -> String {
    format!("{fault} ({})", fault.meaning().trim())
}
