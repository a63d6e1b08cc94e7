//! How a board starts: reads what the previous program has left, and makes the board's node.

use alloc::vec::Vec;

use nimblenet_core::cache::Disk;
use nimblenet_core::{Config, Limits, LinkConfig, NamespaceConfig, Node, Pace, Placement};
use nimblenet_tasklet::{NamespaceId, NodeId};

use crate::PLACES;
use crate::coap::MAX_EXCHANGES;
use crate::crash::{Crash, Kept};
use crate::framing::MAX_FRAME_BYTES;
use crate::ledger::BoardLedger;
use crate::provision::{Policy, Provision};

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
    /// Takes what the previous program left in `kept`, and the packet numbers that follow its own from
    /// `ledger`. Without a ledger they begin anywhere. `hungry` says that the watchdog has reset the
    /// previous program; `random` gives bits that differ from start to start.
    pub fn new(
        kept: &mut Kept,
        hungry: bool,
        random: impl Fn() -> u32,
        ledger: Option<&mut BoardLedger>,
    ) -> Self {
        let fresh = random();
        Self {
            first_sequence: ledger.map_or(fresh, |ledger| ledger.begin(fresh)),
            seed: u64::from(random()) << 32 | u64::from(random()),
            crash: kept.take(hungry),
        }
    }
}

/// A serial line: its frames have a checksum of their own.
pub const LINE: LinkConfig = LinkConfig::new(MAX_FRAME_BYTES as u16);

/// A network on which a frame is a datagram.
pub const NETWORK: LinkConfig = LINE.with_checksum();

