//! Executors, each with a thread and an arena of its own, and a thread for signature checks.
//!
//! Neither a long-running tasklet nor a signature check delays a frame. Parcels carry copies of the
//! work to the threads, modules included, so the node's cache need not keep them. Copies of modules
//! are kept for a while, so that another start of the same module does not copy it again.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use nimblenet_core::ExecutorId;
use nimblenet_executor::{ExecutorOptions, HoldingExecutor};
use nimblenet_tasklet::{
    ActivationId, Answer, Capabilities, Capability, Digest, Fault, Growing, Host, Parcel,
    TaskletName, Work,
};
use tokio::sync::mpsc::UnboundedSender;

use crate::clock::Clock;
use crate::host::{self, LinuxHost};
use crate::key::PublicKey;

/// Fuel of one slice: a few milliseconds, after which the node may run another job.
const SLICE: u64 = 1_000_000;
/// How long a tasklet may sleep before it yields, in microseconds: many sleeps in a row keep neither others
/// from their turn nor a stop from its effect.
const SLEPT_US: u64 = 10_000;
/// The most modules that are kept for another start, and below the most bytes of them.
const MODULES: usize = 64;
const MODULES_BYTES: usize = 1 << 20;
/// The longest results and images.
const OUTPUT_BYTES: usize = 1 << 20;

/// Work on its way to a thread.
type Piece = Box<Parcel<Growing<Vec<u8>>, Arc<[u8]>>>;
/// The outcome of a piece of work.
pub(crate) type OwnedOutcome = Answer<Vec<u8>>;

/// The digests of the modules that an executor has loaded.
type Loaded = Arc<Mutex<Vec<[u8; 32]>>>;

/// The threads that work for one node.
#[derive(Debug)]
pub(crate) struct Workers {
    loaded: Vec<Loaded>,
    /// One queue for each executor. It has no limit of its own: a node gives an executor one piece
    /// of work at a time, and a stop for each activation that it holds.
    work: Vec<Sender<Piece>>,
    /// A node has one signature checked at a time.
    checks: Option<Sender<Piece>>,
    outcomes: UnboundedSender<OwnedOutcome>,
    shelf: Shelf,
    threads: Vec<JoinHandle<()>>,
    /// Whether they are to end: then nobody sleeps on.
    ends: Arc<AtomicBool>,
}

impl Workers {
    /// Starts the threads of `executors` executors, which share `host` and have `arena_bytes` each.
    /// They send their answers to `outcomes`.
    pub(crate) fn start(
        name: &str,
        executors: usize,
        arena_bytes: usize,
        host: LinuxHost,
        outcomes: UnboundedSender<OwnedOutcome>,
    ) -> std::io::Result<Self> {
        let spawn = |name: String| Builder::new().name(name);
        let ends = Arc::new(AtomicBool::new(false));
        let host = SharedHost {
            ends: ends.clone(),
            clock: host.clock(),
            host: Arc::new(Mutex::new(host)),
            runs: None,
        };
        let (mut work, mut threads) = (Vec::new(), Vec::new());
        let loaded: Vec<Loaded> = (0..executors).map(|_| Loaded::default()).collect();
        for (number, loaded) in loaded.iter().enumerate() {
            let (queue, due) = channel();
            let (host, outcomes, loaded) = (host.clone(), outcomes.clone(), loaded.clone());
            let run = move || execute(arena_bytes, host, &due, &outcomes, &loaded);
            threads.push(spawn(format!("{name}-run-{number}")).spawn(run)?);
            work.push(queue);
        }
        let (checks, due) = channel();
        let checked = outcomes.clone();
        threads.push(spawn(format!("{name}-check")).spawn(move || check(&due, &checked))?);
        Ok(Self {
            loaded,
            work,
            checks: Some(checks),
            outcomes,
            shelf: Shelf::default(),
            threads,
            ends,
        })
    }

    /// Gives a piece of work to an executor, or to the thread for signature checks. Work for a
    /// thread that has ended is refused at once.
    pub(crate) fn give(&mut self, executor: ExecutorId, work: Work<'_>) {
        let queue = match work {
            Work::Verify { .. } => self.checks.as_ref(),
            Work::Start(_)
            | Work::Continue { .. }
            | Work::Resume { .. }
            | Work::Freeze { .. }
            | Work::Thaw { .. }
            | Work::Stop { .. } => self.work.get(usize::from(executor.0)),
        };
        let mut piece = Box::new(Parcel::new(Growing::default()));
        piece.pack(work, |bytes, digest| match digest {
            Some(digest) => self.shelf.module(digest, bytes),
            None => bytes.into(),
        });
        let taken = queue.is_some_and(|queue| queue.send(piece).is_ok());
        if !taken && let Some(refused) = work.refused(Fault::Busy) {
            let _ = self.outcomes.send(refused.owned());
        }
    }

    /// Whether an executor has the module with this digest loaded.
    pub(crate) fn have_loaded(&self, digest: &Digest) -> bool {
        self.loaded.iter().any(|loaded| {
            let loaded = loaded.lock().unwrap_or_else(PoisonError::into_inner);
            loaded.contains(&digest.0)
        })
    }

