//! Servings: objects that other nodes fetch from this one, part by part.
//!
//! A part is made when its link has nothing else to send, so that parts never wait in a queue.

use alloc::vec::Vec;

use nimblenet_tasklet::{Digest, NamespaceId, NodeId, TaskletRef};

use super::post::Post;
use crate::archive::Archive;
use crate::cache::SlotId;
use crate::catalogue::Catalogue;
use crate::config::FULL;
use crate::config::LinkId;
use crate::full::Full;
use crate::queue::Queue;
use crate::wire::{
    Data, Fetch, Found, Message, Metadata, MetadataRequest, Object, Refusal, Refuse, Search,
};

/// The fetches that a node serves.
#[derive(Debug)]
pub(in crate::node) struct Servings {
    /// The archive that it serves as a registry.
    archive: Option<Archive>,
    queue: Queue<Serving>,
    limit: usize,
    /// The delta that is being served.
    delta: Option<ServedDelta>,
    /// The module of the archive that was read last.
    read: Full<Option<(TaskletRef, Vec<u8>)>>,
}

/// A fetch that is served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::node) struct Serving {
    pub(in crate::node) to: NodeId,
    pub(in crate::node) fetch: Fetch,
}

/// An encoded catalogue delta, which is kept from part to part.
#[derive(Clone, Copy, Debug)]
struct ServedDelta {
    /// Namespace, the epoch before, the epoch after.
    key: (NamespaceId, u32, u32),
    slot: SlotId,
    len: usize,
}

/// What the rest of the node holds of an object that another node fetches.
#[derive(Clone, Copy, Debug)]
pub(in crate::node) struct Holding<'h> {
    /// The catalogue from which a delta is made, if the node subscribes to it.
    pub(in crate::node) catalogue: Option<&'h Catalogue>,
    /// Whether the record is that of a job that is offered to the node that fetches it.
    pub(in crate::node) offered: bool,
}

impl Servings {
    /// Room for `limit` fetches at a time.
    pub(in crate::node) fn new(archive: Option<Archive>, limit: usize) -> Self {
        Self {
            archive,
            queue: Queue::with_capacity(limit),
            limit,
            delta: None,
            read: Full::new(|| None),
        }
    }

    /// How many fetches are served.
    pub(in crate::node) fn count(&self) -> usize {
        self.queue.len()
    }

    /// The archive that the node serves as a registry.
    pub(in crate::node) fn archive(&self) -> Option<&Archive> {
        self.archive.as_ref().filter(|_| FULL)
    }

    pub(in crate::node) fn archive_mut(&mut self) -> Option<&mut Archive> {
        self.archive.as_mut().filter(|_| FULL)
    }

    /// Answers a search if the tasklet is here. A registry does not answer floods.
    pub(in crate::node) fn handle_search(
        &mut self,
        post: &mut Post<'_>,
        origin: NodeId,
        flooded: bool,
        search: Search,
    ) {
        if flooded && self.archive().is_some() {
            return;
        }
        let request = search.request;
        self.read_module(search.tasklet);
        let size = match self.find(post, Object::Module(search.tasklet)) {
            Some((module, _)) => module.len() as u32,
            None if flooded => return,
            None => {
                refuse(post, origin, request, Refusal::Gone);
                return;
            }
        };
        let mtu = search.mtu;
        post.send(origin, Message::Found(Found { request, mtu, size }));
    }

    /// Describes a module. `published` is the digest in the catalogue that the node holds.
    pub(in crate::node) fn handle_metadata_request(
        &mut self,
        post: &mut Post<'_>,
        origin: NodeId,
        request: MetadataRequest,
        published: Option<Digest>,
    ) {
        let number = request.request;
        self.read_module(request.tasklet);
        let held = self.find(post, Object::Module(request.tasklet));
        let archive = self.archive.as_ref().filter(|_| FULL);
        let digest = |module| {
            // What is held was checked against the catalogue when it came.
            let archived = archive.and_then(|archive| archive.digest(request.tasklet).copied());
            published.or(archived).unwrap_or_else(|| Digest::of(module))
        };
        let known = held.map(|(module, _)| (module.len() as u32, digest(module)));
        let Some((size, digest)) = known else {
            refuse(post, origin, number, Refusal::Gone);
            return;
        };
        let metadata = Metadata {
            request: number,
            size,
            digest: &digest.0,
        };
        post.send(origin, Message::Metadata(metadata));
    }

