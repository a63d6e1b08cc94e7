//! The resources that clients observe: who observes which, and when to ask the daemon next.

use alloc::collections::BTreeMap;
use core::time::Duration;

use nimblenet_core::Instant;

use super::RequestId;
use crate::daemon::api::{Seen, Watched};

/// The least time between two questions about calls, however fast they change.
const CALLS_PERIOD: Duration = Duration::from_millis(100);
/// The time between two questions about a node's numbers, which always change.
const STATUS_PERIOD: Duration = Duration::from_secs(5);

/// The watched resources. The endpoint asks the daemon once for all clients of a resource.
#[derive(Default, Debug)]
pub(super) struct Watches(BTreeMap<Watched, Watch>);

#[derive(Debug)]
struct Watch {
    clients: Vec<RequestId>,
    seen: Option<Seen>,
    /// When the daemon is asked next; nothing while it is being asked.
    ask_at: Option<Instant>,
}

impl Watches {
    /// Adds a client, which was told of the state `seen`.
    pub(super) fn add(
        &mut self,
        now: Instant,
        watched: Watched,
        client: RequestId,
        seen: Option<Seen>,
    ) {
        let watch = self.0.entry(watched).or_insert(Watch {
            clients: Vec::new(),
            seen,
            ask_at: Some(now + period(watched)),
        });
        watch.clients.push(client);
    }

    /// The clients to tell of a change. `last` ends the watch.
    pub(super) fn changed(
        &mut self,
        now: Instant,
        watched: Watched,
        seen: Option<Seen>,
        last: bool,
    ) -> Vec<RequestId> {
        if last {
            let watch = self.0.remove(&watched);
            return watch.map_or(Vec::new(), |watch| watch.clients);
        }
        let Some(watch) = self.0.get_mut(&watched) else {
            return Vec::new();
        };
        watch.seen = seen;
        watch.ask_at = Some(now + period(watched));
        watch.clients.clone()
    }

    /// When [`due`](Self::due) has the next question.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.0.values().filter_map(|watch| watch.ask_at).min()
    }

    /// The questions to ask the daemon now. Forgets clients that are not `interested` any more, and
    /// resources that nobody watches.
    pub(super) fn due(
        &mut self,
        now: Instant,
        interested: impl Fn(RequestId) -> bool,
    ) -> Vec<(Watched, Option<Seen>)> {
        let mut due = Vec::new();
        self.0.retain(|watched, watch| {
            if watch.ask_at.is_none_or(|at| at > now) {
                return true;
            }
            watch.clients.retain(|client| interested(*client));
            if watch.clients.is_empty() {
                return false;
            }
            watch.ask_at = None;
            due.push((*watched, watch.seen));
            true
        });
        due
    }
}

fn period(watched: Watched) -> Duration {
    match watched {
        Watched::Status => STATUS_PERIOD,
        Watched::Jobs | Watched::Job(_) => CALLS_PERIOD,
    }
}
