//! Acquisitions: carries answers and timeouts to them, and their requests to mesh and cache.

use nimblenet_tasklet::{Fault, NodeId};

use super::Node;
use crate::acquisition::{ASKS, Acquisition, Holder, Phase, Wanted, patience};
use crate::mesh::Mesh;
use crate::time::Instant;
use crate::transfer::{Progress, Stall, Transfer};
use crate::wire::{Data, Found, MAX_TTL, Message, Metadata, MetadataRequest, Object, Search};

/// The TTL of the local search: one hop (Algorithm 1, line 2).
const LOCAL_TTL: u8 = 1;

/// Who is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Scope {
    Neighbours,
    Mesh,
    Registry,
}

impl Scope {
    fn phase(self) -> Phase {
        match self {
            Self::Neighbours => Phase::LocalSearch,
            Self::Mesh => Phase::GlobalSearch,
            Self::Registry => Phase::Fallback,
        }
    }
}

impl Node {
    /// Starts to acquire a tasklet, or joins an acquisition of the same; returns its place. The
    /// first step is taken by [`advance`](Self::advance).
    pub(super) fn acquire(&mut self, now: Instant, wanted: Wanted) -> Result<usize, Fault> {
        if wanted.size as usize > self.cache.capacity() {
            return Err(Fault::TooLarge);
        }
        let places = self.acquisitions.iter();
        let same = |held: &Acquisition| held.wanted.tasklet == wanted.tasklet && !held.ended();
        if self.config.merge_requests
            && let Some(at) = places
                .clone()
                .position(|held| held.as_ref().is_some_and(same))
        {
            return Ok(at);
        }
        let at = places
            .clone()
            .position(Option::is_none)
            .ok_or(Fault::Busy)?;
        self.acquisitions[at] = Some(Acquisition::new(wanted, now));
        Ok(at)
    }

    /// Takes the acquisition at `at` from its check of the cache to a wait or an end.
    pub(super) fn advance(&mut self, now: Instant, at: usize) {
        let Some(acquisition) = &mut self.acquisitions[at] else {
            return;
        };
        if acquisition.phase == Phase::Check {
            acquisition.attempts += 1;
            let wanted = acquisition.wanted;
            if let Some(slot) = self.cache.find(wanted.tasklet) {
                if acquisition.transfer.is_none() {
                    acquisition.hops = 0;
                    acquisition.from_registry = false;
                }
                acquisition.phase = Phase::Acquired(slot);
            } else {
                self.search(now, at, Scope::Neighbours);
            }
        }
        self.conclude(now, at);
    }

    /// The first or a further answer to a search.
    pub(super) fn handle_found(&mut self, now: Instant, origin: NodeId, hops: u8, found: Found) {
        let Some(at) = self.awaiting(found.request) else {
            self.counters.drop(crate::counters::DropReason::Unexpected);
            return;
        };
        let holder = Holder {
            id: origin,
            hops,
            mtu: found.mtu,
        };
        let acquisition = self.acquisitions[at]
            .as_mut()
            .expect("awaiting names a held place");
        if let Some(winner) = acquisition.found(holder) {
            self.approach(now, at, winner);
            self.conclude(now, at);
        }
    }

    pub(super) fn handle_metadata(&mut self, now: Instant, metadata: Metadata<'_>) {
        let Some(at) = self.awaiting(metadata.request) else {
            self.counters.drop(crate::counters::DropReason::Unexpected);
            return;
        };
        let acquisition = self.acquisitions[at]
            .as_mut()
            .expect("awaiting names a held place");
        let Phase::Metadata(holder) = acquisition.phase else {
            return;
        };
        let wanted = acquisition.wanted;
        if (metadata.size, metadata.digest()) == (wanted.size, wanted.digest) {
            self.fetch(now, at, holder);
        } else {
            self.counters.digest_mismatches += 1;
            self.retry(at, Fault::DigestMismatch, Some(holder.id));
            self.advance(now, at);
        }
        self.conclude(now, at);
    }

    /// A part of a module; false if no acquisition waits for it.
    pub(super) fn handle_part(&mut self, now: Instant, data: &Data<'_>) -> bool {
        let Some(at) = self.awaiting(data.request) else {
            return false;
        };
        let acquisition = self.acquisitions[at]
            .as_mut()
            .expect("awaiting names a held place");
        let (Phase::Fetch(holder), Some(transfer)) =
            (acquisition.phase, acquisition.transfer.as_mut())
        else {
            return false;
        };
        let progress = transfer.take(now, data);
        let more = transfer.wants_more();
        match progress {
            Progress::Unexpected => return false,
            Progress::Changed => {
                self.give_up_bytes(at);
                self.retry(at, Fault::DigestMismatch, Some(holder.id));
                self.advance(now, at);
            }
            Progress::Part | Progress::Complete => {
                if !self.keep_part(now, at, data) {
                    self.retry(at, Fault::CacheFull, None);
                    self.advance(now, at);
                } else if progress == Progress::Complete {
                    self.finish_fetch(now, at, holder);
                } else if more {
                    self.ask(now, at, holder);
                }
            }
        }
        self.conclude(now, at);
        true
    }