    /// Whether it serves a fetch that is for another node: not a direct one, whose sender may have
    /// asked on the path in vain.
    pub(in crate::node) fn stops(&self, post: &Post<'_>, fetch: &Fetch) -> bool {
        let may = post.config.acquisition.on_path && !fetch.direct;
        let archived = |archive: &Archive| match fetch.object {
            Object::Module(tasklet) => archive.digest(tasklet).is_some(),
            Object::Catalogue { .. } | Object::Job { .. } => false,
        };
        let has = || self.archive().is_some_and(archived);
        may && self.queue.len() < self.limit && (self.find(post, fetch.object).is_some() || has())
    }

    /// Takes a fetch, or refuses it. A repeated fetch of the same node replaces the one before.
    pub(in crate::node) fn handle_fetch(
        &mut self,
        post: &mut Post<'_>,
        origin: NodeId,
        fetch: Fetch,
        holding: Holding<'_>,
    ) {
        self.prepare(post, fetch.object, holding);
        if let Err(refusal) = self.take(post, origin, fetch, holding) {
            refuse(post, origin, fetch.request, refusal);
        }
        self.forget_delta(post);
    }

    fn take(
        &mut self,
        post: &Post<'_>,
        origin: NodeId,
        fetch: Fetch,
        holding: Holding<'_>,
    ) -> Result<(), Refusal> {
        let object = self.find(post, fetch.object);
        let object = object.filter(|_| holding.allows(fetch.object));
        let (object, _) = object.ok_or(Refusal::Gone)?;
        if fetch.offset as usize >= object.len() {
            return Err(Refusal::BadRange);
        }
        let serving = Serving { to: origin, fetch };
        let same = |held: &&mut Serving| held.to == origin && held.fetch.object == fetch.object;
        if let Some(held) = self.queue.iter_mut().find(same) {
            *held = serving;
        } else if self.queue.len() < self.limit {
            self.queue.push_back(serving);
        } else {
            return Err(Refusal::Busy);
        }
        Ok(())
    }

    /// The fetch whose turn it is on `link`; [`serve`](Self::serve) sends its part.
    pub(in crate::node) fn poll_turn(&mut self, post: &Post<'_>, link: LinkId) -> Option<Serving> {
        let on_link = |it: &Serving| {
            let leaves_by = post.mesh.way(post.now, it.to);
            leaves_by.is_none_or(|leaves_by| leaves_by == link)
        };
        let turn = self.queue.iter().position(on_link)?;
        self.queue.remove(turn)
    }

    /// Sends the next part of a fetch.
    pub(in crate::node) fn serve(
        &mut self,
        post: &mut Post<'_>,
        serving: Serving,
        holding: Holding<'_>,
    ) {
        let Serving { to, mut fetch } = serving;
        if fetch.wanted == 0 {
            self.forget_delta(post);
            return;
        }
        let bit = fetch.wanted.trailing_zeros();
        fetch.wanted &= fetch.wanted - 1;
        let part = usize::from(fetch.part);
        let offset = fetch.offset as usize + bit as usize * part;
        self.prepare(post, fetch.object, holding);
        // Split the borrow: the mesh writes the frame from the bytes on the disk.
        let Post {
            now,
            mesh,
            cache,
            image,
            counters,
            ..
        } = post;
        let found = self.find_in(cache, image, fetch.object);
        match found.filter(|_| holding.allows(fetch.object)) {
            None => {
                fetch.wanted = 0;
                refuse(post, to, fetch.request, Refusal::Gone);
            }
            Some((object, version)) => {
                let bytes = object.get(offset..object.len().min(offset + part));
                match bytes.filter(|bytes| !bytes.is_empty()) {
                    None => fetch.wanted = 0,
                    Some(bytes) => {
                        let data = Data {
                            request: fetch.request,
                            version,
                            total: object.len() as u32,
                            offset: offset as u32,
                            bytes,
                        };
                        mesh.send(*now, to, Message::Data(data), counters);
                    }
                }
            }
        }
        if fetch.wanted != 0 {
            self.queue.push_back(Serving { to, fetch });
        }
        self.forget_delta(post);
    }

