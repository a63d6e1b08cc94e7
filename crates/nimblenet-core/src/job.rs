//! Jobs: calls from outside, and the stack of activations that each runs.

use alloc::vec::Vec;
use core::time::Duration;

use nimblenet_tasklet::{
    ActivationId, Entry, Fault, Module, NamespaceId, NodeId, Place, TaskletName, TaskletRef, Trap,
};

use crate::cache::SlotId;
use crate::config::{ExecutorId, Limits};
use crate::event::{ClientId, Priority};
use crate::full::Full;
use crate::places::{AcquisitionAt, Depth};
use crate::time::{Instant, micros};
use crate::urgency::{Urgency, class};
use crate::wire::GoNumber;
pub(crate) use crate::wire::job::Next;

/// The longest export name that can be called, in bytes.
const EXPORT_BYTES: usize = 32;

/// The number of a call at its node, unique until the node restarts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CallId(pub u32);

/// Where a tasklet was acquired from, by the distance of its source.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Source {
    /// The node's own cache.
    Local,
    /// A node one hop away.
    Neighbour,
    /// A node further away.
    Global,
    /// A registry.
    Registry,
    /// The device itself.
    Native,
}

impl Source {
    /// The source's name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Neighbour => "neighbour",
            Self::Global => "global",
            Self::Registry => "registry",
            Self::Native => "native",
        }
    }
}

/// One acquisition, for the explanation of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// The version that was acquired.
    pub tasklet: TaskletRef,
    /// Its name.
    pub name: TaskletName,
    /// Where it came from.
    pub source: Source,
    /// The number of links to that source.
    pub hops: u8,
    /// How many attempts of Algorithm 1 were begun.
    pub attempts: u8,
    /// The module's length; 0 if it was here already.
    pub bytes: u32,
    /// How long the acquisition took.
    pub took: Duration,
}

impl Step {
    /// The step of a native tasklet, which needs no acquisition.
    pub(crate) fn native(tasklet: TaskletRef, name: TaskletName) -> Self {
        Self {
            tasklet,
            name,
            source: Source::Native,
            hops: 0,
            attempts: 0,
            bytes: 0,
            took: Duration::ZERO,
        }
    }
}

/// The name of an export.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ExportName {
    bytes: [u8; EXPORT_BYTES],
    len: u8,
}

impl ExportName {
    pub(crate) const fn default() -> Self {
        Self {
            bytes: [0; EXPORT_BYTES],
            len: 0,
        }
    }

    pub(crate) fn new(name: &str) -> Option<Self> {
        let mut bytes = [0; EXPORT_BYTES];
        bytes
            .get_mut(..name.len())?
            .copy_from_slice(name.as_bytes());
        Some(Self {
            bytes,
            len: name.len() as u8,
        })
    }

    pub(crate) fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..usize::from(self.len)]).expect("made from text")
    }
}

/// A tasklet that a job may run, as a catalogue has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Callee<'c> {
    pub(crate) name: TaskletName,
    pub(crate) namespace: NamespaceId,
    /// The registry of the namespace.
    pub(crate) registry: NodeId,
    pub(crate) entry: Entry<'c>,
}

impl Callee<'_> {
    /// The version.
    pub(crate) fn tasklet(&self) -> TaskletRef {
        self.entry.reference(self.namespace)
    }
}

/// One tasklet of a job, from its acquisition to its result.
#[derive(Debug)]
pub(crate) struct Activation {
    pub(crate) id: ActivationId,
    pub(crate) name: TaskletName,
    /// The version that runs.
    pub(crate) tasklet: TaskletRef,
    /// Whether the tasklet has a module.
    pub(crate) has_module: bool,
    /// The entry as it was when the job started, encoded.
    entry: Vec<u8>,
    pub(crate) export: ExportName,
    /// Fuel that is left.
    pub(crate) fuel: u64,
    /// The reserved module as it runs; none if native.
    pub(crate) slot: Option<SlotId>,
    /// The dictionary of its module, reserved until the module is expanded.
    pub(crate) dictionary: Option<SlotId>,
    /// The module of the callee that ended last. It stays reserved until this tasklet calls again
    /// or ends.
    pub(crate) callee_slot: Option<SlotId>,
    pub(crate) station: Station,
    /// Whether an executor has failed to freeze it since it last ran.
    pub(crate) fixed: bool,
    /// How long it has run, in microseconds.
    pub(crate) ran_us: u32,
}

