//! The node's cache of modules: one region of bytes in which code that is in use never moves.
//!
//! The mechanism is here: space, reservations, moving. The policy ([`Evict`]) decides which module
//! leaves when there is no room. Objects in transfer, such as catalogue deltas, are kept in the
//! same region for as long as they are needed. A compressed module stays compressed here; an expanded
//! copy of it is here as long as a job runs it.

mod clients;
mod disk;
mod evict;

pub(crate) use disk::Buffer;
pub use disk::Disk;
pub use evict::{Evict, Eviction, Exit, Facts, Nearby, Size};

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;

use nimblenet_tasklet::compression::{self, BadCompression};
use nimblenet_tasklet::{Digest, NamespaceId, TaskletRef};

use self::clients::{Clients, Users};
use self::evict::Demand;
use crate::config::FULL;
use crate::event::ClientId;
use crate::time::Instant;

/// A cached module. It is valid as long as the module is reserved; otherwise it is looked up again for
/// each use.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SlotId(u16);

impl SlotId {
    /// Its place among the slots, below the number of entries that the cache was made with.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a cache tells of a module.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CachedModule {
    /// Which.
    pub tasklet: TaskletRef,
    /// Its length in bytes.
    pub bytes: u32,
    /// Uses since it came.
    pub uses: u32,
    /// Whether a job needs it, so that it cannot leave.
    pub reserved: bool,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// The tasklet of the module; none for an object in transfer.
    tasklet: Option<TaskletRef>,
    offset: usize,
    len: usize,
    uses: u32,
    last_used: Instant,
    /// Activations that need the module; its bytes do not move while there are any.
    reservations: u16,
    /// Whether all bytes are here and match the digest.
    ready: bool,
    /// Whether it is an expanded copy of a compressed module, which leaves with its last
    /// reservation.
    expanded: bool,
    nearby: Nearby,
    /// The clients that have called it, or what calls it.
    users: Users,
    /// Where it came from; none once a job has used it.
    origin: Option<Origin>,
    /// Whether it may leave before it is complete: nobody here has asked for it.
    spare: bool,
}

/// Where a module has come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Origin {
    /// Links to the source.
    pub(crate) hops: u8,
    /// Whether the source is the registry of its namespace.
    pub(crate) registry: bool,
}

impl Slot {
    fn end(&self) -> usize {
        self.offset + self.len
    }

    fn range(&self) -> Range<usize> {
        self.offset..self.end()
    }

    /// The tasklet, if this is its complete module as it travels.
    fn module(&self) -> Option<TaskletRef> {
        self.tasklet.filter(|_| self.ready && !self.expanded)
    }

    /// The facts for a policy at `now`; none unless this is a complete module.
    fn facts<'c>(&self, now: Instant, clients: &'c Clients) -> Option<Facts<'c>> {
        let tasklet = self.module()?;
        Some(Facts {
            tasklet,
            uses: self.uses,
            last_used: self.last_used,
            bytes: self.len as u32,
            nearby: self.nearby,
            demand: Demand {
                clients,
                users: self.users,
                now,
            },
        })
    }
}

/// A module of another namespace that was used within this time is in use: then no namespace has more
/// than half of the cache.
const USED_FOR: Duration = Duration::from_secs(60);

/// What room is needed for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Need {
    /// A module, of this namespace if that is known.
    Module(Option<NamespaceId>),
    Object,
}

/// Something that a policy is told of.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Insertion,
    Hit,
    Exit(Exit),
}

/// There is no room, even after every eviction that is allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoRoom;

/// Why there is no expanded copy of a module.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotExpanded {
    /// There is no room for it, even after every eviction that is allowed.
    NoRoom,
    /// It cannot be expanded with that dictionary to that length.
    Bad,
}

/// The cache.
pub struct Cache {
    bytes: Disk,
    slots: Vec<Option<Slot>>,
    /// Slots in the order of their offsets.
    order: Vec<u16>,
    /// Slots of complete modules, in the order of their tasklets.
    modules: Vec<u16>,
    /// Bytes that modules may take.
    capacity: usize,
    used: usize,
    evicted: u64,
    /// Modules that came or left so far.
    changes: u64,
    policy: Box<dyn Evict + Send>,
    clients: Clients,
    /// The latest moment that the cache was told of.
    now: Instant,
}

