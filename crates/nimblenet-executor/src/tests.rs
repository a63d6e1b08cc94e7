//! A small world for the executor: tasklets from text, and a driver that carries outcomes
//! between them.

extern crate alloc;
extern crate std;

mod calls;
mod ends;
mod holding;
mod images;
mod need;
mod pressure;
mod warm;

use alloc::borrow::ToOwned;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use nimblenet_tasklet::{
    ActivationId, Area, Capabilities, Capability, Digest, Entry, EntryFields, Export, Fault, Host,
    Import, Name, NamespaceId, Outcome, Place, Start, TaskletName, Terms, Trap, Work,
};

use super::{CodeSource, Counts, Executor, ExecutorOptions, Freezing, Limits};

/// A tasklet of the world. It names those that it calls by their positions.
struct Tasklet {
    code: Vec<u8>,
    entry: Vec<u8>,
    callees: Vec<usize>,
    granted: Capabilities,
}

/// The fields of a tasklet's entry that do not follow from its module.
#[derive(Clone, Copy)]
struct Says<'s> {
    signature: &'s str,
    calls: &'s [(usize, &'s str)],
    memory_bytes: u32,
    area: Area,
    native: bool,
    capabilities: Capabilities,
}

const SAYS: Says<'static> = Says {
    signature: "func(s32) -> s32",
    calls: &[],
    memory_bytes: 0,
    area: Area { offset: 0, len: 0 },
    native: false,
    capabilities: Capabilities::NONE,
};

impl Tasklet {
    fn new(text: &str, says: Says<'_>) -> Self {
        let code = if says.native {
            Vec::new()
        } else {
            wat::parse_str(text).unwrap()
        };
        let mut space = [0; 128];
        let mut terms = Terms::empty();
        terms.memory_bytes = says.memory_bytes;
        terms.area = says.area;
        terms.capabilities = says.capabilities;
        if says.native {
            terms.executor = nimblenet_tasklet::Executor::Native;
            terms.cost = 10;
        }
        let export = Export::run(says.signature.parse().unwrap());
        let terms = terms.with_exports(&[export], &mut space).unwrap();
        let imports = says.calls.iter().map(|(callee, signature)| Import {
            namespace: NamespaceId(1),
            number: *callee as u16,
            export: "run",
            signature: signature.parse().unwrap(),
        });
        let imports: Vec<_> = imports.collect();
        let fields = EntryFields {
            number: 0,
            name: Name::new("tasklet").unwrap(),
            sequence: 1,
            digest: Digest::of(&code),
            size: code.len() as u32,
            compression: None,
            terms,
            imports: &imports,
        };
        let mut entry = vec![0; 1024];
        let len = fields.encode(&mut entry).unwrap();
        entry.truncate(len);
        Self {
            code,
            entry,
            callees: says.calls.iter().map(|(callee, _)| *callee).collect(),
            granted: Capabilities::ALL,
        }
    }

    fn start<'a>(&'a self, activation: ActivationId, args: &'a [u8], fuel: u64) -> Start<'a> {
        Start {
            activation,
            parent: None,
            name: TaskletName::new("floor/tasklet").unwrap(),
            entry: Entry::decode(&self.entry).unwrap(),
            code: &self.code,
            export: "",
            args,
            fuel,
            granted: self.granted,
        }
    }
}

/// Runs of the world, by activation: which tasklet, for which caller, of which job.
#[derive(Default)]
struct Runs<'t>(Vec<Run<'t>>);

#[derive(Clone)]
struct Run<'t> {
    id: ActivationId,
    tasklet: &'t Tasklet,
    caller: Option<ActivationId>,
    job: usize,
}

impl<'t> Runs<'t> {
    fn of(&self, id: ActivationId) -> &Run<'t> {
        self.0.iter().find(|run| run.id == id).unwrap()
    }
}

impl CodeSource for Runs<'_> {
    fn code(&self, activation: ActivationId) -> &[u8] {
        &self.of(activation).tasklet.code
    }
}

/// Remembers what it was asked.
#[derive(Default)]
struct Device {
    calls: Vec<String>,
    /// What native tasklets need.
    needs: Capabilities,
}

impl Host for Device {
    fn offers(&self) -> Capabilities {
        Capabilities::ALL
    }

    fn call(
        &mut self,
        tasklet: &TaskletName,
        capability: Capability,
        function: &str,
        args: &[u64],
        memory: &mut [u8],
    ) -> Result<u64, Fault> {
        if capability == Capability::Log {
            let range = args[0] as usize..(args[0] + args[1]) as usize;
            let line = memory.get(range).ok_or(Fault::WrongArguments)?;
            self.calls.push(String::from_utf8(line.to_owned()).unwrap());
        } else if capability == Capability::Kv {
            self.calls.push(format!("{tasklet} {function}"));
        } else {
            self.calls.push(function.to_owned());
        }
        if capability == Capability::Actuator {
            Err(Fault::DeviceFailed)
        } else {
            Ok(7)
        }
    }