/// Where the state of an activation is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Station {
    /// Nowhere: it has not started.
    Nowhere,
    /// With this executor.
    At(ExecutorId),
    /// An image on the shelf.
    Shelf(SlotId),
    /// In the record of the job that moves, as an image.
    Record,
}

impl Activation {
    /// The executor that holds it.
    pub(crate) fn holder(&self) -> Option<ExecutorId> {
        match self.station {
            Station::At(executor) => Some(executor),
            Station::Nowhere | Station::Shelf(_) | Station::Record => None,
        }
    }

    /// Its image on the shelf.
    pub(crate) fn image(&self) -> Option<SlotId> {
        match self.station {
            Station::Shelf(slot) => Some(slot),
            Station::Nowhere | Station::At(_) | Station::Record => None,
        }
    }

    pub(crate) fn entry(&self) -> Entry<'_> {
        Entry::reread(&self.entry).expect("entries were read before they were kept")
    }

    pub(crate) fn module(&self) -> Module {
        Entry::reread_module(&self.entry).expect("entries were read before they were kept")
    }
}

/// The most that a chain needs at the same time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Need {
    /// Activations.
    pub(crate) places: usize,
    /// Bytes of their images.
    pub(crate) bytes: usize,
    /// Bytes that its modules take in the cache at one time.
    pub(crate) cache: usize,
    /// How long all of it runs, in microseconds, as far as that is known.
    pub(crate) time_us: u32,
    /// Whether no other node may run it: it needs what is different on each node, or its namespace stays.
    pub(crate) pinned: bool,
}

impl Need {
    /// No need at all.
    pub(crate) const NONE: Self = Self {
        places: 0,
        bytes: 0,
        cache: 0,
        time_us: 0,
        pinned: false,
    };
}

/// The state of a job.
///
/// ```text
///            +------------------------ 1 -----------------------+
///            v                                                  |
///   Free -> Resolving -> Preloading -> Acquiring -> Ready <-> Running -> Finished -> Free
///    |          |   2        |    3        |   4      |   5       |   6       or Answered
///    |          +------------+-------------+-----+----+-----------+
///    |                                           | 7
///    |                              Leaving <----+----> Remote  (8)
///    +--> Arriving -> Ready (9), Declined (10)
/// ```
///
/// 1. The tasklet calls another, which is acquired like the first, or the callee has ended.
/// 2. The catalogues that the chain needs are here.
/// 3. Every acquisition of the preload list has ended; without a list this is so at once.
/// 4. The module of the top activation is reserved.
/// 5. The executor takes work for the job, and answers.
/// 6. The last activation has ended, or something has failed. A job for another node is kept as
///    `Answered` until its place is needed.
/// 7. A deadline or a stop may end a live job in any state; a job that stands still may leave.
/// 8. The other node runs the job. A call to another node starts here.
/// 9. The node that offered the job has said go.
/// 10. Something failed before the go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// The place is free.
    Free,
    /// Waits for a catalogue.
    Resolving,
    /// Waits for the module that this item of the preload list names.
    Preloading {
        item: usize,
        acquisition: AcquisitionAt,
    },
    /// Waits for the top activation's module.
    Acquiring { acquisition: AcquisitionAt },
    /// Waits for an executor.
    Ready(Next),
    /// An executor does this for the job.
    Running(Next),
    /// An executor thaws the top activation from this image on the shelf; then the job goes on with
    /// this.
    Thawing(SlotId, Next),
    /// Runs on another node.
    Remote,
    /// Is frozen, or about to be, on its way to another node.
    Leaving,
    /// Is on its way from another node; if it lacks the module of an activation, it waits for this
    /// acquisition.
    Arriving(Option<(Depth, AcquisitionAt)>),
    /// Has ended; if it succeeded, its message holds the result.
    Finished(Result<(), Fault>),
    /// Has ended, and its result was sent to the node that called. It is kept for repetitions of
    /// the call until its place is needed.
    Answered(Result<(), Fault>),
    /// Was offered by another node, has not run here and will not. It is kept like an answered one.
    Declined(Fault),
}

