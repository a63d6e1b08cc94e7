//! Executors, each on a thread and with an arena of its own, and signature checks on another thread.
//!
//! Neither a long-running tasklet nor a signature check delays a frame. Work crosses to the
//! threads as copies; the node's cache may move or drop a module while it runs. Modules are kept
//! for a while, so that another start of the same module copies nothing of it.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use nimblenet_core::ExecutorId;
use nimblenet_executor::{CodeSource, Executor, ExecutorOptions};
use nimblenet_tasklet::{
    ActivationId, Capabilities, Capability, Digest, Entry, Fault, Host, Outcome, Start,
    TaskletName, Trap, Work,
};
use tokio::sync::mpsc::UnboundedSender;

use crate::key::PublicKey;

/// Fuel of one slice: a few milliseconds, after which the node may decide anew.
const SLICE: u64 = 1_000_000;
/// Pieces of work that wait; a node gives one at a time, besides stops.
const QUEUE: usize = 1024;
/// Modules that are kept for another start, and their bytes.
const MODULES: usize = 64;
const MODULES_BYTES: usize = 1 << 20;
/// Results and images are not longer.
const OUTPUT_BYTES: usize = 1 << 20;

/// The threads that work for one node.
#[derive(Debug)]
pub(crate) struct Workers {
    /// One queue for each executor.
    work: Vec<SyncSender<Task>>,
    checks: Option<SyncSender<Check>>,
    outcomes: UnboundedSender<Answer>,
    shelf: Shelf,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts the threads of so many executors, which share `host` and have `arena_bytes` each;
    /// what they answer goes to `outcomes`.
    pub(crate) fn start(
        name: &str,
        executors: usize,
        arena_bytes: usize,
        host: impl Host + Send + 'static,
        outcomes: UnboundedSender<Answer>,
    ) -> std::io::Result<Self> {
        let spawn = |name: String| Builder::new().name(name);
        let host = SharedHost(Arc::new(Mutex::new(host)));
        let (mut work, mut threads) = (Vec::new(), Vec::new());
        for number in 0..executors {
            let (queue, tasks) = sync_channel(QUEUE);
            let (host, answers) = (host.clone(), outcomes.clone());
            let run = move || execute(arena_bytes, host, &tasks, &answers);
            threads.push(spawn(format!("{name}-run-{number}")).spawn(run)?);
            work.push(queue);
        }
        let (checks, due) = sync_channel(QUEUE);
        let answers = outcomes.clone();
        threads.push(spawn(format!("{name}-check")).spawn(move || check(&due, &answers))?);
        Ok(Self {
            work,
            checks: Some(checks),
            outcomes,
            shelf: Shelf::default(),
            threads,
        })
    }

    /// Hands a piece of work to an executor. If its queue is full the work fails at once.
    pub(crate) fn give(&mut self, executor: ExecutorId, work: Work<'_>) {
        let queue = self.work.get(usize::from(executor.0));
        let result = match Piece::copy(work, &mut self.shelf) {
            Piece::Task(task) => send(queue, task).map_err(Piece::Task),
            Piece::Check(check) => send(self.checks.as_ref(), check).map_err(Piece::Check),
        };
        let answer = match result {
            Ok(()) => return,
            Err(Piece::Check(check)) => Answer::Verified {
                ticket: check.ticket,
                good: false,
            },
            Err(Piece::Task(Task::Freeze(activation, _))) => Answer::NotFrozen {
                activation,
                fault: Fault::Busy,
            },
            Err(Piece::Task(task)) => Answer::Failed {
                activation: task.activation(),
                fault: Fault::Busy,
                trap: None,
                fuel: 0,
            },
        };
        let _ = self.outcomes.send(answer);
    }