impl Cache {
    /// A cache on `disk` of at most `entries` modules with `capacity` bytes, whose policy is made by
    /// `policy`. What the disk has beyond that is left to objects in transfer.
    pub fn new(
        disk: Disk,
        capacity: usize,
        entries: usize,
        policy: impl FnOnce(Size) -> Box<dyn Evict + Send>,
    ) -> Self {
        let capacity = capacity.min(disk.len());
        let entries = entries.min(usize::from(u16::MAX));
        let bytes = capacity;
        Self {
            capacity,
            bytes: disk,
            slots: vec![None; entries],
            order: Vec::with_capacity(entries),
            modules: Vec::with_capacity(entries),
            used: 0,
            evicted: 0,
            changes: 0,
            policy: policy(Size { entries, bytes }),
            clients: Clients::new(0),
            now: Instant::ZERO,
        }
    }

    /// The same, which tells `limit` clients apart, 32 at most.
    #[must_use]
    pub fn with_clients(mut self, limit: usize) -> Self {
        self.clients = Clients::new(limit);
        self
    }

    /// Bytes that modules may take.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes that modules take.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Modules evicted so far.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// A number that is another one as soon as a module has come or left.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// Reservations held in all.
    pub fn reservations(&self) -> usize {
        self.held().map(|slot| usize::from(slot.reservations)).sum()
    }

    /// The tasklets whose modules are here, in the order of their place.
    pub fn tasklets(&self) -> impl Iterator<Item = TaskletRef> {
        self.modules().map(|module| module.tasklet)
    }

    /// The complete modules, in the order of their place.
    pub fn modules(&self) -> impl Iterator<Item = CachedModule> {
        self.held().filter_map(|slot| {
            Some(CachedModule {
                tasklet: slot.module()?,
                bytes: slot.len as u32,
                uses: slot.uses,
                reserved: slot.reservations > 0,
            })
        })
    }

    /// Where the module of `tasklet` is, if it is complete.
    pub fn find(&self, tasklet: TaskletRef) -> Option<SlotId> {
        let id = SlotId(*self.modules.get(self.rank(tasklet))?);
        (self.slot(id).tasklet == Some(tasklet)).then_some(id)
    }

    /// Where a tasklet stands among the complete modules, or where it would stand.
    fn rank(&self, tasklet: TaskletRef) -> usize {
        let before = |id: &u16| self.slot(SlotId(*id)).tasklet < Some(tasklet);
        self.modules.partition_point(before)
    }

    fn position(&self, is: impl Fn(&Slot) -> bool) -> Option<SlotId> {
        self.order
            .iter()
            .find(|id| is(self.slot(SlotId(**id))))
            .map(|id| SlotId(*id))
    }

    /// The bytes of a module or object.
    pub fn code(&self, id: SlotId) -> &[u8] {
        &self.bytes[self.slot(id).range()]
    }

    /// Reserves the module: it neither leaves nor moves until it is released as often.
    pub fn reserve(&mut self, id: SlotId) {
        let slot = self.slot_mut(id);
        slot.reservations = slot.reservations.saturating_add(1);
    }

    /// Takes one reservation back. An expanded copy leaves with its last one.
    pub fn release(&mut self, id: SlotId) {
        let slot = self.slot_mut(id);
        debug_assert!(slot.reservations > 0, "released more often than reserved");
        slot.reservations = slot.reservations.saturating_sub(1);
        if slot.expanded && slot.reservations == 0 {
            self.remove(id);
        }
    }

    /// Reserves a copy of the compressed module `id` that is expanded to `len` bytes with the module
    /// `dictionary`. Jobs that run it at the same time share the copy.
    ///
    /// # Errors
    /// [`NotExpanded`] says why there is none.
    pub fn expand(
        &mut self,
        id: SlotId,
        dictionary: SlotId,
        len: usize,
        now: Instant,
    ) -> Result<SlotId, NotExpanded> {
        let tasklet = self.slot(id).tasklet;
        if let Some(copy) = self.position(|it| it.expanded && it.tasklet == tasklet) {
            self.reserve(copy);
            return Ok(copy);
        }
        // Neither may leave for the copy.
        let sources = [id, dictionary];
        sources.iter().for_each(|it| self.reserve(*it));
        let placed = self.place(tasklet, len, now);
        sources.iter().for_each(|it| self.release(*it));
        let copy = placed.map_err(|NoRoom| NotExpanded::NoRoom)?;
        let ranges = [id, dictionary, copy].map(|it| self.slot(it).range());
        // An entry may name its own module as its dictionary.
        let expanded = match self.bytes.get_disjoint_mut(ranges) {
            Ok([module, dictionary, plain]) => compression::expand(module, dictionary, plain),
            Err(_) => Err(BadCompression),
        };
        if expanded.is_err() {
            self.remove(copy);
            return Err(NotExpanded::Bad);
        }
        let slot = self.slot_mut(copy);
        (slot.expanded, slot.ready, slot.reservations) = (true, true, 1);
        Ok(copy)
    }