    fn needs(&self, _: &TaskletName) -> Option<Capabilities> {
        Some(self.needs)
    }

    fn native(
        &mut self,
        _name: &TaskletName,
        export: &str,
        args: &[u8],
        result: &mut [u8],
    ) -> Result<usize, Fault> {
        self.calls.push(export.to_owned());
        let doubled = cbor(&[ints(args)[0] * 2]);
        result[..doubled.len()].copy_from_slice(&doubled);
        Ok(doubled.len())
    }
}

/// How a job ended, with the fuel that was left.
#[derive(Clone, PartialEq, Eq, Debug)]
enum End {
    Done(Vec<i64>, u64),
    Failed(Fault, Option<Trap>),
}

enum Task {
    Start {
        tasklet: usize,
        caller: Option<ActivationId>,
        job: usize,
        args: Vec<u8>,
        fuel: u64,
    },
    Continue(ActivationId),
    Resume(ActivationId, Result<Vec<u8>, Fault>, u64),
}

/// A world with some tasklets and one executor.
struct World<'t, 'm> {
    tasklets: &'t [Tasklet],
    executor: Executor<'m>,
    runs: Runs<'t>,
    device: Device,
    next: u32,
}

impl<'t, 'm> World<'t, 'm> {
    fn new(tasklets: &'t [Tasklet], arena: &'m mut [u8], options: ExecutorOptions) -> Self {
        Self {
            tasklets,
            executor: Executor::new(arena, options),
            runs: Runs::default(),
            device: Device::default(),
            next: 0,
        }
    }

    /// Runs one job for each item of `args`; the jobs take turns.
    fn run_all(&mut self, tasklet: usize, args: &[i64], fuel: u64) -> Vec<End> {
        let start = |(job, arg): (usize, &i64)| Task::Start {
            tasklet,
            caller: None,
            job,
            args: cbor(&[*arg]),
            fuel,
        };
        let tasks = args.iter().enumerate().map(start).collect();
        self.work_off(tasks, args.len())
    }

    fn run(&mut self, tasklet: usize, arg: i64, fuel: u64) -> End {
        self.run_all(tasklet, &[arg], fuel).remove(0)
    }

    fn work_off(&mut self, mut tasks: VecDeque<Task>, jobs: usize) -> Vec<End> {
        let mut ends = vec![None; jobs];
        while let Some(task) = tasks.pop_front() {
            let (id, next) = self.step(task);
            let Some(next) = next else { continue };
            let run = self.runs.of(id).clone();
            match next {
                Next::Task(task) => tasks.push_back(task),
                Next::End(end, fuel) => {
                    self.runs.0.retain(|run| run.id != id);
                    match (run.caller, end) {
                        (None, Ok(result)) => {
                            ends[run.job] = Some(End::Done(ints(&result), fuel));
                        }
                        (None, Err((fault, trap))) => {
                            ends[run.job] = Some(End::Failed(fault, trap))
                        }
                        (Some(caller), end) => {
                            let result = end.map_err(|(fault, _)| fault);
                            tasks.push_back(Task::Resume(caller, result, fuel));
                        }
                    }
                }
            }
        }
        ends.into_iter().map(Option::unwrap).collect()
    }

    /// Does a task, and returns what follows from it.
    fn step(&mut self, task: Task) -> (ActivationId, Option<Next>) {
        let mut out = vec![0; 4096];
        let tasklets = self.tasklets;
        let (id, work, result);
        match &task {
            Task::Start {
                tasklet,
                caller,
                job,
                args,
                fuel,
            } => {
                id = ActivationId(self.next);
                self.next += 1;
                self.runs.0.push(Run {
                    id,
                    tasklet: &tasklets[*tasklet],
                    caller: *caller,
                    job: *job,
                });
                work = Work::Start(tasklets[*tasklet].start(id, args, *fuel));
            }
            Task::Continue(activation) => {
                id = *activation;
                work = Work::Continue { activation: id };
            }
            Task::Resume(activation, answer, fuel) => {
                id = *activation;
                result = answer.as_ref().map(Vec::as_slice).map_err(|fault| *fault);
                work = Work::Resume {
                    activation: id,
                    result,
                    fuel: *fuel,
                };
            }
        }
        let device = &mut self.device;
        let before = self.executor.activations();
        let outcome = self.executor.execute(&work, &self.runs, device, &mut out);
        if let Some(Outcome::NoRoom { activation }) = outcome {
            assert_eq!(self.executor.activations(), before, "nothing has changed");
            self.executor.wasm.stop(activation);
        }
        let run = self.runs.of(id);
        (id, outcome.and_then(|outcome| Next::of(outcome, run)))
    }

    fn counts(&self) -> Counts {
        self.executor.counts()
    }