    /// Ends the threads, after the slice that runs.
    pub(crate) fn stop(&mut self) {
        self.work.clear();
        self.checks = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn send<T>(queue: Option<&SyncSender<T>>, item: T) -> Result<(), T> {
    let Some(queue) = queue else {
        return Err(item);
    };
    queue.try_send(item).map_err(|error| match error {
        TrySendError::Full(item) | TrySendError::Disconnected(item) => item,
    })
}

/// What an executor answers, as a copy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    Called {
        activation: ActivationId,
        import: u16,
        args: Vec<u8>,
        fuel: u64,
    },
    Done {
        activation: ActivationId,
        result: Vec<u8>,
        fuel: u64,
    },
    Failed {
        activation: ActivationId,
        fault: Fault,
        trap: Option<Trap>,
        fuel: u64,
    },
    Yielded {
        activation: ActivationId,
        fuel: u64,
    },
    Frozen {
        activation: ActivationId,
        image: Vec<u8>,
    },
    NotFrozen {
        activation: ActivationId,
        fault: Fault,
    },
    NoRoom(ActivationId),
    Verified {
        ticket: u32,
        good: bool,
    },
}

impl Answer {
    fn copy(outcome: Outcome<'_>) -> Self {
        match outcome {
            Outcome::Called {
                activation,
                import,
                args,
                fuel,
            } => Self::Called {
                activation,
                import,
                args: args.to_vec(),
                fuel,
            },
            Outcome::Done {
                activation,
                result,
                fuel,
            } => Self::Done {
                activation,
                result: result.to_vec(),
                fuel,
            },
            Outcome::Failed {
                activation,
                fault,
                trap,
                fuel,
            } => Self::Failed {
                activation,
                fault,
                trap,
                fuel,
            },
            Outcome::Yielded { activation, fuel } => Self::Yielded { activation, fuel },
            Outcome::Frozen { activation, image } => Self::Frozen {
                activation,
                image: image.to_vec(),
            },
            Outcome::NotFrozen { activation, fault } => Self::NotFrozen { activation, fault },
            Outcome::NoRoom { activation } => Self::NoRoom(activation),
            Outcome::Verified { ticket, good } => Self::Verified { ticket, good },
        }
    }

    /// The outcome that it is a copy of.
    pub(crate) fn outcome(&self) -> Outcome<'_> {
        match self {
            Self::Called {
                activation,
                import,
                args,
                fuel,
            } => Outcome::Called {
                activation: *activation,
                import: *import,
                args,
                fuel: *fuel,
            },
            Self::Done {
                activation,
                result,
                fuel,
            } => Outcome::Done {
                activation: *activation,
                result,
                fuel: *fuel,
            },
            Self::Failed {
                activation,
                fault,
                trap,
                fuel,
            } => Outcome::Failed {
                activation: *activation,
                fault: *fault,
                trap: *trap,
                fuel: *fuel,
            },
            Self::Yielded { activation, fuel } => Outcome::Yielded {
                activation: *activation,
                fuel: *fuel,
            },
            Self::Frozen { activation, image } => Outcome::Frozen {
                activation: *activation,
                image,
            },
            Self::NotFrozen { activation, fault } => Outcome::NotFrozen {
                activation: *activation,
                fault: *fault,
            },
            Self::NoRoom(activation) => Outcome::NoRoom {
                activation: *activation,
            },
            Self::Verified { ticket, good } => Outcome::Verified {
                ticket: *ticket,
                good: *good,
            },
        }
    }
}

/// Work as a copy, by the thread that does it.
enum Piece {
    Task(Task),
    Check(Check),
}

struct Check {
    ticket: u32,
    key: PublicKey,
    message: Vec<u8>,
    signature: [u8; 64],
}

enum Task {
    Start(Box<Begin>),
    Thaw(Box<Begin>, Vec<u8>),
    Continue(ActivationId),
    Resume(ActivationId, Result<Vec<u8>, Fault>, u64),
    Freeze(ActivationId, usize),
    Stop(ActivationId),
}