    /// Notes that a client calls.
    pub fn meet(&mut self, now: Instant, client: ClientId) {
        self.now = self.now.max(now);
        if let Some(forgotten) = self.clients.meet(now, client) {
            for slot in self.slots.iter_mut().flatten() {
                slot.users &= !forgotten;
            }
        }
    }

    /// Notes that a module is there for a client.
    pub fn note_user(&mut self, id: SlotId, client: Option<ClientId>) {
        let bit = self.clients.bit(client);
        self.slot_mut(id).users |= bit;
    }

    /// Counts a use; the first one is that for which the module was fetched.
    pub fn touch(&mut self, id: SlotId, now: Instant) {
        self.now = self.now.max(now);
        let slot = self.slot_mut(id);
        slot.origin = None;
        slot.uses = slot.uses.saturating_add(1);
        slot.last_used = now;
        if slot.uses > 1 {
            self.tell(id, Happening::Hit);
        }
    }

    /// Notes what is known of other copies of a module. Policies see it from the next call on; said
    /// before [`finish`](Self::finish), they see it with the insertion.
    pub fn set_nearby(&mut self, id: SlotId, nearby: Nearby) {
        self.slot_mut(id).nearby = nearby;
    }

    /// Whether a module of `len` bytes fits only if others leave.
    pub(crate) fn is_full_for(&self, len: usize) -> bool {
        self.used + len > self.capacity
    }

    /// Notes what is known of other copies of all modules, as [`set_nearby`](Self::set_nearby).
    pub(crate) fn refresh_nearby(&mut self, nearby: impl Fn(TaskletRef) -> Nearby) {
        for slot in self.slots.iter_mut().flatten() {
            if let Some(tasklet) = slot.tasklet {
                slot.nearby = nearby(tasklet);
            }
        }
    }

    /// Where a module has come from, unless a job has used it since.
    pub(crate) fn origin(&self, id: SlotId) -> Option<Origin> {
        self.slot(id).origin
    }

    /// Notes where a module has come from.
    pub(crate) fn set_origin(&mut self, id: SlotId, origin: Origin) {
        self.slot_mut(id).origin = Some(origin);
    }

    /// Frees `len` bytes in one piece for a module: evicts the modules that the policy chooses, then
    /// moves those that are not reserved (Algorithm 1, lines 23 to 28).
    ///
    /// # Errors
    /// [`NoRoom`] if that is not enough. A length that can never fit evicts nothing.
    pub fn make_room(&mut self, len: usize) -> Result<(), NoRoom> {
        self.clear(len, Need::Module(None))
    }

    /// Frees `len` bytes for a module of this namespace, as [`make_room`](Self::make_room): if it has more
    /// than half of the cache and others were used lately, its own modules go first.
    ///
    /// # Errors
    /// As [`make_room`](Self::make_room).
    pub(crate) fn make_room_for(
        &mut self,
        namespace: NamespaceId,
        len: usize,
    ) -> Result<(), NoRoom> {
        self.clear(len, Need::Module(FULL.then_some(namespace)))
    }

    fn clear(&mut self, len: usize, need: Need) -> Result<(), NoRoom> {
        let for_module = need != Need::Object;
        // Bytes of modules that stay, and of all that stays.
        let (mut modules, mut all) = (0, 0);
        for slot in self.held() {
            if slot.reservations > 0 || !slot.ready && !slot.spare {
                all += slot.len;
                modules += slot.tasklet.map_or(0, |_| slot.len);
            }
        }
        if all + len > self.bytes.len() || for_module && modules + len > self.capacity {
            return Err(NoRoom);
        }
        loop {
            let over = for_module && self.used + len > self.capacity;
            let full = self.order.len() == self.slots.len();
            if !over && !full {
                if self.gap(len).is_some() {
                    return Ok(());
                }
                let held: usize = self.held().map(|slot| slot.len).sum();
                if held + len <= self.bytes.len() {
                    self.compact();
                    if self.gap(len).is_some() {
                        return Ok(());
                    }
                }
            }
            self.evict_one(len, need).ok_or(NoRoom)?;
        }
    }