impl State {
    /// Whether the job has yet to end.
    pub(crate) fn live(self) -> bool {
        !matches!(
            self,
            Self::Free | Self::Finished(_) | Self::Answered(_) | Self::Declined(_)
        )
    }

    /// The result, if the job has ended.
    pub(crate) fn result(self) -> Option<Result<(), Fault>> {
        if let Self::Finished(result) | Self::Answered(result) = self {
            Some(result)
        } else {
            None
        }
    }

    /// The image on the shelf that an executor thaws.
    pub(crate) fn thawing(self) -> Option<SlotId> {
        if let Self::Thawing(image, _) = self {
            Some(image)
        } else {
            None
        }
    }

    /// The acquisition that the job waits for.
    pub(crate) fn awaited(self) -> Option<AcquisitionAt> {
        match self {
            Self::Acquiring { acquisition } | Self::Preloading { acquisition, .. } => {
                Some(acquisition)
            }
            Self::Arriving(lacking) => lacking.map(|(_, acquisition)| acquisition),
            Self::Free
            | Self::Resolving
            | Self::Ready(_)
            | Self::Running(_)
            | Self::Thawing(..)
            | Self::Remote
            | Self::Leaving
            | Self::Finished(_)
            | Self::Answered(_)
            | Self::Declined(_) => None,
        }
    }
}

/// The node that a job runs for, and the request number of its call there.
pub(crate) type Caller = (NodeId, u32);

/// A call and everything that runs for it.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) call: CallId,
    pub(crate) state: State,
    pub(crate) name: TaskletName,
    pub(crate) export: ExportName,
    /// The node that called; none for a call from outside.
    pub(crate) caller: Option<Caller>,
    /// The client that called at this node; none if it did not say who it is.
    pub(crate) client: Option<ClientId>,
    /// Whether it leaves for another node as soon as it stands still.
    pub(crate) leaves: bool,
    /// The activation that failed first, which made those below fail. Its name stays in the stack,
    /// since nothing is pushed any more.
    blamed: Option<Depth>,
    /// Where in its module that one failed, if an executor has said so.
    pub(crate) place: Option<Place>,
    /// The number for the go of a job from another node that is ready.
    pub(crate) number: Option<GoNumber>,
    pub(crate) accepted: Instant,
    pub(crate) deadline: Option<Instant>,
    pub(crate) priority: Full<Priority>,
    /// Arguments or results on their way in or out of the executor.
    pub(crate) message: Vec<u8>,
    /// The epoch of each of the node's namespaces when the job started.
    pub(crate) epochs: Vec<u32>,
    pub(crate) trap: Option<Trap>,
    /// The time from the call to its end.
    pub(crate) took: Duration,
    pub(crate) steps: Vec<Step>,
    pub(crate) calls_left: u32,
    /// What the whole chain needs, computed when the job started.
    pub(crate) need: Need,
    /// How long executors will still run it, in microseconds, as far as that is known.
    pub(crate) left_us: u32,
    /// When an executor has begun the present step.
    pub(crate) stepped: Instant,
    /// Whether any of it has begun to run, or another node had it.
    pub(crate) ran: Full<bool>,
    /// The preload list: versions to acquire before the start, and their modules once they are
    /// reserved.
    pub(crate) preload: Vec<(TaskletRef, Option<SlotId>)>,
    stack: Vec<Activation>,
    depth: usize,
}

