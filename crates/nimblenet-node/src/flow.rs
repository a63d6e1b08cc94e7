//! Flows as clients write them: the document `plan` (spec/api.md, section 3).

use core::convert::Infallible;
use core::time::Duration;

use minicbor::{Decoder, Encoder};
use nimblenet_core::{Feed, FlowPlan, StageKind, StagePlan};
use nimblenet_tasklet::api::{plan, stage};
use nimblenet_tasklet::{Name, NodeId, TaskletName};

/// How many items a source keeps unless the plan says something else.
pub const ROOM: u16 = 64;

/// A flow as it begins at a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The node that its items are for. There the flow ends, at every other node it begins.
    pub sink: NodeId,
    /// Where a source has its items from.
    pub feed: Feed,
    /// Its operators, in order: four at most.
    pub operators: Vec<StagePlan>,
    /// Whether nobody but the sink applies them.
    pub at_sink: bool,
    /// How many items a source keeps until the sink has them.
    pub room: u16,
}

impl Plan {
    /// The same for the node, under its name.
    pub(crate) fn named(&self, name: Name) -> FlowPlan<'_> {
        FlowPlan {
            name,
            sink: self.sink,
            feed: self.feed,
            stages: &self.operators,
            at_sink: self.at_sink,
            room: self.room.into(),
        }
    }

    /// The document.
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut to = Encoder::new(Vec::new());
        match self.write_to(&mut to) {
            Ok(()) => to.into_writer(),
            Err(_) => unreachable!("a vector takes what is written"),
        }
    }

    fn write_to(
        &self,
        to: &mut Encoder<Vec<u8>>,
    ) -> Result<(), minicbor::encode::Error<Infallible>> {
        let feeds = matches!(self.feed, Feed::Every { .. });
        to.map(4 + 2 * u64::from(feeds))?;
        to.str(plan::SINK)?.u16(self.sink.0)?;
        if let Feed::Every { period, tasklet } = self.feed {
            to.str(plan::TASKLET)?.str(&tasklet.to_string())?;
            to.str(plan::PERIOD_MS)?.u64(period.as_millis() as u64)?;
        }
        to.str(plan::OPERATORS)?
            .array(self.operators.len() as u64)?;
        for operator in &self.operators {
            to.map(3)?.str(stage::KIND)?.str(operator.kind.name())?;
            to.str(stage::TASKLET)?.str(&operator.tasklet.to_string())?;
            to.str(stage::COUNT)?.u16(operator.count)?;
        }
        to.str(plan::AT_SINK)?.bool(self.at_sink)?;
        to.str(plan::ROOM)?.u16(self.room)?;
        Ok(())
    }

    /// Reads the document.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub(crate) fn read(payload: &[u8]) -> Result<Self, String> {
        let mut from = Decoder::new(payload);
        let (mut sink, mut tasklet, mut period) = (None, None, None);
        let (mut operators, mut at_sink, mut room) = (None, false, ROOM);
        let fields = from.map().ok().flatten();
        for _ in 0..fields.ok_or("it is no map of known length")? {
            let key = from.str().map_err(|_| "a key is no text")?;
            let expects = |what: &str| format!("{key} is {what}");
            match key {
                plan::SINK => {
                    let id = from.u16().ok().map(NodeId);
                    let id = id.filter(|id| *id != NodeId::EVERYONE);
                    sink = Some(id.ok_or_else(|| expects("the number of a node, 0 to 65534"))?);
                }
                plan::TASKLET => tasklet = Some(read_tasklet(&mut from, key)?),
                plan::PERIOD_MS => {
                    let millis = from
                        .u32()
                        .ok()
                        .map(|millis| Duration::from_millis(millis.into()));
                    let expected = || expects("a number of milliseconds, 1 to 4294967295");
                    period = Some(millis.ok_or_else(expected)?);
                }
                plan::OPERATORS => {
                    let count = from.array().ok().flatten();
                    let count = count.ok_or_else(|| expects("a list of known length"))?;
                    let read = (0..count).map(|_| read_operator(&mut from));
                    operators = Some(read.collect::<Result<_, _>>()?);
                }
                plan::AT_SINK => {
                    at_sink = from.bool().map_err(|_| expects("true or false"))?;
                }
                plan::ROOM => {
                    room = from.u16().map_err(|_| expects("a number, 1 to 65535"))?;
                }
                _ => from.skip().map_err(|_| expects("no CBOR"))?,
            }
        }
        let feed = match (tasklet, period) {
            (None, None) => Feed::Given,
            (Some(tasklet), Some(period)) => Feed::Every { period, tasklet },
            _ => {
                return Err(format!(
                    "{} and {} come together",
                    plan::TASKLET,
                    plan::PERIOD_MS
                ));
            }
        };
        Ok(Self {
            sink: sink.ok_or_else(|| format!("{} is missing", plan::SINK))?,
            feed,
            operators: operators.ok_or_else(|| format!("{} is missing", plan::OPERATORS))?,
            at_sink,
            room,
        })
    }
}