    /// Takes space for a module that is about to arrive. The space is zeroed.
    ///
    /// # Errors
    /// [`NoRoom`] as [`make_room`](Self::make_room).
    pub fn begin(
        &mut self,
        tasklet: TaskletRef,
        len: usize,
        now: Instant,
    ) -> Result<SlotId, NoRoom> {
        self.place(Some(tasklet), len, now)
    }

    /// Takes space for a module that nobody here has asked for; none if another would have to leave.
    /// It gives way to any other before it is complete, and counts as never used.
    pub(crate) fn begin_spare(&mut self, tasklet: TaskletRef, len: usize) -> Option<SlotId> {
        let held: usize = self.held().map(|slot| slot.len).sum();
        let full = self.is_full_for(len) || held + len > self.bytes.len();
        if full || self.order.len() == self.slots.len() {
            return None;
        }
        let slot = self.begin(tasklet, len, Instant::ZERO).ok()?;
        self.slot_mut(slot).spare = true;
        Some(slot)
    }

    /// Whether a module that [`begin_spare`](Self::begin_spare) has begun has neither been completed
    /// nor given way.
    pub(crate) fn is_spare(&self, id: SlotId, tasklet: TaskletRef) -> bool {
        let slot = self.slots[id.index()].as_ref();
        slot.is_some_and(|slot| slot.spare && slot.tasklet == Some(tasklet))
    }

    /// Takes space for an object in transfer. It stays until it is [removed](Self::remove).
    ///
    /// # Errors
    /// [`NoRoom`] if modules that are in use leave no gap of that length.
    pub fn begin_object(&mut self, len: usize, now: Instant) -> Result<SlotId, NoRoom> {
        self.place(None, len, now)
    }

    fn place(
        &mut self,
        tasklet: Option<TaskletRef>,
        len: usize,
        now: Instant,
    ) -> Result<SlotId, NoRoom> {
        self.now = self.now.max(now);
        let module = |tasklet: TaskletRef| Need::Module(FULL.then_some(tasklet.namespace));
        self.clear(len, tasklet.map_or(Need::Object, module))?;
        let (at, offset) = self.gap(len).ok_or(NoRoom)?;
        let free = self.slots.iter().position(Option::is_none).ok_or(NoRoom)?;
        self.bytes[offset..offset + len].fill(0);
        let last_used = now;
        let slot = Slot {
            tasklet,
            offset,
            len,
            uses: 0,
            last_used,
            reservations: 0,
            ready: false,
            expanded: false,
            nearby: Nearby::default(),
            users: 0,
            origin: None,
            spare: false,
        };
        self.slots[free] = Some(slot);
        self.order.insert(at, free as u16);
        if tasklet.is_some() {
            self.used += len;
        }
        Ok(SlotId(free as u16))
    }

    /// Puts a part of an arriving module or an object in its place; parts beyond its end are
    /// ignored.
    pub fn write(&mut self, id: SlotId, offset: usize, part: &[u8]) {
        let slot = *self.slot(id);
        let place = offset
            .checked_add(part.len())
            .filter(|end| *end <= slot.len && !slot.ready);
        if let Some(end) = place {
            self.bytes[slot.offset + offset..slot.offset + end].copy_from_slice(part);
        }
    }

    /// The bytes of an object.
    pub fn object_mut(&mut self, id: SlotId) -> &mut [u8] {
        let slot = *self.slot(id);
        debug_assert!(slot.tasklet.is_none(), "modules do not change");
        &mut self.bytes[slot.offset..slot.end()]
    }

    /// Ends an arrival: keeps the module if its bytes match `digest`, and drops it otherwise. Returns
    /// whether it is kept.
    pub fn finish(&mut self, id: SlotId, digest: &Digest) -> bool {
        let good = Digest::of(self.code(id)) == *digest;
        if good {
            let slot = self.slot_mut(id);
            slot.ready = true;
            slot.spare = false;
            if let Some(tasklet) = self.slot(id).tasklet {
                self.modules.insert(self.rank(tasklet), id.0);
            }
            self.changes += 1;
            self.tell(id, Happening::Insertion);
        } else {
            self.remove(id);
        }
        good
    }

    /// Drops a module, an arrival or an object; its space is free at once.
    pub fn remove(&mut self, id: SlotId) {
        self.take_out(id, Exit::Removed);
    }

