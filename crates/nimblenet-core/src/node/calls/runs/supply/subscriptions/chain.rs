//! Chains: a tasklet and those that it calls, directly or not, in the node's catalogues.

use alloc::vec::Vec;

use nimblenet_tasklet::{Capabilities, Entry, NamespaceId, TaskletRef};

use super::Subscriptions;
use crate::cache::SlotId;
use crate::config::FULL;
use crate::costs::Costs;
use crate::job::Need;
use crate::places::SubscriptionAt;
use crate::wire::job::MovedJob;

/// The most tasklets that are read to find a namespace without a catalogue.
const CALLEES: usize = 32;
/// The most entries that are read to find what a chain needs.
const READS: usize = 64;
/// Bytes of an image besides linear memory: head, globals, tables, operand stack, and arguments
/// that wait for a start function.
const IMAGE_BYTES: usize = 8 << 10;

impl Subscriptions {
    /// Lists every version that `first` may call, directly or not, without `first` itself: at most
    /// `limit` - 1, since the list, which must be empty, holds `first` meanwhile.
    pub(in crate::node) fn list_callees(
        &self,
        first: TaskletRef,
        epochs: &[u32],
        list: &mut Vec<(TaskletRef, Option<SlotId>)>,
        limit: usize,
    ) {
        let mut next = 0;
        list.push((first, None));
        while let Some((tasklet, _)) = list.get(next).copied() {
            next += 1;
            let Some(caller) = self.callee_of(tasklet, epochs) else {
                continue;
            };
            for import in caller.entry.imports() {
                let sequence = 0;
                let named = TaskletRef {
                    namespace: import.namespace,
                    number: import.number,
                    sequence,
                };
                let Some(callee) = self.callee_of(named, epochs) else {
                    continue;
                };
                let callee = callee.tasklet();
                let known = list.iter().any(|(other, _)| *other == callee);
                if !known && list.len() < limit {
                    list.push((callee, None));
                }
            }
        }
        list.remove(0);
    }

    /// What a chain needs, to a depth of `depth`, if the node knows the times of tasklets as `costs`
    /// says. Images are taken to be at most `IMAGE_BYTES` longer than linear memory; each callee is
    /// taken to be called once.
    pub(in crate::node) fn need(
        &self,
        (namespace, entry): (NamespaceId, &Entry<'_>),
        epochs: &[u32],
        depth: usize,
        costs: &Costs,
    ) -> Need {
        let mut reads = READS;
        self.need_after(&mut reads, (namespace, entry), epochs, depth, costs)
    }

    /// The same, with at most `reads` more entries read.
    fn need_after(
        &self,
        reads: &mut usize,
        (namespace, entry): (NamespaceId, &Entry<'_>),
        epochs: &[u32],
        depth: usize,
        costs: &Costs,
    ) -> Need {
        let own = entry.terms.memory_bytes as usize + IMAGE_BYTES;
        // One that is compressed is there in both forms while it is expanded.
        let plain = entry
            .compression
            .map_or(0, |form| form.plain_bytes as usize);
        let cached = entry.size as usize + plain;
        let mut deepest = Need::NONE;
        if costs.remembers() {
            deepest.time_us = costs.time_us(entry.reference(namespace), entry.terms.cost);
            let capabilities = entry.terms.capabilities;
            let bound = capabilities.has_any(Capabilities::OF_THE_NODE);
            deepest.pinned = bound || self.stays(namespace);
        }
        if depth > 1 {
            for import in entry.imports() {
                let callee = TaskletRef {
                    namespace: import.namespace,
                    number: import.number,
                    sequence: 0,
                };
                let Some(left) = reads.checked_sub(1) else {
                    // There are too many to read: assume the limit, each as large as this one.
                    let places = depth - 1;
                    let bytes = places * own;
                    return Need {
                        places: places + 1,
                        bytes: bytes + own,
                        cache: if FULL { depth * cached } else { 0 },
                        ..deepest
                    };
                };
                *reads = left;
                let Some(callee) = self.callee_of(callee, epochs) else {
                    continue;
                };
                let called = (callee.namespace, &callee.entry);
                if !callee.entry.has_module() {
                    if costs.remembers() {
                        let native = self.need_after(reads, called, epochs, 1, costs);
                        deepest.time_us = deepest.time_us.saturating_add(native.time_us);
                        deepest.pinned |= native.pinned;
                    }
                    continue;
                }
                let need = self.need_after(reads, called, epochs, depth - 1, costs);
                deepest.places = deepest.places.max(need.places);
                deepest.bytes = deepest.bytes.max(need.bytes);
                deepest.cache = deepest.cache.max(need.cache);
                deepest.time_us = deepest.time_us.saturating_add(need.time_us);
                deepest.pinned |= need.pinned;
            }
        }
        Need {
            places: deepest.places + 1,
            bytes: deepest.bytes + own,
            cache: if FULL { deepest.cache + cached } else { 0 },
            ..deepest
        }
    }

    /// A subscription whose namespace has the tasklet `first`, or one that it calls, directly or not, without
    /// a catalogue of its epoch in `least`; one that `least` does not have needs any.
    pub(in crate::node) fn lacking(
        &self,
        first: (SubscriptionAt, u16),
        least: &[u32],
    ) -> Option<SubscriptionAt> {
        let lacks = |at: SubscriptionAt| {
            let least = least.get(at.index()).copied().unwrap_or(1);
            self.at(at).catalogue.epoch() < least
        };
        if !(0..self.table.len()).map(SubscriptionAt::new).any(lacks) {
            return None;
        }
        if lacks(first.0) {
            return Some(first.0);
        }
        self.in_chain(first, least, |at, _| at.filter(|at| lacks(*at)))
    }

    /// Whether the tasklet `first` of an arriving job calls, directly or not, one of a namespace that this node does
    /// not have, of which the other node has a catalogue, as the job's record says.
    pub(in crate::node) fn leaves_out(
        &self,
        first: (SubscriptionAt, u16),
        epochs: &[u32],
        record: &MovedJob<'_>,
    ) -> bool {
        let is = |at: Option<_>, id| at.is_none() && record.epoch(id) > Some(0);
        let found = self.in_chain(first, epochs, |at, id| is(at, id).then_some(()));
        found.is_some()
    }

    /// What `is` returns first for the namespace of a tasklet that `first` calls, directly or not, at these
    /// epochs.
    fn in_chain<T>(
        &self,
        first: (SubscriptionAt, u16),
        epochs: &[u32],
        is: impl Fn(Option<SubscriptionAt>, NamespaceId) -> Option<T>,
    ) -> Option<T> {
        let mut listed = [first; CALLEES];
        let (mut count, mut next) = (1, 0);
        while next < count {
            let (at, number) = listed[next];
            next += 1;
            let held = &self.at(at).catalogue;
            let entry = match epochs.get(at.index()) {
                Some(epoch) if FULL => held.entry_at(number, *epoch),
                _ => held.entry(number),
            };
            let Some(entry) = entry else {
                continue;
            };
            for import in entry.imports() {
                let at = self.of(import.namespace);
                if let Some(found) = is(at, import.namespace) {
                    return Some(found);
                }
                let Some(at) = at else {
                    continue;
                };
                let callee = (at, import.number);
                if count < CALLEES && !listed[..count].contains(&callee) {
                    listed[count] = callee;
                    count += 1;
                }
            }
        }
        None
    }
}