fn read_operator(from: &mut Decoder<'_>) -> Result<StagePlan, String> {
    let (mut kind, mut count, mut tasklet) = (None, 1, None);
    let fields = from.map().ok().flatten();
    for _ in 0..fields.ok_or("an operator is no map of known length")? {
        let key = from.str().map_err(|_| "a key of an operator is no text")?;
        match key {
            stage::KIND => kind = Some(read_kind(from.str().unwrap_or_default())?),
            stage::TASKLET => tasklet = Some(read_tasklet(from, key)?),
            stage::COUNT => {
                let read = from.u16();
                count =
                    read.map_err(|_| format!("{key} of an operator is a number, 1 to 65535"))?;
            }
            _ => from
                .skip()
                .map_err(|_| format!("{key} of an operator is no CBOR"))?,
        }
    }
    Ok(StagePlan {
        kind: kind.ok_or_else(|| format!("{} of an operator is missing", stage::KIND))?,
        count,
        tasklet: tasklet.ok_or_else(|| format!("{} of an operator is missing", stage::TASKLET))?,
    })
}

/// The kind of an operator with this name.
///
/// # Errors
/// What is expected, for people.
pub fn read_kind(name: &str) -> Result<StageKind, String> {
    let kind = StageKind::ALL.into_iter().find(|kind| kind.name() == name);
    kind.ok_or_else(|| "kind is map, filter, window or accumulate".to_owned())
}

fn read_tasklet(from: &mut Decoder<'_>, key: &str) -> Result<TaskletName, String> {
    let name = from.str().ok().and_then(|name| TaskletName::new(name).ok());
    name.ok_or_else(|| format!("{key} is the full name of a tasklet, such as std/rms"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            sink: NodeId(1),
            feed: Feed::Every {
                period: Duration::from_millis(250),
                tasklet: "shop/vibration".parse().unwrap(),
            },
            operators: vec![StagePlan {
                kind: StageKind::Window,
                count: 8,
                tasklet: "std/rms".parse().unwrap(),
            }],
            at_sink: true,
            room: 32,
        }
    }

    #[test]
    fn a_plan_is_read_as_it_was_written() {
        let given = Plan {
            feed: Feed::Given,
            operators: Vec::new(),
            ..plan()
        };
        for plan in [plan(), given] {
            assert_eq!(Plan::read(&plan.write()), Ok(plan));
        }
    }

    #[test]
    fn a_plan_that_ends_early_is_refused_wherever_it_ends() {
        let whole = plan().write();
        for len in 0..whole.len() {
            assert!(Plan::read(&whole[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn what_is_wrong_with_a_plan_is_said_with_the_key_and_the_range() {
        for (bytes, what) in [
            (
                &b"\xa1\x64sink\x19\xff\xff"[..],
                "sink is the number of a node, 0 to 65534",
            ),
            (b"\xa1\x64sink\x01", "operators is missing"),
            (b"\xa1\x69operators\x80", "sink is missing"),
            (
                b"\xa3\x64sink\x01\x69operators\x80\x69period_ms\x05",
                "tasklet and period_ms come together",
            ),
            (
                b"\xa2\x64sink\x01\x69operators\x81\xa1\x64kind\x63sum",
                "kind is map, filter, window or accumulate",
            ),
            (
                b"\xa2\x64sink\x01\x69operators\x81\xa1\x65count\x1a\x00\x01\x00\x00",
                "count of an operator is a number, 1 to 65535",
            ),
            (b"\x80", "it is no map of known length"),
        ] {
            assert_eq!(Plan::read(bytes), Err(what.to_owned()));
        }
    }
}