/// A [`Start`] as a copy.
struct Begin {
    activation: ActivationId,
    parent: Option<ActivationId>,
    name: TaskletName,
    entry: Vec<u8>,
    code: Arc<[u8]>,
    export: String,
    args: Vec<u8>,
    fuel: u64,
    granted: Capabilities,
}

impl Piece {
    fn copy(work: Work<'_>, shelf: &mut Shelf) -> Self {
        Self::Task(match work {
            Work::Start(start) => Task::Start(Box::new(Begin::copy(&start, shelf))),
            Work::Thaw { start, image } => {
                Task::Thaw(Box::new(Begin::copy(&start, shelf)), image.to_vec())
            }
            Work::Continue { activation } => Task::Continue(activation),
            Work::Resume {
                activation,
                result,
                fuel,
            } => Task::Resume(activation, result.map(<[u8]>::to_vec), fuel),
            Work::Freeze { activation, room } => Task::Freeze(activation, room),
            Work::Stop { activation } => Task::Stop(activation),
            Work::Verify {
                ticket,
                key,
                message,
                signature,
            } => {
                return Self::Check(Check {
                    ticket,
                    key: PublicKey(*key),
                    message: message.to_vec(),
                    signature: *signature,
                });
            }
        })
    }
}

impl Task {
    fn activation(&self) -> ActivationId {
        match self {
            Self::Start(begin) | Self::Thaw(begin, _) => begin.activation,
            Self::Continue(activation)
            | Self::Resume(activation, ..)
            | Self::Freeze(activation, _)
            | Self::Stop(activation) => *activation,
        }
    }

    fn work(&self) -> Work<'_> {
        match self {
            Self::Start(begin) => Work::Start(begin.start()),
            Self::Thaw(begin, image) => Work::Thaw {
                start: begin.start(),
                image,
            },
            Self::Continue(activation) => Work::Continue {
                activation: *activation,
            },
            Self::Resume(activation, result, fuel) => Work::Resume {
                activation: *activation,
                result: result.as_deref().map_err(|fault| *fault),
                fuel: *fuel,
            },
            Self::Freeze(activation, room) => Work::Freeze {
                activation: *activation,
                room: *room,
            },
            Self::Stop(activation) => Work::Stop {
                activation: *activation,
            },
        }
    }
}

impl Begin {
    fn copy(start: &Start<'_>, shelf: &mut Shelf) -> Self {
        Self {
            activation: start.activation,
            parent: start.parent,
            name: start.name,
            entry: start.entry.encoded().to_vec(),
            code: shelf.module(start.entry.digest, start.code),
            export: start.export.to_owned(),
            args: start.args.to_vec(),
            fuel: start.fuel,
            granted: start.granted,
        }
    }

    fn start(&self) -> Start<'_> {
        Start {
            activation: self.activation,
            parent: self.parent,
            name: self.name,
            entry: Entry::reread(&self.entry).expect("it was read before it was copied"),
            code: &self.code,
            export: &self.export,
            args: &self.args,
            fuel: self.fuel,
            granted: self.granted,
        }
    }
}

/// Modules that were handed over before, the last one at the end.
#[derive(Default, Debug)]
struct Shelf(Vec<(Digest, Arc<[u8]>)>);

impl Shelf {
    /// The module with this digest and these bytes; a copy only if it is not held.
    fn module(&mut self, digest: Digest, bytes: &[u8]) -> Arc<[u8]> {
        let held = self.0.iter().position(|(held, _)| *held == digest);
        let held = held.map(|at| self.0.remove(at).1);
        // Whether the digest is theirs has not been looked at yet.
        let held = held.filter(|module| module[..] == *bytes);
        let module = held.unwrap_or_else(|| bytes.into());
        self.0.push((digest, module.clone()));
        while self.0.len() > MODULES || self.bytes() > MODULES_BYTES {
            self.0.remove(0);
        }
        module
    }

