//! Answers to other nodes.

use alloc::vec;
use alloc::vec::Vec;

use nimblenet_tasklet::{NamespaceId, NodeId};

use super::Node;
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
#[derive(Debug)]
pub(super) struct ServedDelta {
    /// Namespace, the epoch before, the epoch after.
    key: (NamespaceId, u32, u32),
    bytes: Vec<u8>,
    len: usize,
}

impl ServedDelta {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            key: (NamespaceId(0), 0, 0),
            bytes: vec![0; limit],
            len: 0,
        }
    }
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
        let size = match self.module(Object::Module(search.tasklet)) {
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
        let held = self
            .cache
            .find(request.tasklet)
            .map(|slot| (self.cache.code(slot).len() as u32, self.cache.digest(slot)));
        let archived = self
            .archive
            .as_ref()
            .and_then(|archive| archive.version(request.tasklet));
        let known = held.or_else(|| {
            archived.map(|module| (module.len() as u32, nimblenet_tasklet::Digest::of(module)))
        });
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
        let Some((object, _)) = self.module(fetch.object) else {
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
            return;
        }
        let bit = fetch.wanted.trailing_zeros();
        fetch.wanted &= fetch.wanted - 1;
        let part = usize::from(fetch.part);
        let offset = fetch.offset as usize + bit as usize * part;
        // Split borrows: the bytes stay where they are while the mesh writes the frame.
        let Self {
            cache,
            archive,
            served_delta,
            mesh,
            counters,
            subscriptions,
            ..
        } = self;
        let source = Sources {
            cache,
            archive,
            subscriptions,
        };
        let Some((object, version)) = source.find(fetch.object, served_delta) else {
            self.refuse(now, to, fetch.request, Refusal::Gone);
            return;
        };
        if let Some(bytes) = object.get(offset..object.len().min(offset + part))
            && !bytes.is_empty()
        {
            let (total, offset) = (object.len() as u32, offset as u32);
            let data = Data {
                request: fetch.request,
                version,
                total,
                offset,
                bytes,
            };
            mesh.send(now, to, Message::Data(data), counters);
        } else {
            fetch.wanted = 0;
        }
        if fetch.wanted != 0 {
            self.servings.push_back(Serving { to, fetch });
        }
    }

    /// The object's bytes and version, if it is here.
    fn module(&mut self, object: Object) -> Option<(&[u8], u32)> {
        let Self {
            cache,
            archive,
            served_delta,
            subscriptions,
            ..
        } = self;
        Sources {
            cache,
            archive,
            subscriptions,
        }
        .find(object, served_delta)
    }

    fn refuse(&mut self, now: Instant, to: NodeId, request: u16, refusal: Refusal) {
        let refuse = Refuse { request, refusal };
        self.mesh
            .send(now, to, Message::Refuse(refuse), &mut self.counters);
    }
}

/// Everything that can be served.
struct Sources<'n> {
    cache: &'n crate::cache::Cache,
    archive: &'n Option<crate::archive::Archive>,
    subscriptions: &'n [super::Subscription],
}

impl<'n> Sources<'n> {
    fn find(&self, object: Object, served: &'n mut ServedDelta) -> Option<(&'n [u8], u32)> {
        let archive = self.archive.as_ref();
        match object {
            Object::Module(tasklet) => {
                let cached = self.cache.find(tasklet).map(|slot| self.cache.code(slot));
                let bytes = cached.or_else(|| archive?.version(tasklet))?;
                Some((bytes, u32::from(tasklet.sequence)))
            }
            Object::Catalogue { namespace, since } => {
                let held = self
                    .subscriptions
                    .iter()
                    .find(|held| held.id() == namespace);
                let archived = archive.and_then(|archive| archive.catalogue(namespace));
                let catalogue = archived.or(held.map(super::Subscription::catalogue))?;
                let key = (namespace, since, catalogue.epoch());
                if served.key != key {
                    served.len = catalogue.encode_delta(since, &mut served.bytes)?;
                    served.key = key;
                }
                Some((&served.bytes[..served.len], catalogue.epoch()))
            }
        }
    }
}
