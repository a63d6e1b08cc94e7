//! What an operator is told without asking: neighbours that come and go, links that swallow long frames,
//! another node that has this node's id, and catalogues that contradict each other. Each is one line in
//! the log.

use alloc::collections::{BTreeMap, BTreeSet};
use core::cmp::Ordering;
use core::time::Duration;

use nimblenet_core::{DropReason, Instant, Node};
use nimblenet_tasklet::{Name, NamespaceId, NodeId};

/// How often there is a look.
const LOOK: Duration = Duration::from_secs(1);
/// How often a second node with the same id is spoken of.
const REPEAT: Duration = Duration::from_secs(60);

/// What was told.
#[derive(Debug)]
pub(super) struct Notices {
    next_look: Instant,
    neighbours: BTreeSet<NodeId>,
    /// Neighbours from which long frames do not come, and the longest ones that do.
    narrow: BTreeMap<NodeId, u16>,
    /// Frames with this node's id, as far as they were spoken of.
    own_id: u64,
    own_id_again: Instant,
}

/// Something to tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Notice {
    Came(NodeId),
    Gone(NodeId),
    Narrow(NodeId, u16),
    OwnId,
}

impl Default for Notices {
    fn default() -> Self {
        Self {
            next_look: Instant::ZERO,
            neighbours: BTreeSet::new(),
            narrow: BTreeMap::new(),
            own_id: 0,
            own_id_again: Instant::ZERO,
        }
    }
}

impl Notices {
    /// When to look next.
    pub(super) fn due(&self) -> Instant {
        self.next_look
    }

    /// Looks at the node, if it is time to, and tells what is new.
    pub(super) fn look(&mut self, now: Instant, node: &Node) {
        if now < self.next_look {
            return;
        }
        self.next_look = now + LOOK;
        let own_id = node.counters().dropped(DropReason::OwnId);
        let narrow = self.narrower(node.narrow(now).collect());
        let news = self.news(now, node.neighbours().collect(), own_id);
        for notice in news.into_iter().chain(narrow) {
            match notice {
                Notice::Came(id) => tracing::warn!(node = id.0, "a neighbour is there"),
                Notice::Gone(id) => tracing::warn!(node = id.0, "a neighbour is gone"),
                Notice::Narrow(id, bytes) => tracing::warn!(
                    node = id.0,
                    bytes,
                    "longer frames than these do not come over this neighbour: a lower `mtu` there saves time"
                ),
                Notice::OwnId => tracing::warn!(
                    id = node.id().0,
                    "another node has the id of this one: give one of them another `id`"
                ),
            }
        }
    }

    /// What is new among the neighbours from which long frames do not come.
    fn narrower(&mut self, narrow: BTreeMap<NodeId, u16>) -> Vec<Notice> {
        let new = narrow
            .iter()
            .filter(|(id, bytes)| self.narrow.get(id) != Some(bytes));
        let new = new.map(|(id, bytes)| Notice::Narrow(*id, *bytes)).collect();
        self.narrow = narrow;
        new
    }

    fn news(&mut self, now: Instant, neighbours: BTreeSet<NodeId>, own_id: u64) -> Vec<Notice> {
        let came = neighbours.difference(&self.neighbours).copied();
        let gone = self.neighbours.difference(&neighbours).copied();
        let mut news: Vec<_> = came.map(Notice::Came).collect();
        news.extend(gone.map(Notice::Gone));
        self.neighbours = neighbours;
        if own_id > self.own_id && now >= self.own_id_again {
            self.own_id_again = now + REPEAT;
            self.own_id = own_id;
            news.push(Notice::OwnId);
        }
        news
    }
}

/// Another node holds what contradicts the catalogue that is here.
pub(super) struct Contradicted {
    pub(super) namespace: NamespaceId,
    pub(super) node: NodeId,
    /// The epoch that the other node holds.
    pub(super) epoch: u32,
    /// The epoch that is here.
    pub(super) held: u32,
}