/// The node of a board with these links. It keeps modules and catalogues on `disk`, which has at
/// most [`DISK_BYTES`], and tells its registry of the crash before this start.
///
/// Without a record that it can use, a board forwards frames under a random id, and runs nothing. It takes
/// no catalogue that is older than one that its ledger knows; without a ledger, whose numbers were lost,
/// none at all, and tells its registry so.
///
/// # Panics
/// If the heap has no room for the node, or a record has what [`Config::check`] refuses.
#[must_use]
pub fn node(
    boot: &Boot,
    record: Option<Provision>,
    links: &[LinkConfig],
    disk: &'static mut [u8],
    mut ledger: Option<&mut BoardLedger>,
) -> Node {
    let pace = record.as_ref().and_then(Provision::pace);
    let policy = record.as_ref().and_then(Provision::policy);
    let (id, namespaces) = match record {
        Some(record) => (record.id(), record.into_namespaces()),
        None => (NodeId(boot.seed as u16 & 0x7fff), Vec::new()),
    };
    let mut config = config(id, namespaces, links, boot.first_sequence, boot.seed);
    config.pace = pace.unwrap_or(config.pace);
    if PLACES {
        place_calls(&mut config, policy.unwrap_or(Policy::LeastWork));
    }
    share_catalogues(&mut config, disk.len());
    let mut node = Node::with_disk(config, Disk::from(disk));
    let lost = ledger.is_none().then_some(Crash::LEDGER_DAMAGED);
    if let Some(crash) = lost.or(boot.crash) {
        crash.report(boot.first_sequence, |report| node.report(report));
    }
    for at in 0..node.config().namespaces.len() {
        let id = NamespaceId::of(&node.config().namespaces[at].name);
        let floor = ledger.as_mut().map_or(u32::MAX, |ledger| ledger.floor(id));
        node.set_floor(id, floor);
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

/// How much fuel a board is taken to use in a millisecond until it has seen that: a guess, an instruction in a
/// microsecond.
const FUEL_MS: u32 = 1000;

/// Has calls of the board's clients run where the policy says.
fn place_calls(config: &mut Config, policy: Policy) {
    config.placement = policy.placement();
    config.fuel_ms = FUEL_MS;
    if policy == Policy::LeastWork {
        // A call that runs elsewhere keeps a place here, and clients have at most so many calls in progress.
        config.limits.jobs += MAX_EXCHANGES;
    }
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
    use nimblenet_tasklet::{Capabilities, Delta, Name, Work};

    use super::*;
    use crate::crash::Places;
    use crate::ledger::{Flash, Keep as _, Ledger, PAGE_WORDS, SECTOR_BYTES, SECTORS, WORD_BYTES};

    const LINKS: [LinkConfig; 2] = [LINE; 2];

    /// Flash that is never cut.
    struct Sectors([[u32; SECTOR_BYTES / WORD_BYTES]; SECTORS]);

    impl Flash for Sectors {
        fn read(&self, sector: usize, at: usize) -> u32 {
            self.0[sector][at / WORD_BYTES]
        }
        fn erase(&mut self, sector: usize) {
            self.0[sector].fill(u32::MAX);
        }
        fn program(&mut self, sector: usize, at: usize, page: &[u32; PAGE_WORDS]) {
            for (word, new) in self.0[sector][at / WORD_BYTES..].iter_mut().zip(page) {
                *word &= new;
            }
        }
    }

    fn ledger() -> Ledger<Sectors> {
        Ledger::open(Sectors([[u32::MAX; SECTOR_BYTES / WORD_BYTES]; SECTORS])).unwrap()
    }

    /// Starts a board; its random numbers rise from 0x640000.
    fn boot_with(kept: &mut Kept, hungry: bool, ledger: Option<&mut BoardLedger>) -> Boot {
        let next = Cell::new(100 << 16);
        let random = || next.replace(next.get() + (1 << 16));
        Boot::new(kept, hungry, random, ledger)
    }

    fn boot(kept: &mut Kept, hungry: bool) -> Boot {
        boot_with(kept, hungry, Some(&mut ledger()))
    }

    fn started(boot: &Boot, record: Option<Provision>) -> Node {
        started_with(boot, record, Some(&mut ledger()))
    }

    fn started_with(
        boot: &Boot,
        record: Option<Provision>,
        ledger: Option<&mut BoardLedger>,
    ) -> Node {
        let disk = Box::leak(vec![0; DISK_BYTES].into_boxed_slice());
        node(boot, record, &LINKS, disk, ledger)
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
    struct Reports(Cause, u32);

    impl Driver for Reports {
        fn transmit(&mut self, _: Instant, _: Transmit, frame: &[u8]) {
            let message = Frame::parse(frame).unwrap().message;
            if let Message::Report(report) = message {
                assert_eq!(report.cause, self.0);
                self.1 += 1;
            }
        }
        fn work(&mut self, _: Instant, _: ExecutorId, _: Work<'_>) {}
        fn event(&mut self, _: Instant, _: Event<'_>) {}
    }

    /// Reports of a cause, and no other, that a node sends in its first seconds.
    fn reports(mut node: Node, cause: Cause) -> u32 {
        let (mut now, mut driver) = (Instant::ZERO, Reports(cause, 0));
        while now < Instant::from_micros(10_000_000) {
            let mut frame = [0; MAX_FRAME_BYTES];
            let next = pump(&mut node, now, Input::Timeout, &mut driver, &mut frame);
            (now, _) = next.expect("there is always another hello");
        }
        driver.1
    }

    #[test]
    fn packet_numbers_rise_with_the_ledger_and_begin_anywhere_without_one() {
        let (mut kept, mut ledger) = (Kept::NOTHING, ledger());
        let mut start = || boot_with(&mut kept, false, Some(&mut ledger));
        assert_eq!(start().first_sequence, 100 << 16);
        let second = start();
        assert_eq!(second.first_sequence, 102 << 16);
        assert_eq!((second.seed, second.crash), (101 << 48 | 102 << 16, None));
        let lost = boot_with(&mut kept, false, None);
        assert_eq!(lost.first_sequence, 100 << 16);
    }

    #[test]
    fn att_32_a_restarted_board_takes_no_older_catalogue_and_without_a_ledger_none() {
        let (mut kept, mut ledger) = (Kept::NOTHING, ledger());
        let id = NamespaceId::of(&Name::new("shop").unwrap());
        ledger.raise(id, 7);
        let takes = |node: &mut Node, epoch: u32| {
            // A catalogue without entries, whose signature is checked elsewhere.
            let mut bytes = b"\x86\x64shop\x00\x1a".to_vec();
            bytes.extend(epoch.to_be_bytes());
            if let Ok(small) = u8::try_from(epoch) {
                bytes.splice(7.., [small]);
            }
            bytes.extend([0x00, 0x58, 64]);
            bytes.extend([0; 64]);
            bytes.push(0x80);
            let delta = Delta::decode(&bytes).unwrap();
            node.install(Instant::ZERO, &delta).is_ok()
        };
        let boot = boot(&mut kept, false);
        let mut node = started_with(&boot, Some(record()), Some(&mut ledger));
        assert!(!takes(&mut node, 6) && takes(&mut node, 7));
        let mut lost = started_with(&boot, Some(record()), None);
        assert!(!takes(&mut lost, 7) && !takes(&mut lost, u32::MAX - 1));
        assert_eq!(lost.id(), NodeId(7), "it still passes frames on");
        assert!(reports(lost, Cause::LedgerDamaged) > 0);
    }

    #[test]
    fn a_board_is_who_its_record_says() {
        let boot = boot(&mut Kept::NOTHING.clone(), false);
        assert_eq!(started(&boot, Some(record())).id(), NodeId(7));
    }

    #[test]
    fn the_record_says_where_calls_run_if_the_image_places_any() {
        let boot = boot(&mut Kept::NOTHING.clone(), false);
        let placement = |record: Provision| {
            let node = started(&boot, Some(record));
            (node.config().placement.name, node.config().limits.jobs)
        };
        let records = [
            record(),
            record().with_policy(Policy::Here),
            record().with_policy(Policy::LeastWork),
        ];
        let jobs = Limits::board().jobs;
        let (here, least_work) = (("here", jobs), ("least-work", jobs + MAX_EXCHANGES));
        let expected = match PLACES {
            true => [least_work, here, least_work],
            false => [here; 3],
        };
        assert_eq!(records.map(placement), expected);
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
        assert_eq!(started(&boot, None).id(), NodeId(0));
    }

    #[test]
    fn the_registry_is_told_of_the_crash_before() {
        let mut kept = Kept::NOTHING;
        let first = boot(&mut kept, false);
        kept.crash(Cause::Panic, 1, 1_234_567, &Places::default());
        let second = boot(&mut kept, false);
        assert_eq!(reports(started(&first, Some(record())), Cause::Panic), 0);
        assert!(reports(started(&second, Some(record())), Cause::Panic) > 0);
    }
}