    /// Checks what must hold between two inputs.
    pub(in crate::node) fn assert_invariants(&self) {
        debug_assert!(self.queue.len() <= self.limit, "servings have a limit");
        let deltas = self.queue.iter().any(|it| is_delta(it.fetch.object));
        debug_assert!(
            deltas || self.delta.is_none(),
            "a delta is kept to be served"
        );
    }

    fn find<'p>(&'p self, post: &'p Post<'_>, object: Object) -> Option<(&'p [u8], u32)> {
        self.find_in(post.cache, post.image, object)
    }

    /// The bytes and the version of an object.
    fn find_in<'p>(
        &'p self,
        cache: &'p crate::cache::Cache,
        image: &'p [u8],
        object: Object,
    ) -> Option<(&'p [u8], u32)> {
        match object {
            Object::Module(tasklet) => {
                let cached = cache.find(tasklet).map(|slot| cache.code(slot));
                let read = self.read.get().and_then(Option::as_ref);
                let read = read.filter(|(held, _)| *held == tasklet);
                let bytes = cached.or(read.map(|(_, bytes)| &bytes[..]))?;
                Some((bytes, u32::from(tasklet.sequence)))
            }
            Object::Catalogue { namespace, since } => {
                let served = self.delta?;
                let (of, from, to) = served.key;
                let bytes = &cache.code(served.slot)[..served.len];
                ((of, from) == (namespace, since)).then_some((bytes, to))
            }
            Object::Job { request } => Some((image, request)),
        }
    }

    /// Reads a module of the archive, unless it is the one that was read last.
    fn read_module(&mut self, tasklet: TaskletRef) {
        let archive = self.archive.as_ref().filter(|_| FULL);
        if let (Some(archive), Some(read)) = (archive, self.read.get_mut())
            && read.as_ref().is_none_or(|(held, _)| *held != tasklet)
        {
            let module = archive.digest(tasklet);
            let module = module.and_then(|digest| archive.module(digest));
            *read = module.map(|module| (tasklet, module));
        }
    }

    /// Encodes the delta or reads the module that `object` asks for, unless that has been done.
    fn prepare(&mut self, post: &mut Post<'_>, object: Object, holding: Holding<'_>) {
        if let Object::Module(tasklet) = object {
            self.read_module(tasklet);
        }
        let Object::Catalogue { namespace, since } = object else {
            return;
        };
        let archive = self.archive.as_ref().filter(|_| FULL);
        let archived = archive.and_then(|archive| archive.catalogue(namespace));
        let Some(catalogue) = archived.or(holding.catalogue) else {
            return;
        };
        let key = (namespace, since, catalogue.epoch());
        if self.delta.is_some_and(|served| served.key == key) {
            return;
        }
        if let Some(former) = self.delta.take() {
            post.cache.remove(former.slot);
        }
        let bytes = catalogue.delta_bytes().min(post.config.limits.delta_bytes);
        let Ok(slot) = post.cache.begin_object(bytes, post.now) else {
            return;
        };
        match catalogue.encode_delta(since, post.cache.object_mut(slot)) {
            Some(len) => self.delta = Some(ServedDelta { key, slot, len }),
            None => post.cache.remove(slot),
        }
    }

    /// Frees the place of the served delta if nobody fetches it.
    fn forget_delta(&mut self, post: &mut Post<'_>) {
        if !self.queue.iter().any(|it| is_delta(it.fetch.object))
            && let Some(served) = self.delta.take()
        {
            post.cache.remove(served.slot);
        }
    }
}

impl Holding<'_> {
    fn allows(&self, object: Object) -> bool {
        match object {
            Object::Job { .. } => self.offered,
            Object::Module(_) | Object::Catalogue { .. } => true,
        }
    }
}

fn is_delta(object: Object) -> bool {
    matches!(object, Object::Catalogue { .. })
}

fn refuse(post: &mut Post<'_>, to: NodeId, request: u16, refusal: Refusal) {
    post.send(to, Message::Refuse(Refuse { request, refusal }));
}

#[cfg(test)]
mod tests;