    fn bytes(&self) -> usize {
        self.0.iter().map(|(_, module)| module.len()).sum()
    }
}

/// Modules of the activations that there are.
#[derive(Default)]
struct Modules(BTreeMap<ActivationId, Arc<[u8]>>);

impl CodeSource for Modules {
    fn code(&self, activation: ActivationId) -> &[u8] {
        self.0.get(&activation).map_or(&[], |code| &code[..])
    }
}

/// A device whose functions the executors call one at a time.
struct SharedHost<H>(Arc<Mutex<H>>);

impl<H> SharedHost<H> {
    fn lock(&self) -> MutexGuard<'_, H> {
        // A panic in one thread leaves the others the device.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<H> Clone for SharedHost<H> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<H: Host> Host for SharedHost<H> {
    fn offers(&self) -> Capabilities {
        self.lock().offers()
    }

    fn call(
        &mut self,
        tasklet: &TaskletName,
        capability: Capability,
        function: &str,
        args: &[u64],
        memory: &mut [u8],
    ) -> Result<u64, Fault> {
        self.lock()
            .call(tasklet, capability, function, args, memory)
    }

    fn native(
        &mut self,
        name: &TaskletName,
        export: &str,
        args: &[u8],
        result: &mut [u8],
    ) -> Result<usize, Fault> {
        self.lock().native(name, export, args, result)
    }
}

/// An executor's thread.
fn execute(
    arena_bytes: usize,
    mut host: impl Host,
    tasks: &Receiver<Task>,
    answers: &UnboundedSender<Answer>,
) {
    let mut arena = vec![0; arena_bytes];
    let mut out = vec![0; OUTPUT_BYTES];
    let options = ExecutorOptions {
        slice: SLICE,
        ..ExecutorOptions::default()
    };
    let mut executor = Executor::new(&mut arena, options);
    let mut modules = Modules::default();
    while let Ok(task) = tasks.recv() {
        if let Task::Start(begin) | Task::Thaw(begin, _) = &task {
            modules.0.insert(begin.activation, begin.code.clone());
        }
        let work = task.work();
        let outcome = executor.execute(&work, &modules, &mut host, &mut out);
        if let Some(ended) = work.ends(outcome.as_ref()) {
            modules.0.remove(&ended);
        }
        let answer = outcome.map(Answer::copy);
        if let Some(answer) = answer
            && answers.send(answer).is_err()
        {
            return;
        }
    }
}

/// The thread that checks signatures.
fn check(due: &Receiver<Check>, answers: &UnboundedSender<Answer>) {
    while let Ok(check) = due.recv() {
        let answer = Answer::Verified {
            ticket: check.ticket,
            good: check.key.verifies(&check.message, &check.signature),
        };
        if answers.send(answer).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_copied_once_and_never_taken_for_another_of_the_same_digest() {
        let mut shelf = Shelf::default();
        let digest = Digest::of(b"module");
        let first = shelf.module(digest, b"module");
        let again = shelf.module(digest, b"module");
        assert!(Arc::ptr_eq(&first, &again));
        assert_eq!(shelf.module(digest, b"mudole")[..], *b"mudole");
        assert_eq!(shelf.module(digest, b"module")[..], *b"module");
    }

    #[test]
    fn the_modules_that_were_not_used_for_longest_are_let_go() {
        let mut shelf = Shelf::default();
        let small = |at: usize| (Digest::of(&at.to_le_bytes()), at.to_le_bytes());
        for at in 0..=MODULES {
            let (digest, bytes) = small(at);
            shelf.module(digest, &bytes);
        }
        assert_eq!(shelf.0.len(), MODULES);
        assert_eq!(shelf.0[0].0, small(1).0);
        let large = vec![0; MODULES_BYTES];
        assert_eq!(shelf.module(Digest::of(&large), &large).len(), large.len());
        assert_eq!((shelf.0.len(), shelf.bytes()), (1, MODULES_BYTES));
    }
}
