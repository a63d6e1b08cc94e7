//! Items that the node keeps for flows, and items on their way through it.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use nimblenet_tasklet::{Fault, NodeId};

use crate::flow::{FlowId, Stages};
use crate::places::ItemAt;
use crate::wire::{Item, ItemValue};

/// What a filter has dropped is told after this time at the latest.
pub(super) const DROPPED_FOR: Duration = Duration::from_secs(1);

/// One source's part of a flow, from one beginning to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Course {
    pub(super) flow: FlowId,
    pub(super) source: NodeId,
    pub(super) run: u32,
}

impl Course {
    /// Whether it is of the same flow and source.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        (self.flow, self.source) == (other.flow, other.source)
    }

    /// Whether it has begun before another one of the same flow and source.
    pub(super) fn is_before(&self, other: &Self) -> bool {
        self.run.wrapping_sub(other.run) > 1 << 31
    }
}

/// What the node keeps of an item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kept {
    /// It was dropped.
    Nothing,
    /// Its value is here.
    Value(ItemAt),
    /// An operator has failed.
    Failed(Fault),
}

/// An item on its way. Whoever has it releases its value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parcel {
    pub(super) course: Course,
    pub(super) sink: NodeId,
    pub(super) first: u32,
    pub(super) last: u32,
    pub(super) oldest: u32,
    pub(super) unit: u16,
    pub(super) at_sink: bool,
    pub(super) stages: Stages,
    pub(super) kept: Kept,
}

impl Parcel {
    /// The item that is sent.
    pub(super) fn item<'i>(&self, items: &'i Items) -> Item<'i> {
        Item {
            flow: self.course.flow,
            run: self.course.run,
            source: self.course.source,
            first: self.first,
            last: self.last,
            oldest: self.oldest.min(self.first),
            unit: self.unit,
            at_sink: self.at_sink,
            stages: self.stages,
            value: items.value(self.kept),
        }
    }

    /// The item that has come in, with its value kept as `kept`.
    pub(super) fn of(item: &Item<'_>, sink: NodeId, kept: Kept) -> Self {
        Self {
            course: Course {
                flow: item.flow,
                source: item.source,
                run: item.run,
            },
            sink,
            first: item.first,
            last: item.last,
            oldest: item.oldest,
            unit: item.unit,
            at_sink: item.at_sink,
            stages: item.stages,
            kept,
        }
    }
}

/// The values that a node keeps. Several may use one; it is gone when nobody does.
#[derive(Debug)]
pub(super) struct Items {
    bytes: Vec<u8>,
    lens: Vec<u16>,
    users: Vec<u16>,
    free: Vec<ItemAt>,
    item_bytes: usize,
}

impl Items {
    /// Room for so many values of at most `item_bytes` each.
    pub(super) fn new(items: usize, item_bytes: usize) -> Self {
        Self {
            bytes: vec![0; items * item_bytes],
            lens: vec![0; items],
            users: vec![0; items],
            free: (0..items).rev().map(ItemAt::new).collect(),
            item_bytes,
        }
    }

    /// How many values there is room for.
    pub(super) fn room(&self) -> usize {
        self.lens.len()
    }

    /// The longest value.
    pub(super) fn item_bytes(&self) -> usize {
        self.item_bytes
    }

    /// Keeps a value for one user; none if there is no room, or it is too long.
    pub(super) fn put(&mut self, value: &[u8]) -> Option<ItemAt> {
        if value.len() > self.item_bytes {
            return None;
        }
        let at = self.free.pop()?;
        let begin = at.index() * self.item_bytes;
        self.bytes[begin..begin + value.len()].copy_from_slice(value);
        self.lens[at.index()] = value.len() as u16;
        self.users[at.index()] = 1;
        Some(at)
    }

    /// A value.
    pub(super) fn get(&self, at: ItemAt) -> &[u8] {
        let begin = at.index() * self.item_bytes;
        &self.bytes[begin..begin + usize::from(self.lens[at.index()])]
    }

    /// What is kept, as messages have it.
    pub(super) fn value(&self, kept: Kept) -> ItemValue<'_> {
        match kept {
            Kept::Nothing => ItemValue::Nothing,
            Kept::Value(at) => ItemValue::Value(self.get(at)),
            Kept::Failed(fault) => ItemValue::Failed(fault),
        }
    }

    /// Keeps what a message has; none if there is no room.
    pub(super) fn keep(&mut self, value: ItemValue<'_>) -> Option<Kept> {
        Some(match value {
            ItemValue::Nothing => Kept::Nothing,
            ItemValue::Value(value) => Kept::Value(self.put(value)?),
            ItemValue::Failed(fault) => Kept::Failed(fault),
        })
    }

    /// Notes another user of a value.
    pub(super) fn share(&mut self, kept: Kept) {
        if let Kept::Value(at) = kept {
            self.users[at.index()] += 1;
        }
    }

    /// Notes that one user does not need the value any more.
    pub(super) fn release(&mut self, kept: Kept) {
        if let Kept::Value(at) = kept {
            let users = &mut self.users[at.index()];
            *users = users.saturating_sub(1);
            if *users == 0 {
                self.free.push(at);
            }
        }
    }

    /// How many values are kept.
    pub(super) fn count(&self) -> usize {
        self.lens.len() - self.free.len()
    }
}
