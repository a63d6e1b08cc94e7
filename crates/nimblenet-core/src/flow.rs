//! Flows: items on their way from sources to a sink, and the operators that change them there
//! (spec/behaviour.md, section 17).

use core::time::Duration;

use nimblenet_tasklet::{
    Digest, Fault, Name, NodeId, Scalar, Signature, TaskletName, TaskletRef, Type,
};

/// The most operators of a flow.
pub const MAX_STAGES: usize = 4;

/// A flow, in the four bytes that frames have for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FlowId(pub u32);

impl FlowId {
    /// The identifier of the flow called `name`.
    pub fn of(name: &Name) -> Self {
        let Digest([a, b, c, d, ..]) = Digest::of(name.as_str().as_bytes());
        Self(u32::from_be_bytes([a, b, c, d]))
    }
}

/// What an operator does with items.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum StageKind {
    /// Its tasklet makes an item of each item.
    Map = 1,
    /// Its tasklet says of each item whether it goes on.
    Filter = 2,
    /// Its tasklet makes an item of a list of items.
    Window = 3,
    /// Its tasklet makes a state of the state before and an item. The state begins as zero, or empty,
    /// and goes on as an item after a number of items.
    Accumulate = 4,
}

impl StageKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Map, Self::Filter, Self::Window, Self::Accumulate];

    /// The kind's name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Map => "map",
            Self::Filter => "filter",
            Self::Window => "window",
            Self::Accumulate => "accumulate",
        }
    }

    /// The kind with this number.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }

    /// Whether a tasklet with this signature can be its tasklet: it takes what the kind gives it, and
    /// returns one value that can be an item, a verdict or the next state.
    pub fn suits(self, signature: &Signature) -> bool {
        let mut params = signature.params();
        let taken = (params.next(), params.next(), params.len());
        let mut results = signature.results();
        let (Some(result), 0) = (results.next(), results.len()) else {
            return false;
        };
        match (self, taken) {
            (Self::Map, (Some(_), None, _)) => true,
            (Self::Filter, (Some(_), None, _)) => result == Type::Scalar(Scalar::Bool),
            (Self::Window, (Some(list), None, _)) => matches!(list, Type::List(_)),
            (Self::Accumulate, (Some(state), Some(_), 0)) => result == state,
            _ => false,
        }
    }

    /// Whether it makes one item of several.
    pub const fn gathers(self) -> bool {
        matches!(self, Self::Window | Self::Accumulate)
    }
}

/// An operator of an item on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stage {
    /// What it does.
    pub kind: StageKind,
    /// How many of its inputs make one output; 1 of a map or a filter.
    pub count: u16,
    /// The version of its tasklet.
    pub tasklet: TaskletRef,
}

/// The operators that have yet to be applied to an item, in order.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Stages {
    list: [Option<Stage>; MAX_STAGES],
}

impl Stages {
    /// These operators; none if there are too many.
    pub fn new(stages: impl IntoIterator<Item = Stage>) -> Option<Self> {
        let mut own = Self::default();
        for (at, stage) in stages.into_iter().enumerate() {
            *own.list.get_mut(at)? = Some(stage);
        }
        Some(own)
    }

    /// The operators, in order.
    pub fn iter(&self) -> impl Iterator<Item = Stage> + '_ {
        self.list.iter().map_while(|stage| *stage)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether all have been applied.
    pub fn is_empty(&self) -> bool {
        self.first().is_none()
    }

    /// The next one to apply.
    pub fn first(&self) -> Option<Stage> {
        self.list[0]
    }

    /// How many items make one output of the last one.
    pub fn span(&self) -> u32 {
        let counts = self.iter().map(|stage| u32::from(stage.count));
        counts.fold(1, u32::saturating_mul)
    }

    /// Those after the next one.
    #[must_use]
    pub fn rest(&self) -> Self {
        let mut rest = *self;
        rest.list.rotate_left(1);
        rest.list[MAX_STAGES - 1] = None;
        rest
    }
}

