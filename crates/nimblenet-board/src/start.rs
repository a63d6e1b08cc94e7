//! How a board starts: reads what the previous program has left, and makes the board's node.

use alloc::vec::Vec;

use nimblenet_core::cache::Disk;
use nimblenet_core::{Config, Limits, LinkConfig, NamespaceConfig, Node, Pace, Placement};
use nimblenet_tasklet::NodeId;

use crate::crash::{Crash, Kept};
use crate::framing::MAX_FRAME_BYTES;
use crate::provision::Provision;

/// How the board has started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Boot {
    /// The first packet number to use.
    pub first_sequence: u32,
    /// Seed of random numbers.
    pub seed: u64,
    /// What ended the previous program, if that is known.
    pub crash: Option<Crash>,
}

impl Boot {
    /// Takes what the previous program left in `kept`, and begins the record of this one there.
    /// `hungry` says that the watchdog has reset the previous program; `random` gives bits that
    /// differ from start to start.
    pub fn new(kept: &mut Kept, hungry: bool, random: impl Fn() -> u32) -> Self {
        let before = kept.take(hungry);
        let fresh = random();
        let (first_sequence, crash) = match before {
            Some(before) => (next_run(before.sequence), before.crash),
            None => (fresh, None),
        };
        kept.begin(first_sequence);
        Self {
            first_sequence,
            seed: u64::from(random()) << 32 | u64::from(random()),
            crash,
        }
    }
}

/// The first packet number of a program whose predecessor has come to `before`: so far ahead that others
/// see that the board has restarted.
fn next_run(before: u32) -> u32 {
    const COUNT_BITS: u32 = 16;
    (before >> COUNT_BITS).wrapping_add(2) << COUNT_BITS
}

/// A serial line: its frames have a checksum of their own.
pub const LINE: LinkConfig = LinkConfig::new(MAX_FRAME_BYTES as u16);

/// A network on which a frame is a datagram.
pub const NETWORK: LinkConfig = LINE.with_checksum();

/// The node of a board with these links. It keeps modules and catalogues on `disk`, which has at
/// most [`DISK_BYTES`], and tells its registry of the crash before this start.
///
/// Without a record that it can use, a board forwards frames under a random id, and runs nothing.
///
/// # Panics
/// If the heap has no room for the node, or a record has what [`Config::check`] refuses.
#[must_use]
pub fn node(
    boot: &Boot,
    record: Option<Provision>,
    links: &[LinkConfig],
    disk: &'static mut [u8],
) -> Node {
    let pace = record.as_ref().and_then(Provision::pace);
    let (id, namespaces) = match record {
        Some(record) => (record.id(), record.into_namespaces()),
        None => (NodeId(boot.seed as u16 & 0x7fff), Vec::new()),
    };
    let mut config = config(id, namespaces, links, boot.first_sequence, boot.seed);
    config.pace = pace.unwrap_or(config.pace);
    share_catalogues(&mut config, disk.len());
    let mut node = Node::with_disk(config, Disk::from(disk));
    if let Some(crash) = boot.crash {
        crash.report(boot.first_sequence, |report| node.report(report));
    }
    node
}

/// Bytes of a board's disk, where no radio needs the memory: modules and objects on their way, the
/// entries of catalogues, and one job on its way.
pub const DISK_BYTES: usize = 74 << 10;

/// The configuration of the node `id` with these links.
pub(crate) fn config(
    id: NodeId,
    namespaces: Vec<NamespaceConfig>,
    links: &[LinkConfig],
    first_sequence: u32,
    seed: u64,
) -> Config {
    let mut config = Config::new(id, LINE.mtu);
    config.placement = Placement::HERE;
    config.links = links.to_vec();
    config.namespaces = namespaces;
    config.pace = Pace::BOARD;
    config.first_sequence = first_sequence;
    config.seed = seed;
    config.limits = Limits::board();
    config
}

