//! Answers to other nodes.

use nimblenet_tasklet::{Digest, NamespaceId, NodeId};

use super::Node;
use crate::archive::Archive;
use crate::cache::{Cache, SlotId};
use crate::config::LinkId;
use crate::time::Instant;
use crate::wire::{
    Data, Fetch, Found, Message, Metadata, MetadataRequest, Object, Refusal, Refuse, Search,
};

/// A fetch that is being served, one part at a time, so that no part waits in a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Serving {
    to: NodeId,
    fetch: Fetch,
}

/// A catalogue delta as it is encoded, kept from part to part.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServedDelta {
    /// Namespace, the epoch before, the epoch after.
    key: (NamespaceId, u32, u32),
    slot: SlotId,
    len: usize,
}

impl Node {
    /// Says that the tasklet is here, if it is. A registry does not answer floods.
    pub(super) fn answer_search(
        &mut self,
        now: Instant,
        origin: NodeId,
        flooded: bool,
        search: Search,
    ) {
        if flooded && self.archive.is_some() {
            return;
        }
        let request = search.request;
        let size = match self.sources().find(Object::Module(search.tasklet)) {
            Some((module, _)) => module.len() as u32,
            None if flooded => return,
            None => {
                self.refuse(now, origin, request, Refusal::Gone);
                return;
            }
        };
        let found = Found {
            request,
            mtu: search.mtu,
            size,
        };
        self.mesh
            .send(now, origin, Message::Found(found), &mut self.counters);
    }

    pub(super) fn answer_metadata(
        &mut self,
        now: Instant,
        origin: NodeId,
        request: MetadataRequest,
    ) {
        let number = request.request;
        let held = self.sources().find(Object::Module(request.tasklet));
        let known = held.map(|(module, _)| (module.len() as u32, Digest::of(module)));
        let Some((size, digest)) = known else {
            self.refuse(now, origin, number, Refusal::Gone);
            return;
        };
        let metadata = Metadata {
            request: number,
            size,
            digest: &digest.0,
        };
        self.mesh
            .send(now, origin, Message::Metadata(metadata), &mut self.counters);
    }

    /// Takes a fetch up, or refuses it. A repeated fetch of the same node replaces the former.
    pub(super) fn admit_fetch(&mut self, now: Instant, origin: NodeId, fetch: Fetch) {
        self.prepare(now, fetch.object);
        let open = self.serves(origin, fetch.object);
        let object = self.sources().find(fetch.object);
        let Some((object, _)) = object.filter(|_| open) else {
            self.refuse(now, origin, fetch.request, Refusal::Gone);
            return;
        };
        if fetch.offset as usize >= object.len() {
            self.refuse(now, origin, fetch.request, Refusal::BadRange);
            return;
        }
        let serving = Serving { to: origin, fetch };
        let same = |held: &&mut Serving| held.to == origin && held.fetch.object == fetch.object;
        if let Some(held) = self.servings.iter_mut().find(same) {
            *held = serving;
        } else if self.servings.len() < self.config.limits.servings {
            self.servings.push_back(serving);
        } else {
            self.refuse(now, origin, fetch.request, Refusal::Busy);
        }
        self.forget_served();
    }