impl Job {
    /// A free place for a job, with all the memory that the job may take.
    pub(crate) fn vacant(limits: &Limits, namespaces: usize) -> Self {
        let name = TaskletName::new("-/-").expect("both segments are valid");
        let activation = || Activation {
            id: ActivationId(0),
            name,
            tasklet: TaskletRef {
                namespace: NamespaceId(0),
                number: 0,
                sequence: 0,
            },
            has_module: false,
            entry: Vec::with_capacity(limits.catalogue.entry_bytes),
            export: ExportName::default(),
            fuel: 0,
            slot: None,
            dictionary: None,
            callee_slot: None,
            station: Station::Nowhere,
            fixed: false,
            ran_us: 0,
        };
        Self {
            call: CallId(0),
            state: State::Free,
            name,
            export: ExportName::default(),
            caller: None,
            client: None,
            leaves: false,
            blamed: None,
            place: None,
            number: None,
            accepted: Instant::ZERO,
            deadline: None,
            priority: Full::of(Priority::Normal),
            message: Vec::with_capacity(limits.message_bytes),
            epochs: Vec::with_capacity(namespaces),
            trap: None,
            took: Duration::ZERO,
            steps: Vec::with_capacity(limits.steps),
            calls_left: 0,
            need: Need::NONE,
            left_us: 0,
            stepped: Instant::ZERO,
            ran: Full::of(false),
            preload: Vec::with_capacity(limits.preload),
            stack: (0..limits.depth).map(|_| activation()).collect(),
            depth: 0,
        }
    }

    /// Notes that the top activation has failed, at `place` if that is known, unless another has
    /// failed before.
    pub(crate) fn blame_top(&mut self, place: Option<Place>) {
        if self.blamed.is_none() {
            self.blamed = self.depth.checked_sub(1).map(Depth::new);
            self.place = place;
        }
    }

    /// Forgets which activation has failed.
    pub(crate) fn blame_nobody(&mut self) {
        self.blamed = None;
        self.place = None;
    }

    /// The tasklet that failed first, if one did that ran here.
    pub(crate) fn blamed(&self) -> Option<TaskletName> {
        let activation = self.stack.get(self.blamed?.index())?;
        Some(activation.name)
    }

    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// The place of the top activation in the stack.
    pub(crate) fn top_depth(&self) -> Depth {
        Depth::new(self.depth.saturating_sub(1))
    }

    pub(crate) fn top(&self) -> Option<&Activation> {
        self.stack[..self.depth].last()
    }

    pub(crate) fn top_mut(&mut self) -> Option<&mut Activation> {
        self.stack[..self.depth].last_mut()
    }

    pub(crate) fn activations(&self) -> &[Activation] {
        &self.stack[..self.depth]
    }

    pub(crate) fn activation(&self, at: Depth) -> Option<&Activation> {
        self.activations().get(at.index())
    }

    pub(crate) fn activation_mut(&mut self, at: Depth) -> Option<&mut Activation> {
        self.stack[..self.depth].get_mut(at.index())
    }

    /// Takes the fuel that the top activation has used from all that wait for it.
    pub(crate) fn charge_callers(&mut self, used: u64) {
        let callers = self.stack[..self.depth].split_last_mut();
        for caller in callers.into_iter().flat_map(|(_, callers)| callers) {
            caller.fuel = caller.fuel.saturating_sub(used);
        }
    }

    /// Whether an executor holds it.
    pub(crate) fn is_held(&self) -> bool {
        let mut activations = self.activations().iter();
        activations.any(|held| held.has_module && held.holder().is_some())
    }

    /// If the job waits, the activation that this executor can freeze first: the one that the job
    /// needs last.
    pub(crate) fn idle_at(&self, executor: ExecutorId) -> Option<Depth> {
        if matches!(self.state, State::Leaving | State::Arriving(_)) {
            return None;
        }
        let runs = matches!(self.state, State::Running(_) | State::Thawing(..));
        let busy = usize::from(runs);
        let waiting = &self.activations()[..self.depth.saturating_sub(busy)];
        let idle = |held: &Activation| held.holder() == Some(executor) && !held.fixed;
        let idle = |held: &Activation| idle(held) && held.has_module;
        waiting.iter().position(idle).map(Depth::new)
    }