/// An operator as the user of a flow names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StagePlan {
    /// What it does.
    pub kind: StageKind,
    /// How many of its inputs make one output; 1 for a map or a filter.
    pub count: u16,
    /// Its tasklet.
    pub tasklet: TaskletName,
}

/// Where the items of a source come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Feed {
    /// Clients give them.
    Given,
    /// They are the results of a tasklet without parameters, which this node runs once in each period.
    Every {
        /// The time from run to run, not zero.
        period: Duration,
        /// The tasklet.
        tasklet: TaskletName,
    },
}

/// A flow as it begins at one of its sources.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowPlan<'a> {
    /// Its name, unique in the mesh.
    pub name: Name,
    /// The node that its items are for.
    pub sink: NodeId,
    /// Where the items come from.
    pub feed: Feed,
    /// Its operators, in order: four at most.
    pub stages: &'a [StagePlan],
    /// Whether nobody but the sink applies them.
    pub at_sink: bool,
    /// How many items the source keeps until the sink has them: twice as many at least as make one
    /// output.
    pub room: usize,
}

/// Why a flow cannot begin, or an item cannot be taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FlowError {
    /// The node has as many flows as it may, or none is allowed.
    TooManyFlows,
    /// The flow has more than four operators.
    TooManyStages,
    /// An operator's count is 0, or is not 1 for a map or a filter, or all together are more than half
    /// of the items that the source keeps, or the node keeps fewer items.
    BadCount,
    /// The period is zero.
    BadPeriod,
    /// No catalogue of this node has this tasklet of the flow, or what it takes or returns does not fit
    /// its use ([`Fault::WrongSignature`]).
    Tasklet(TaskletName, Fault),
    /// The node has no such flow.
    UnknownFlow,
    /// The item is longer than the node keeps, or than a frame.
    TooLong,
    /// The source keeps as many items as it may: the sink has not got them yet.
    Full,
    /// It is not one whole CBOR value.
    NotAValue,
}

impl FlowError {
    /// The stable code: lower-case words joined by hyphens.
    pub const fn code(self) -> &'static str {
        match self {
            Self::TooManyFlows => "too-many-flows",
            Self::TooManyStages => "too-many-stages",
            Self::BadCount => "bad-count",
            Self::BadPeriod => "bad-period",
            Self::Tasklet(_, fault) => fault.code(),
            Self::UnknownFlow => "unknown-flow",
            Self::TooLong => "item-too-long",
            Self::Full => "flow-full",
            Self::NotAValue => "not-a-value",
        }
    }
}

/// How a flow stands at one of its sources.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowStatus {
    /// Which flow.
    pub flow: FlowId,
    /// The node that its items are for.
    pub sink: NodeId,
    /// Items taken since it began here.
    pub taken: u32,
    /// Items that were not taken, since there was no room or they were too long.
    pub refused: u32,
    /// Items that the sink has.
    pub arrived: u32,
    /// Items that were sent again.
    pub repeated: u32,
    /// Whether the sink has said that it does not take the flow.
    pub unwanted: bool,
}

/// How a flow stands at its sink.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SinkStatus {
    /// Which flow.
    pub flow: FlowId,
    /// Items that have arrived for the user since the node takes the flow.
    pub items: u32,
    /// Items for which there was no room here: for their values, their source, or the operators that
    /// have yet to be applied to them. Their sources send them again.
    pub dropped: u32,
}

/// What an operator of a flow has done on this node, for one source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OperatorStatus {
    /// Which flow.
    pub flow: FlowId,
    /// The source of its items.
    pub source: NodeId,
    /// What it does.
    pub kind: StageKind,
    /// Its tasklet.
    pub tasklet: TaskletName,
    /// Items that came in, or were made here for it.
    pub items_in: u64,
    /// Bytes of frames that they have, or would have.
    pub bytes_in: u64,
    /// Items that went on.
    pub items_out: u64,
    /// Bytes of frames that they have, or would have.
    pub bytes_out: u64,
    /// Bytes of frames that links on the way to the sink did not carry: those of each item over the links
    /// that remain, less those of what went on. An item that came again counts once.
    pub saved: i64,
}