    pub(super) fn handle_refusal(&mut self, now: Instant, request: u16) {
        if let Some(at) = self.awaiting(request) {
            self.source_lost(now, at, false);
            self.conclude(now, at);
        }
    }

    pub(super) fn acquisition_timeouts(&mut self, now: Instant) {
        for at in 0..self.acquisitions.len() {
            let Some(acquisition) = &mut self.acquisitions[at] else {
                continue;
            };
            if acquisition.poll_timeout().is_none_or(|due| due > now) {
                continue;
            }
            match acquisition.phase {
                Phase::LocalSearch => self.search(now, at, Scope::Mesh),
                Phase::GlobalSearch => self.search(now, at, Scope::Registry),
                Phase::Fallback => {
                    self.mesh.doubt(acquisition.wanted.registry);
                    if acquisition.asked < ASKS {
                        self.search(now, at, Scope::Registry);
                    } else {
                        self.retry(at, Fault::Unreachable, None);
                        self.advance(now, at);
                    }
                }
                Phase::Metadata(_) => self.source_lost(now, at, true),
                Phase::Fetch(holder) => {
                    let transfer = acquisition.transfer.as_mut();
                    match transfer.map_or(Stall::Lost, |transfer| transfer.handle_timeout(now)) {
                        Stall::Waiting => {}
                        Stall::Ask => self.ask(now, at, holder),
                        Stall::Lost => self.source_lost(now, at, true),
                    }
                }
                Phase::Check | Phase::Acquired(_) | Phase::Failed(_) => {}
            }
            self.conclude(now, at);
        }
    }

    /// Drops the acquisition at `at` unless another job still waits for it.
    pub(super) fn abandon(&mut self, at: usize) {
        if !self.jobs.iter().any(|job| job.waits_for(at)) {
            self.give_up_bytes(at);
            self.acquisitions[at] = None;
        }
    }

    fn awaiting(&self, request: u16) -> Option<usize> {
        let awaits = |held: &Option<Acquisition>| held.as_ref().is_some_and(|a| a.awaits(request));
        self.acquisitions.iter().position(awaits)
    }

    /// Asks the neighbours, the mesh, or the registry.
    fn search(&mut self, now: Instant, at: usize, scope: Scope) {
        let request = self.new_request();
        let acquisition = self.acquisitions[at]
            .as_mut()
            .expect("callers name a held place");
        let (tasklet, registry) = (acquisition.wanted.tasklet, acquisition.wanted.registry);
        let mtu = self.mesh.smallest_mtu();
        let message = Message::Search(Search {
            tasklet,
            request,
            mtu,
        });
        let ttl_and_wait = match scope {
            Scope::Neighbours => Some((LOCAL_TTL, self.config.local_search)),
            Scope::Mesh => Some((MAX_TTL, self.config.global_search)),
            Scope::Registry => None,
        };
        if let Some((ttl, wait)) = ttl_and_wait {
            acquisition.wait(scope.phase(), request, now + wait);
            self.mesh.flood(now, ttl, message, &mut self.counters);
        } else {
            acquisition.asked += 1;
            let hops = self.mesh.hops(now, registry);
            let wait = hops.map_or(self.config.global_search, |hops| {
                patience(&self.config, hops)
            });
            acquisition.wait(scope.phase(), request, now + wait);
            self.mesh.send(now, registry, message, &mut self.counters);
        }
    }

    /// Goes to a holder: for metadata, or for the module at once.
    fn approach(&mut self, now: Instant, at: usize, holder: Holder) {
        if !self.config.ask_metadata {
            self.fetch(now, at, holder);
            return;
        }
        let request = self.new_request();
        let deadline = now + patience(&self.config, holder.hops);
        let acquisition = self.acquisitions[at]
            .as_mut()
            .expect("callers name a held place");
        acquisition.wait(Phase::Metadata(holder), request, deadline);
        let tasklet = acquisition.wanted.tasklet;
        let message = Message::MetadataRequest(MetadataRequest { tasklet, request });
        self.mesh.send(now, holder.id, message, &mut self.counters);
    }