impl Contradicted {
    /// Tells the operator. `names` are those of the namespaces that are known here.
    pub(super) fn tell<'n>(&self, mut names: impl Iterator<Item = &'n Name>) {
        let Self {
            node, epoch, held, ..
        } = *self;
        let name = names.find(|name| NamespaceId::of(name) == self.namespace);
        let namespace = match name {
            Some(name) => name.to_string(),
            None => format!("{:#010x}", self.namespace.0),
        };
        let what = match epoch.cmp(&held) {
            Ordering::Equal => "a node has other content than this one in the same epoch",
            Ordering::Less => "the registry is behind this node",
            Ordering::Greater => "this registry is behind a node",
        };
        tracing::warn!(
            %namespace,
            node = node.0,
            epoch,
            held,
            "{what}: the registry has lost or changed what it had; `nimblenet history {namespace}` \
             shows how it is, and docs/operating.md, \"A registry that lost something\", the way back"
        );
    }
}

#[cfg(test)]
mod tests {
    use alloc::sync::Arc;
    use std::io::{self, Write};
    use std::sync::Mutex;

    use nimblenet_core::{Config, Input, LinkAddress, LinkConfig, LinkId};

    use super::*;

    fn news(notices: &mut Notices, seconds: u64, ids: &[u16], own_id: u64) -> Vec<Notice> {
        let now = Instant::from_micros(seconds * 1_000_000);
        notices.news(now, ids.iter().copied().map(NodeId).collect(), own_id)
    }

    #[test]
    fn neighbours_are_told_of_once_when_they_come_and_once_when_they_go() {
        let mut notices = Notices::default();
        let told = news(&mut notices, 0, &[3, 7], 0);
        assert_eq!(told, [Notice::Came(NodeId(3)), Notice::Came(NodeId(7))]);
        assert_eq!(news(&mut notices, 1, &[3, 7], 0), []);
        let told = news(&mut notices, 2, &[7, 9], 0);
        assert_eq!(told, [Notice::Came(NodeId(9)), Notice::Gone(NodeId(3))]);
    }

    /// A log in memory.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_neighbour_that_comes_and_goes_is_a_line_each_at_the_default_level() {
        let mut nodes = [1, 2].map(|id| {
            let mut config = Config::new(NodeId(id), 256);
            config.links = vec![LinkConfig::new(256)];
            Node::new(config).unwrap()
        });
        let at = |seconds: u64| Instant::from_micros(seconds * 1_000_000);
        let mut frame = [0; 256];
        nodes[1].handle(at(1), Input::Timeout);
        let hello = nodes[1]
            .poll_transmit(at(1), LinkId(0), &mut frame)
            .unwrap();
        nodes[0].handle(
            at(1),
            Input::Frame {
                link: LinkId(0),
                from: LinkAddress(0),
                bytes: &frame[..hello.len],
            },
        );
        let log = Log::default();
        let written = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .with_ansi(false)
            .with_writer(move || written.clone())
            .finish();
        // With one subscriber alone, `tracing` asks the thread that comes to a line first, of another
        // test perhaps, whether anybody wants the line.
        let _another = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new());
        tracing::subscriber::with_default(subscriber, || {
            let mut notices = Notices::default();
            for seconds in 1..600 {
                nodes[0].handle(at(seconds), Input::Timeout);
                notices.look(at(seconds), &nodes[0]);
            }
        });
        let log = log.0.lock().unwrap();
        let log = core::str::from_utf8(&log).unwrap();
        let lines: Vec<_> = log.lines().collect();
        assert_eq!(lines.len(), 2, "{log}");
        assert!(lines[0].contains("WARN") && lines[0].ends_with("a neighbour is there node=2"));
        assert!(lines[1].contains("WARN") && lines[1].ends_with("a neighbour is gone node=2"));
    }

    #[test]
    fn a_second_node_with_this_id_is_told_of_at_most_once_a_minute() {
        let mut notices = Notices::default();
        assert_eq!(news(&mut notices, 5, &[], 1), [Notice::OwnId]);
        assert_eq!(news(&mut notices, 6, &[], 9), []);
        assert_eq!(news(&mut notices, 65, &[], 9), [Notice::OwnId]);
        assert_eq!(news(&mut notices, 130, &[], 9), []);
    }
}
