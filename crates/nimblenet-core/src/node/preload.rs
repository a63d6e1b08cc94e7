//! Preloading: everything that a chain may call is acquired before it starts (the paper's
//! section 4.1).

use nimblenet_tasklet::Executor;

use super::Node;
use crate::job::State;
use crate::time::Instant;

impl Node {
    /// Lists every version that the top tasklet may call, directly or not.
    pub(super) fn list_preload(&mut self, at: usize) {
        let limit = self.config.limits.preload;
        let mut next = 0;
        let Some(top) = self.jobs[at].top() else {
            return;
        };
        let own = top.entry().reference(top.namespace);
        let mut listed = core::mem::take(&mut self.jobs[at].preload);
        listed.push((own, None));
        while let Some((tasklet, _)) = listed.get(next).copied() {
            next += 1;
            let Some(held) = self.subscription(tasklet.namespace) else {
                continue;
            };
            let Some(entry) = self.entry_for(at, held, tasklet.number) else {
                continue;
            };
            for import in entry.imports() {
                let Some(held) = self.subscription(import.namespace) else {
                    continue;
                };
                let Some(callee) = self.entry_for(at, held, import.number) else {
                    continue;
                };
                let callee = callee.reference(import.namespace);
                let known = listed.iter().any(|(other, _)| *other == callee);
                if !known && listed.len() < limit {
                    listed.push((callee, None));
                }
            }
        }
        // The job's own tasklet is acquired as always.
        listed.remove(0);
        self.jobs[at].preload = listed;
    }

    /// Acquires what the preload list names from `item` on, then the job's own tasklet.
    pub(super) fn preload_next(&mut self, now: Instant, at: usize, item: usize) {
        for item in item..self.jobs[at].preload.len() {
            let (tasklet, _) = self.jobs[at].preload[item];
            let held = self.subscription(tasklet.namespace);
            let entry = held.and_then(|held| self.entry_for(at, held, tasklet.number));
            let wasm = entry.filter(|entry| entry.terms.executor == Executor::Wasm);
            let wanted = wasm.map(|entry| self.wanted(tasklet.namespace, &entry));
            let Some(Ok(wanted)) = wanted else { continue };
            if let Ok(acquisition) = self.acquire(now, wanted) {
                self.jobs[at].state = State::Preloading {
                    at: item,
                    acquisition,
                };
                self.advance(now, acquisition);
                return;
            }
        }
        self.begin_top(now, at);
    }

    /// Takes back what was preloaded; false if there is nothing to take back.
    pub(super) fn release_preload(&mut self, at: usize) -> bool {
        let mut released = false;
        for (_, slot) in self.jobs[at].preload.drain(..) {
            released |= slot.is_some();
            slot.into_iter().for_each(|slot| self.cache.release(slot));
        }
        released
    }
}