    /// Ends the threads, after the slice that runs; who sleeps there is woken.
    pub(crate) fn stop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        self.work.clear();
        self.checks = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Modules that were given to executors before, the most recent at the end.
#[derive(Default, Debug)]
struct Shelf(Vec<(Digest, Arc<[u8]>)>);

impl Shelf {
    /// The module with this digest and these bytes; it is copied only if it is not held.
    fn module(&mut self, digest: Digest, bytes: &[u8]) -> Arc<[u8]> {
        let held = self.0.iter().position(|(held, _)| *held == digest);
        let held = held.map(|at| self.0.remove(at).1);
        // Nobody has checked yet that the bytes have this digest.
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

/// A device whose functions the executors call one at a time.
#[derive(Clone)]
struct SharedHost {
    ends: Arc<AtomicBool>,
    clock: Clock,
    host: Arc<Mutex<LinuxHost>>,
    /// Whom the executor of this handle runs.
    runs: Option<ActivationId>,
}

impl SharedHost {
    fn lock(&self) -> MutexGuard<'_, LinuxHost> {
        // After a panic in one thread, the others can still use the device.
        let mut host = self.host.lock().unwrap_or_else(PoisonError::into_inner);
        host.serves(self.runs);
        host
    }
}

impl Host for SharedHost {
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
        if (capability, function) == (Capability::Clock, "sleep-us") {
            // The other executors can use the device meanwhile.
            return host::sleep(self.clock, args, || self.ends.load(Ordering::Relaxed));
        }
        self.lock()
            .call(tasklet, capability, function, args, memory)
    }

    fn needs(&self, name: &TaskletName) -> Option<Capabilities> {
        self.lock().needs(name)
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
    mut host: SharedHost,
    due: &Receiver<Piece>,
    outcomes: &UnboundedSender<OwnedOutcome>,
    loaded: &Loaded,
) {
    let mut arena = vec![0; arena_bytes];
    let mut out = vec![0; OUTPUT_BYTES];
    let options = ExecutorOptions {
        slice: SLICE,
        slept_us: SLEPT_US,
        ..ExecutorOptions::default()
    };
    let mut executor = HoldingExecutor::new(&mut arena, options);
    while let Ok(piece) = due.recv() {
        host.runs = piece.open().ok().and_then(|work| work.activation());
        let outcome = executor.serve(&piece, verifies, &mut host, &mut out);
        note_loaded(loaded, executor.executor().loaded());
        if let Some(outcome) = outcome
            && outcomes.send(outcome.owned()).is_err()
        {
            return;
        }
    }
}

fn note_loaded<'d>(noted: &Loaded, now: impl Iterator<Item = &'d [u8; 32]> + Clone) {
    let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
    if !now.clone().eq(noted.iter()) {
        noted.clear();
        noted.extend(now);
    }
}

/// The thread that checks signatures.
fn check(due: &Receiver<Piece>, outcomes: &UnboundedSender<OwnedOutcome>) {
    while let Ok(piece) = due.recv() {
        let verified = piece.open().ok().and_then(|work| work.verified(verifies));
        if let Some(verified) = verified
            && outcomes.send(verified.owned()).is_err()
        {
            return;
        }
    }
}

/// Whether `signature` is valid by the strict rule.
fn verifies(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    PublicKey(*key).verifies(message, signature)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lines::Lines;
    use crate::values::Values;

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
    fn a_run_that_waits_for_an_executor_busy_with_stops_is_not_failed() {
        let (outcomes, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let (queue, due) = channel();
        // An executor that does not come to its queue.
        let mut workers = Workers {
            loaded: Vec::new(),
            work: vec![queue],
            checks: None,
            outcomes,
            shelf: Shelf::default(),
            threads: Vec::new(),
            ends: Arc::default(),
        };
        let activation = ActivationId;
        let stops = 5000;
        for number in 0..stops {
            let activation = activation(number);
            workers.give(ExecutorId(0), Work::Stop { activation });
        }
        let activation = activation(stops);
        let resume = Work::Resume {
            activation,
            result: Ok(&[0x80]),
            fuel: 1,
        };
        workers.give(ExecutorId(0), resume);
        assert!(heard.try_recv().is_err(), "nothing is refused");
        assert_eq!(due.try_iter().count(), 5001);
    }

    #[test]
    fn work_that_no_queue_takes_is_refused_at_once_and_a_stop_is_not_answered() {
        let (outcomes, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let host = LinuxHost::new(
            &[],
            Values::in_memory(),
            Lines::default(),
            Clock::start(),
            1,
        );
        let mut workers = Workers::start("test", 1, 1 << 16, host, outcomes).unwrap();
        workers.stop();
        let activation = ActivationId(7);
        workers.give(ExecutorId(0), Work::Stop { activation });
        assert!(heard.try_recv().is_err());
        let works = [
            Work::Continue { activation },
            Work::Freeze {
                activation,
                room: 10,
            },
            Work::Verify {
                ticket: 3,
                key: [1; 32],
                message: b"message",
                signature: [2; 64],
            },
        ];
        for work in works {
            workers.give(ExecutorId(0), work);
            let refused = work.refused(Fault::Busy).unwrap();
            assert_eq!(heard.try_recv(), Ok(refused.owned()));
        }
    }

    #[test]
    fn a_long_sleep_ends_with_the_threads() {
        let ends = Arc::new(AtomicBool::new(false));
        let clock = Clock::start();
        let told = ends.clone();
        let sleeper = std::thread::spawn(move || {
            host::sleep(clock, &[60_000_000], || told.load(Ordering::Relaxed))
        });
        ends.store(true, Ordering::Relaxed);
        assert_eq!(sleeper.join().unwrap(), Err(Fault::Stopped));
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
