//! Registries that lose or change what they had, and the way back, as short stories.
#![allow(clippy::unwrap_used)]

use core::time::Duration;

use nimblenet_sim::{Draft, Layout, LinkModel, Net, Publisher, SimExecutor, TimedExecutor};
use nimblenet_tasklet::{Name, NamespaceId, NodeId};

const SECOND: Duration = Duration::from_secs(1);
/// Nodes in a row behind the registry.
const NODES: u16 = 6;

fn timed(_: NodeId) -> Box<dyn SimExecutor> {
    Box::new(TimedExecutor::default())
}

/// Tasklets with these names, whose modules differ by `version`.
fn drafts(names: &[&str], version: u8) -> Vec<Draft> {
    let draft = |name: &&str| {
        let mut module = TimedExecutor::module(&[2000], 100);
        *module.last_mut().unwrap() = version;
        Draft::new(name, module, "func()")
    };
    names.iter().map(draft).collect()
}

/// A row of nodes that have been at epoch 3 for so long that hellos are rare.
fn settled(loss: f64) -> Net {
    let link = LinkModel {
        loss,
        ..LinkModel::perfect(Duration::from_millis(5))
    };
    let shelves = vec![(Publisher::new("shop"), drafts(&["rms", "peak"], 1))];
    let mut net = Net::new(1, &Layout::line(NODES), link, shelves, |_| {}, timed);
    for version in 2..4 {
        net.run_for(20 * SECOND);
        net.publish("shop", &drafts(&["rms", "peak"], version));
    }
    net.run_for(600 * SECOND);
    assert_eq!(epochs(&net), [3; NODES as usize]);
    assert_eq!(contradictions(&net), [0; NODES as usize]);
    net
}

fn shop() -> NamespaceId {
    NamespaceId::of(&Name::new("shop").unwrap())
}

fn epochs(net: &Net) -> Vec<u32> {
    let epoch = |id| net.node(id).catalogue(shop()).unwrap().epoch();
    (1..=NODES).map(epoch).collect()
}

fn contradictions(net: &Net) -> Vec<u64> {
    let counted = |id| net.node(id).counters().contradictions;
    (1..=NODES).map(counted).collect()
}

/// The disks with which the registry comes back: nothing, an older backup, and other content under the
/// same epoch, with other names for the numbers.
fn disks() -> [Vec<Vec<Draft>>; 3] {
    let old = vec![drafts(&["rms", "peak"], 1)];
    let other = (7..10).map(|version| drafts(&["mean", "rms", "peak"], version));
    [Vec::new(), old, other.collect()]
}

#[test]
fn fault_04_every_node_tells_within_20_s_that_its_registry_has_lost_or_changed_something() {
    for loss in [0.0, 0.2] {
        for disk in disks() {
            let mut net = settled(loss);
            net.replace_disk(&[("shop", &disk)]);
            net.run_for(20 * SECOND);
            let counted = contradictions(&net);
            let epoch = disk.len();
            assert!(
                counted.iter().all(|count| *count > 0),
                "epoch {epoch}, loss {loss}: {counted:?}"
            );
            assert_eq!(epochs(&net), [3; NODES as usize], "nobody goes back");
        }
    }
}

#[test]
fn fault_04_a_higher_epoch_with_all_entries_leads_every_node_back() {
    for disk in disks().into_iter().filter(|disk| !disk.is_empty()) {
        let mut net = settled(0.0);
        net.replace_disk(&[("shop", &disk)]);
        net.run_for(60 * SECOND);
        net.publish_again("shop", 4);
        net.run_for(20 * SECOND);
        assert_eq!(epochs(&net), [4; NODES as usize]);
        let root = |id| net.node(id).catalogue(shop()).unwrap().root();
        assert!((1..=NODES).all(|id| root(id) == root(0)));
        for id in 1..=NODES {
            let end = net.run_call(id, "shop/rms");
            assert!(end.result.is_ok(), "{end:?}");
        }
        // Later epochs are ordinary ones.
        net.publish("shop", &drafts(&["rms"], 77));
        net.run_for(20 * SECOND);
        assert_eq!(epochs(&net), [5; NODES as usize]);
        let before = contradictions(&net);
        net.run_for(600 * SECOND);
        assert_eq!(contradictions(&net), before, "nothing contradicts any more");
    }
}

#[test]
fn a_registry_that_restarts_or_publishes_contradicts_nobody() {
    for loss in [0.0, 0.3] {
        let mut net = settled(loss);
        for version in 4..12 {
            net.publish("shop", &drafts(&["rms", "peak"], version));
            net.run_for(Duration::from_millis(500));
            net.crash(0);
            net.run_for(SECOND);
            net.restart(0);
            net.run_for(SECOND / 2);
        }
        net.run_for(100 * SECOND);
        assert_eq!(epochs(&net), [11; NODES as usize]);
        assert_eq!(contradictions(&net), [0; NODES as usize]);
    }
}

#[test]
fn a_registry_that_has_started_anew_soon_knows_again_who_holds_what() {
    for (loss, within) in [(0.0, 30), (0.05, 240)] {
        let mut net = settled(loss);
        net.crash(0);
        net.run_for(SECOND);
        net.restart(0);
        let since = net.now();
        let knows = |net: &Net| net.announced(0, since).len() == usize::from(NODES);
        assert!(
            net.run_until(within * SECOND, knows),
            "loss {loss}: {:?}",
            net.announced(0, since)
        );
        let told = net.announced(0, since);
        assert!(told.iter().all(|(_, epoch)| *epoch == 3), "{told:?}");
    }
}