    fn take_out(&mut self, id: SlotId, exit: Exit) {
        self.tell(id, Happening::Exit(exit));
        self.order.retain(|other| *other != id.0);
        self.modules.retain(|other| *other != id.0);
        if let Some(slot) = self.slots[id.index()].take()
            && slot.tasklet.is_some()
        {
            self.used -= slot.len;
            self.changes += u64::from(slot.module().is_some());
        }
    }

    /// Tells the policy, if the slot has a complete module.
    #[inline(never)]
    fn tell(&mut self, id: SlotId, happening: Happening) {
        let held = self.slots[id.index()].as_ref();
        let facts = held.and_then(|slot| slot.facts(self.now, &self.clients));
        let Some(facts) = facts else {
            return;
        };
        match happening {
            Happening::Insertion => self.policy.on_insert(id, &facts),
            Happening::Hit => self.policy.on_hit(id, &facts),
            Happening::Exit(exit) => self.policy.on_evict(id, &facts, exit),
        }
    }

    /// The namespace that has more than its share of the cache with `len` bytes more, while modules of
    /// others are in use.
    fn greedy(&self, len: usize, need: Need) -> Option<NamespaceId> {
        let Need::Module(Some(namespace)) = need else {
            return None;
        };
        let (mut held, mut others) = (len, false);
        for slot in self.held() {
            match slot.module() {
                Some(module) if module.namespace == namespace => held += slot.len,
                Some(_) => others |= slot.uses > 0 && self.now - slot.last_used <= USED_FOR,
                None => {}
            }
        }
        (others && held > self.capacity / 2).then_some(namespace)
    }

    fn evict_one(&mut self, len: usize, need: Need) -> Option<()> {
        let spare = |id: &&u16| self.slot(SlotId(**id)).spare;
        if let Some(id) = self.order.iter().find(spare) {
            self.remove(SlotId(*id));
            return Some(());
        }
        let greedy = if FULL { self.greedy(len, need) } else { None };
        let least = match greedy {
            Some(namespace) => self
                .least(|tasklet| tasklet.namespace == namespace)
                .or_else(|| self.least(|_| true)),
            None => self.least(|_| true),
        };
        self.take_out(least?, Exit::Evicted);
        self.evicted += 1;
        Some(())
    }

    /// The module that the policy lets go first, of those that may.
    fn least(&mut self, may: impl Fn(TaskletRef) -> bool) -> Option<SlotId> {
        let mut least = None;
        for id in self.order.iter().map(|id| SlotId(*id)) {
            let slot = self.slot(id);
            if slot.reservations > 0 || !slot.tasklet.is_some_and(&may) {
                continue;
            }
            if let Some(facts) = slot.facts(self.now, &self.clients) {
                let worth = (self.policy.worth(id, &facts), facts.tasklet);
                if least.is_none_or(|(held, _)| worth < held) {
                    least = Some((worth, id));
                }
            }
        }
        least.map(|(_, id)| id)
    }

    /// The first gap of `len` bytes: its place in the order and its offset.
    fn gap(&self, len: usize) -> Option<(usize, usize)> {
        let mut from = 0;
        for (at, id) in self.order.iter().enumerate() {
            let slot = self.slot(SlotId(*id));
            if slot.offset - from >= len {
                return Some((at, from));
            }
            from = slot.end();
        }
        (self.bytes.len() - from >= len).then_some((self.order.len(), from))
    }

    /// Moves modules that are not reserved towards the start of the region.
    fn compact(&mut self) {
        let mut to = 0;
        for id in &self.order {
            let slot = self.slots[usize::from(*id)]
                .as_mut()
                .expect("the order lists held slots");
            if slot.reservations == 0 && slot.offset > to {
                self.bytes.copy_within(slot.offset..slot.end(), to);
                slot.offset = to;
            }
            to = slot.end();
        }
    }

    fn held(&self) -> impl Iterator<Item = &Slot> {
        self.order.iter().map(|id| self.slot(SlotId(*id)))
    }

    fn slot(&self, id: SlotId) -> &Slot {
        self.slots[id.index()]
            .as_ref()
            .expect("a slot id is given for a held slot")
    }

    fn slot_mut(&mut self, id: SlotId) -> &mut Slot {
        self.slots[id.index()]
            .as_mut()
            .expect("a slot id is given for a held slot")
    }
}

#[cfg(test)]
mod tests;
