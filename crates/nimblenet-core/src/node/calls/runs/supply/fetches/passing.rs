//! Passing: modules that other nodes fetch through this one (spec/behaviour.md, section 5).
//!
//! A node that passes a module on keeps a copy if it has room that is free: what one node needs, its
//! neighbours often need later, and the bytes are here anyway. One module is copied at a time.

use nimblenet_tasklet::{Digest, NodeId, TaskletRef};

use super::transfer::{Progress, Transfer};
use crate::cache::SlotId;
use crate::node::post::Post;
use crate::queue::Queue;
use crate::wire::{Data, Fetch, Object};

/// The requests that a node has passed on, and the module that it copies.
#[derive(Debug)]
pub(super) struct Passing {
    /// Oldest first.
    requests: Queue<Request>,
    copy: Option<Copied>,
}

/// A request for a module that was passed on.
#[derive(Clone, Copy, Debug)]
struct Request {
    origin: NodeId,
    number: u16,
    tasklet: TaskletRef,
    /// Bytes of a part.
    part: u16,
}

/// A module of which parts are here.
#[derive(Clone, Copy, Debug)]
struct Copied {
    tasklet: TaskletRef,
    digest: Digest,
    transfer: Transfer,
    slot: SlotId,
}

impl Passing {
    /// Room for `places` requests.
    pub(super) fn new(places: usize) -> Self {
        Self {
            requests: Queue::with_capacity(places),
            copy: None,
        }
    }

    /// Notes a request for a module that this node passes on.
    pub(super) fn note(&mut self, origin: NodeId, fetch: &Fetch) {
        let Object::Module(tasklet) = fetch.object else {
            return;
        };
        if self.requests.len() == self.requests.capacity() {
            self.requests.pop_front();
        }
        if self.requests.len() < self.requests.capacity() {
            self.requests.push_back(Request {
                origin,
                number: fetch.request,
                tasklet,
                part: fetch.part,
            });
        }
    }

    /// Copies a part that passes on its way to `to`, if its module may stay. `described` gives the
    /// digest and the length of a module.
    pub(super) fn take(
        &mut self,
        post: &mut Post<'_>,
        to: NodeId,
        data: &Data<'_>,
        described: impl FnOnce(TaskletRef) -> Option<(Digest, u32)>,
    ) {
        let asked = |it: &&Request| (it.origin, it.number) == (to, data.request);
        let Some(request) = self.requests.iter().find(asked).copied() else {
            return;
        };
        let tasklet = request.tasklet;
        if post.cache.find(tasklet).is_some() {
            return;
        }
        let held = self.copy.filter(|copy| copy.tasklet == tasklet);
        if held.is_none_or(|copy| !post.cache.is_spare(copy.slot, tasklet)) {
            self.drop_copy(post);
            self.copy = described(tasklet).and_then(|known| begin(post, request, known));
        }
        let Some(copy) = &mut self.copy else {
            return;
        };
        copy.transfer.overhear(data.request);
        let progress = copy.transfer.take(post.now, data);
        if matches!(progress, Progress::Part | Progress::Complete) {
            post.cache
                .write(copy.slot, data.offset as usize, data.bytes);
        }
        if progress == Progress::Complete {
            post.cache.finish(copy.slot, &copy.digest);
            self.copy = None;
        }
    }

    fn drop_copy(&mut self, post: &mut Post<'_>) {
        if let Some(copy) = self.copy.take()
            && post.cache.is_spare(copy.slot, copy.tasklet)
        {
            post.cache.remove(copy.slot);
        }
    }
}

/// Takes a place for a module; none if it would have to be made.
fn begin(post: &mut Post<'_>, request: Request, known: (Digest, u32)) -> Option<Copied> {
    let Request {
        origin,
        tasklet,
        part,
        ..
    } = request;
    let (digest, len) = known;
    let slot = post.cache.begin_spare(tasklet, len as usize)?;
    let transfer = Transfer::new(Object::Module(tasklet), origin, part, Some(len));
    Some(Copied {
        tasklet,
        digest,
        transfer,
        slot,
    })
}

#[cfg(test)]
mod tests;