    /// Its images on the shelf.
    pub(crate) fn images(&self) -> impl Iterator<Item = SlotId> {
        let shelved = self.activations().iter().filter_map(Activation::image);
        shelved.chain(self.state.thawing())
    }

    /// Whether the activation at `at` may wait for the callee of this import or, if there is none,
    /// to be continued: it must fit the activation above, or what `next` says.
    pub(crate) fn waits_rightly(&self, at: Depth, import: Option<u16>, next: Next) -> bool {
        let Some(activation) = self.activation(at) else {
            return false;
        };
        match (self.activation(at.above()), import) {
            (Some(callee), Some(import)) => {
                let entry = activation.entry();
                entry.import(import).is_some_and(|import| {
                    import.namespace == callee.tasklet.namespace
                        && import.number == callee.tasklet.number
                        && import.export == callee.export.as_str()
                })
            }
            (None, Some(_)) => matches!(next, Next::Resume(_)),
            (None, None) => next == Next::Continue,
            (Some(_), None) => false,
        }
    }

    /// Puts a tasklet on top.
    ///
    /// # Errors
    /// [`Fault::TooDeep`] at the limit.
    pub(crate) fn push(
        &mut self,
        id: ActivationId,
        callee: &Callee<'_>,
        export: ExportName,
        fuel: u64,
    ) -> Result<(), Fault> {
        let activation = self.stack.get_mut(self.depth).ok_or(Fault::TooDeep)?;
        activation.id = id;
        activation.name = callee.name;
        activation.tasklet = callee.tasklet();
        activation.has_module = callee.entry.has_module();
        activation.entry.clear();
        activation.entry.extend_from_slice(callee.entry.encoded());
        activation.export = export;
        activation.fuel = fuel;
        activation.slot = None;
        activation.dictionary = None;
        activation.callee_slot = None;
        activation.station = Station::Nowhere;
        activation.fixed = false;
        activation.ran_us = 0;
        self.depth += 1;
        Ok(())
    }

    /// Takes the top tasklet off and returns it.
    pub(crate) fn pop(&mut self) -> Option<&mut Activation> {
        self.depth = self.depth.checked_sub(1)?;
        Some(&mut self.stack[self.depth])
    }

    /// How long executors will still run it, in microseconds, as far as that is known; 0 if another
    /// node runs it.
    pub(crate) fn left_us(&self, now: Instant) -> u32 {
        if self.state == State::Remote || !self.state.live() {
            return 0;
        }
        let steps = matches!(self.state, State::Running(_) | State::Thawing(..));
        let ran = if steps {
            whole_us(now - self.stepped)
        } else {
            0
        };
        self.left_us.saturating_sub(ran)
    }

    /// The priority that it counts as at the moment `now`: it rises while no executor works for the job.
    pub(crate) fn class(&self, now: Instant) -> Priority {
        let since = self.accepted.max(self.stepped);
        class(self.priority.value(), now - since)
    }

    /// Its place among the jobs that wait at the moment `now`.
    pub(crate) fn urgency(&self, now: Instant) -> Urgency {
        Urgency::new(self.class(now), (self.accepted, self.call), self.deadline)
    }

    /// Notes that the present step of the top activation has ended.
    pub(crate) fn note_ran(&mut self, now: Instant) {
        let ran = whole_us(now - self.stepped);
        self.left_us = self.left_us.saturating_sub(ran);
        if let Some(top) = self.top_mut() {
            top.ran_us = top.ran_us.saturating_add(ran);
        }
    }

    /// Replaces the message; false if it is longer than the limit.
    pub(crate) fn set_message(&mut self, bytes: &[u8]) -> bool {
        self.message.clear();
        let fits = bytes.len() <= self.message.capacity();
        if fits {
            self.message.extend_from_slice(bytes);
        }
        fits
    }

    pub(crate) fn note(&mut self, step: Step) {
        if self.steps.len() < self.steps.capacity() {
            self.steps.push(step);
        }
    }
}

/// The microseconds of a duration, as many as fit in 32 bits.
pub(crate) fn whole_us(time: Duration) -> u32 {
    u32::try_from(micros(time)).unwrap_or(u32::MAX)
}