/// Gives the catalogues, in equal shares, what a disk of `disk` bytes has besides modules and the
/// job on its way.
fn share_catalogues(config: &mut Config, disk: usize) {
    let shares = config.namespaces.len().max(1);
    let limits = &mut config.limits;
    let bytes = disk.saturating_sub(limits.cache_bytes + limits.image_bytes);
    limits.catalogue.bytes = bytes.min(limits.catalogue.bytes) / shares;
    limits.catalogue.entries /= shares;
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;
    use alloc::vec;
    use core::cell::Cell;

    use nimblenet_core::wire::{Cause, Frame, Message};
    use nimblenet_core::{Driver, Event, ExecutorId, Input, Instant, Transmit, pump};
    use nimblenet_tasklet::{Capabilities, Name, Work};

    use super::*;
    use crate::crash::Places;

    const LINKS: [LinkConfig; 2] = [LINE; 2];

    /// Starts a board; its random numbers rise from 100.
    fn boot(kept: &mut Kept, hungry: bool) -> Boot {
        let next = Cell::new(100);
        Boot::new(kept, hungry, || next.replace(next.get() + 1))
    }

    fn started(boot: &Boot, record: Option<Provision>) -> Node {
        let disk = Box::leak(vec![0; DISK_BYTES].into_boxed_slice());
        node(boot, record, &LINKS, disk)
    }

    fn record() -> Provision {
        let shop = NamespaceConfig {
            name: Name::new("shop").unwrap(),
            registry: NodeId(1),
            key: [7; 32],
            capabilities: Capabilities::NONE,
            stays: false,
        };
        Provision::new(NodeId(7), vec![shop]).unwrap()
    }

    /// Counts reports among the frames that a node sends.
    #[derive(Default)]
    struct Reports(u32);

    impl Driver for Reports {
        fn transmit(&mut self, _: Instant, _: Transmit, frame: &[u8]) {
            let message = Frame::parse(frame).unwrap().message;
            if let Message::Report(report) = message {
                assert_eq!(report.cause, Cause::Panic);
                self.0 += 1;
            }
        }
        fn work(&mut self, _: Instant, _: ExecutorId, _: Work<'_>) {}
        fn event(&mut self, _: Instant, _: Event<'_>) {}
    }

    /// Reports that a node sends in its first seconds.
    fn reports(mut node: Node) -> u32 {
        let (mut now, mut driver) = (Instant::ZERO, Reports::default());
        while now < Instant::from_micros(10_000_000) {
            let mut frame = [0; MAX_FRAME_BYTES];
            let next = pump(&mut node, now, Input::Timeout, &mut driver, &mut frame);
            (now, _) = next.expect("there is always another hello");
        }
        driver.0
    }

    #[test]
    fn packet_numbers_go_on_where_the_program_before_ended() {
        let mut kept = Kept::NOTHING;
        let first = boot(&mut kept, false);
        assert_eq!((first.first_sequence, first.crash), (100, None));
        assert_eq!(first.seed, 101 << 32 | 102);
        kept.go_on(5000);
        let second = boot(&mut kept, false);
        assert_eq!(second.first_sequence, 2 << 16);
        assert_eq!(second.crash, None);
    }

    #[test]
    fn a_board_is_who_its_record_says() {
        let boot = boot(&mut Kept::NOTHING.clone(), false);
        assert_eq!(started(&boot, Some(record())).id(), NodeId(7));
    }

    #[test]
    fn the_cache_has_what_the_limits_say() {
        let limits = Limits::board();
        let others = limits.catalogue.bytes + limits.image_bytes;
        assert_eq!(limits.cache_bytes + others, DISK_BYTES);
        let boot = boot(&mut Kept::NOTHING.clone(), false);
        let node = started(&boot, Some(record()));
        assert_eq!(node.cache().capacity(), limits.cache_bytes);
    }

    #[test]
    fn a_board_without_a_record_takes_a_drawn_number() {
        let boot = boot(&mut Kept::NOTHING.clone(), false);
        assert_eq!(started(&boot, None).id(), NodeId(102));
    }

    #[test]
    fn the_registry_is_told_of_the_crash_before() {
        let mut kept = Kept::NOTHING;
        let first = boot(&mut kept, false);
        kept.crash(Cause::Panic, 1, 1_234_567, &Places::default());
        let second = boot(&mut kept, false);
        assert_eq!(reports(started(&first, Some(record()))), 0);
        assert!(reports(started(&second, Some(record()))) > 0);
    }
}