    /// Sends the next part of the fetch whose turn it is on `link`.
    pub(super) fn serve_part(&mut self, now: Instant, link: LinkId) {
        let mesh = &self.mesh;
        let on_link = |it: &Serving| mesh.way(now, it.to).is_none_or(|way| way == link);
        let turn = self.servings.iter().position(on_link);
        let Some(Serving { to, mut fetch }) = turn.and_then(|at| self.servings.remove(at)) else {
            return;
        };
        if fetch.wanted == 0 {
            self.forget_served();
            return;
        }
        let bit = fetch.wanted.trailing_zeros();
        fetch.wanted &= fetch.wanted - 1;
        let part = usize::from(fetch.part);
        let offset = fetch.offset as usize + bit as usize * part;
        self.prepare(now, fetch.object);
        let open = self.serves(to, fetch.object);
        // Split borrows: the bytes stay where they are while the mesh writes the frame.
        let Self {
            cache,
            archive,
            served_delta,
            mesh,
            counters,
            image,
            ..
        } = self;
        let sources = Sources {
            cache,
            archive,
            served_delta: *served_delta,
            image,
        };
        match sources.find(fetch.object).filter(|_| open) {
            None => {
                fetch.wanted = 0;
                self.refuse(now, to, fetch.request, Refusal::Gone);
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
                        mesh.send(now, to, Message::Data(data), counters);
                    }
                }
            }
        }
        if fetch.wanted != 0 {
            self.servings.push_back(Serving { to, fetch });
        }
        self.forget_served();
    }

    fn sources(&self) -> Sources<'_> {
        Sources {
            cache: &self.cache,
            archive: &self.archive,
            served_delta: self.served_delta,
            image: &self.image,
        }
    }

    /// Whether the object is for this node to fetch: a job is for the one that it was offered to.
    fn serves(&self, to: NodeId, object: Object) -> bool {
        match object {
            Object::Job { request } => self.offered_image(to, request),
            Object::Module(_) | Object::Catalogue { .. } => true,
        }
    }

    /// Encodes the delta that `object` asks for, unless it is at hand.
    fn prepare(&mut self, now: Instant, object: Object) {
        let Object::Catalogue { namespace, since } = object else {
            return;
        };
        let held = self.subscription(namespace);
        let archive = self.archive.as_ref();
        let archived = archive.and_then(|archive| archive.catalogue(namespace));
        let held = held.map(|at| self.subscriptions[at].catalogue());
        let Some(catalogue) = archived.or(held) else {
            return;
        };
        let key = (namespace, since, catalogue.epoch());
        if self.served_delta.is_some_and(|served| served.key == key) {
            return;
        }
        if let Some(former) = self.served_delta.take() {
            self.cache.remove(former.slot);
        }
        let bytes = catalogue.delta_bytes().min(self.config.limits.delta_bytes);
        let Ok(slot) = self.cache.begin_object(bytes, now) else {
            return;
        };
        match catalogue.encode_delta(since, self.cache.object_mut(slot)) {
            Some(len) => self.served_delta = Some(ServedDelta { key, slot, len }),
            None => self.cache.remove(slot),
        }
    }

    /// Gives the place of the served delta back once nobody fetches it.
    fn forget_served(&mut self) {
        let is_delta = |it: &Serving| matches!(it.fetch.object, Object::Catalogue { .. });
        if !self.servings.iter().any(is_delta)
            && let Some(served) = self.served_delta.take()
        {
            self.cache.remove(served.slot);
        }
    }

    fn refuse(&mut self, now: Instant, to: NodeId, request: u16, refusal: Refusal) {
        let refuse = Refuse { request, refusal };
        self.mesh
            .send(now, to, Message::Refuse(refuse), &mut self.counters);
    }
}

/// Everything that can be served.
struct Sources<'n> {
    cache: &'n Cache,
    archive: &'n Option<Archive>,
    served_delta: Option<ServedDelta>,
    /// The job on its way.
    image: &'n [u8],
}

impl<'n> Sources<'n> {
    fn find(&self, object: Object) -> Option<(&'n [u8], u32)> {
        let archive = self.archive.as_ref();
        match object {
            Object::Module(tasklet) => {
                let cached = self.cache.find(tasklet).map(|slot| self.cache.code(slot));
                let bytes = cached.or_else(|| archive?.version(tasklet))?;
                Some((bytes, u32::from(tasklet.sequence)))
            }
            Object::Catalogue { namespace, since } => {
                let served = self.served_delta?;
                let (of, from, to) = served.key;
                let bytes = &self.cache.code(served.slot)[..served.len];
                ((of, from) == (namespace, since)).then_some((bytes, to))
            }
            Object::Job { request } => Some((self.image, request)),
        }
    }
}