    /// Makes room and asks for the module, or for the rest of it.
    fn fetch(&mut self, now: Instant, at: usize, holder: Holder) {
        let acquisition = self.acquisitions[at]
            .as_mut()
            .expect("callers name a held place");
        let wanted = acquisition.wanted;
        let here = acquisition.arriving.is_some();
        if !here && self.cache.make_room(wanted.size as usize).is_err() {
            self.retry(at, Fault::CacheFull, None);
            self.advance(now, at);
            return;
        }
        let part = Mesh::part_len(holder.mtu.min(self.mesh.smallest_mtu()));
        let acquisition = self.acquisitions[at]
            .as_mut()
            .expect("callers name a held place");
        match &mut acquisition.transfer {
            Some(transfer) => {
                self.counters.resumed_transfers += u64::from(transfer.prefix() > 0);
                transfer.resume_from(holder.id, part);
            }
            empty @ None => {
                let object = Object::Module(wanted.tasklet);
                *empty = Some(Transfer::new(object, holder.id, part, Some(wanted.size)));
            }
        }
        self.ask(now, at, holder);
    }

    fn ask(&mut self, now: Instant, at: usize, holder: Holder) {
        let request = self.new_request();
        let wait = patience(&self.config, holder.hops);
        let acquisition = self.acquisitions[at]
            .as_mut()
            .expect("callers name a held place");
        acquisition.wait(Phase::Fetch(holder), request, now + wait);
        let Some(transfer) = &mut acquisition.transfer else {
            return;
        };
        let fetch = transfer.ask(now, request, wait);
        self.mesh
            .send(now, holder.id, Message::Fetch(fetch), &mut self.counters);
    }

    /// Puts a part into the cache; false if there is no room any more.
    fn keep_part(&mut self, now: Instant, at: usize, data: &Data<'_>) -> bool {
        let acquisition = self.acquisitions[at]
            .as_mut()
            .expect("callers name a held place");
        let wanted = acquisition.wanted;
        if acquisition.arriving.is_none() {
            let begun = self.cache.begin(wanted.tasklet, wanted.size as usize, now);
            acquisition.arriving = begun.ok();
        }
        let Some(slot) = acquisition.arriving else {
            acquisition.transfer = None;
            return false;
        };
        self.cache.write(slot, data.offset as usize, data.bytes);
        true
    }

    /// All bytes are here: are they the right ones?
    fn finish_fetch(&mut self, now: Instant, at: usize, holder: Holder) {
        let acquisition = self.acquisitions[at]
            .as_mut()
            .expect("callers name a held place");
        let Some(slot) = acquisition.arriving.take() else {
            return;
        };
        if self.cache.finish(slot, &acquisition.wanted.digest) {
            acquisition.hops = holder.hops;
            acquisition.from_registry = holder.id == acquisition.wanted.registry;
            acquisition.phase = Phase::Acquired(slot);
        } else {
            acquisition.transfer = None;
            self.counters.digest_mismatches += 1;
            self.retry(at, Fault::DigestMismatch, Some(holder.id));
            self.advance(now, at);
        }
    }

    /// The source refused or fell silent: on with another holder, or with the next attempt. What
    /// has arrived stays.
    fn source_lost(&mut self, now: Instant, at: usize, silent: bool) {
        let acquisition = self.acquisitions[at]
            .as_mut()
            .expect("callers name a held place");
        let source = match acquisition.phase {
            Phase::Metadata(holder) | Phase::Fetch(holder) => holder.id,
            Phase::Fallback => acquisition.wanted.registry,
            Phase::Check
            | Phase::LocalSearch
            | Phase::GlobalSearch
            | Phase::Acquired(_)
            | Phase::Failed(_) => return,
        };
        if silent {
            self.mesh.doubt(source);
        }
        match acquisition.next_holder() {
            Some(holder) => self.approach(now, at, holder),
            None => {
                self.retry(at, Fault::Unreachable, Some(source));
                self.advance(now, at);
            }
        }
    }

    fn retry(&mut self, at: usize, fault: Fault, avoid: Option<NodeId>) {
        let acquisition = self.acquisitions[at]
            .as_mut()
            .expect("callers name a held place");
        acquisition.next_attempt(&self.config, fault, avoid);
    }

    fn give_up_bytes(&mut self, at: usize) {
        if let Some(acquisition) = &mut self.acquisitions[at] {
            acquisition.transfer = None;
            if let Some(slot) = acquisition.arriving.take() {
                self.cache.remove(slot);
            }
        }
    }

    /// Hands an ended acquisition to the jobs that wait for it.
    fn conclude(&mut self, now: Instant, at: usize) {
        let Some(acquisition) = self.acquisitions[at] else {
            return;
        };
        let result = match acquisition.phase {
            Phase::Acquired(slot) => Ok(slot),
            Phase::Failed(fault) => Err(fault),
            Phase::Check
            | Phase::LocalSearch
            | Phase::GlobalSearch
            | Phase::Fallback
            | Phase::Metadata(_)
            | Phase::Fetch(_) => return,
        };
        self.give_up_bytes(at);
        self.acquisitions[at] = None;
        for job in 0..self.jobs.len() {
            if self.jobs[job].waits_for(at) {
                self.acquired(now, job, &acquisition, result);
            }
        }
    }
}