    /// The length of the gap once the executor has given up all kept modules.
    fn free_bytes(&mut self) -> usize {
        let wasm = &mut self.executor.wasm;
        while wasm.give_up_warm().is_some() {}
        wasm.arena.gap_len()
    }

    fn is_empty(&self) -> bool {
        self.executor.used_bytes() == 0 && self.executor.activations() == 0
    }
}

enum Next {
    Task(Task),
    End(Result<Vec<u8>, (Fault, Option<Trap>)>, u64),
}

impl Next {
    fn of(outcome: Outcome<'_>, run: &Run<'_>) -> Option<Self> {
        Some(match outcome {
            Outcome::Called {
                activation,
                import,
                args,
                fuel,
            } => Self::Task(Task::Start {
                tasklet: run.tasklet.callees[usize::from(import)],
                caller: Some(activation),
                job: run.job,
                args: args.to_vec(),
                fuel,
            }),
            Outcome::Yielded { activation, .. } => Self::Task(Task::Continue(activation)),
            Outcome::Done { result, fuel, .. } => Self::End(Ok(result.to_vec()), fuel),
            Outcome::Failed {
                fault, trap, fuel, ..
            } => Self::End(Err((fault, trap)), fuel),
            // In this world nobody waits for room.
            Outcome::NoRoom { .. } => Self::End(Err((Fault::NoMemory, None)), 0),
            Outcome::Frozen { .. } | Outcome::NotFrozen { .. } | Outcome::Verified { .. } => {
                return None;
            }
        })
    }
}

/// Options for a small arena.
fn options() -> ExecutorOptions {
    ExecutorOptions {
        limits: Limits::small(),
        ..ExecutorOptions::default()
    }
}

fn always() -> ExecutorOptions {
    ExecutorOptions {
        freezing: Freezing::Always,
        ..options()
    }
}

/// The CBOR array of these integers.
fn cbor(values: &[i64]) -> Vec<u8> {
    let mut bytes = vec![0x80 + values.len() as u8];
    for value in values {
        let (major, number) = if *value < 0 {
            (0x20, !*value as u64)
        } else {
            (0x00, *value as u64)
        };
        bytes.push(major | 0x1b);
        bytes.extend(number.to_be_bytes());
    }
    bytes
}

/// The integers of a CBOR array, with those of a list in it.
fn ints(mut bytes: &[u8]) -> Vec<i64> {
    let mut values = Vec::new();
    while let Some((&first, rest)) = bytes.split_first() {
        bytes = rest;
        let len = match first & 0x1f {
            0x18 => 1,
            0x19 => 2,
            0x1a => 4,
            0x1b => 8,
            _ => 0,
        };
        let mut number = u64::from(first & 0x1f);
        if len > 0 {
            let mut wide = [0; 8];
            wide[8 - len..].copy_from_slice(&bytes[..len]);
            number = u64::from_be_bytes(wide);
            bytes = &bytes[len..];
        }
        match first >> 5 {
            0 => values.push(number as i64),
            1 => values.push(!number as i64),
            _ => {}
        }
    }
    values
}

/// Adds 1, in a module without memory.
const INCREMENT: &str = r#"(module (func (export "run") (param i32) (result i32)
    (i32.add (local.get 0) (i32.const 1))))"#;

/// Calls another tasklet twice, and keeps state in memory and in a global across the calls.
const TWICE: &str = r#"(module
    (import "floor/callee" "run" (func $callee (param i32) (result i32)))
    (memory 1)
    (global $calls (mut i32) (i32.const 0))
    (func (export "run") (param i32) (result i32)
        (i32.store (i32.const 64) (local.get 0))
        (local.set 0 (call $callee (local.get 0)))
        (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (local.set 0 (call $callee (i32.add (local.get 0) (i32.load (i32.const 64)))))
        (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (i32.add (local.get 0) (i32.mul (i32.const 1000) (global.get $calls)))))"#;

/// Three tasklets, of which 0 calls 1 and 1 calls 2. The callers' memories have pages of one byte.
fn chain() -> Vec<Tasklet> {
    let caller = |callee: &'static str, bytes: u32| {
        let text = TWICE.replace(
            "(memory 1)",
            &std::format!("(memory {bytes} {bytes} (pagesize 1))"),
        );
        let calls: &[(usize, &str)] = match callee {
            "1" => &[(1, "func(s32) -> s32")],
            _ => &[(2, "func(s32) -> s32")],
        };
        Tasklet::new(&text, Says { calls, ..SAYS })
    };
    vec![
        caller("1", 2000),
        caller("2", 2000),
        Tasklet::new(INCREMENT, SAYS),
    ]
}

/// What tasklet 0 of [`chain`] returns for `x`.
fn chain_result(x: i64) -> i64 {
    let middle = |x: i64| (x + 1) + x + 1 + 2000;
    middle(middle(x) + x) + 2000
}
