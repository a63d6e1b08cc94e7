//! Links that spoil frames, as short stories.
#![allow(clippy::unwrap_used)]

use core::time::Duration;

use nimblenet_core::Config;
use nimblenet_sim::{Draft, Layout, LinkModel, Net, Publisher, SimExecutor, TimedExecutor};
use nimblenet_tasklet::NodeId;

const SECOND: Duration = Duration::from_secs(1);
/// How many chains there are, each of two modules that no other has.
const CHAINS: u16 = 27;

fn shop() -> Vec<(Publisher, Vec<Draft>)> {
    let work = |number| {
        let module = TimedExecutor::module(&[2000], 300);
        Draft::new(&format!("work-{number}"), module, "func()")
    };
    let chain = |number| {
        let module = TimedExecutor::module(&[1000, 1000], 200);
        let chain = Draft::new(&format!("chain-{number}"), module, "func()");
        chain.calling(&format!("shop/work-{number}"), "func()")
    };
    let drafts = (0..CHAINS).map(work).chain((0..CHAINS).map(chain));
    vec![(Publisher::new("shop"), drafts.collect())]
}

fn timed(_: NodeId) -> Box<dyn SimExecutor> {
    Box::new(TimedExecutor::default())
}

fn net(seed: u64, layout: &Layout, model: LinkModel, configure: impl Fn(&mut Config)) -> Net {
    Net::new(seed, layout, model, shop(), configure, timed)
}

fn quick() -> LinkModel {
    LinkModel::perfect(Duration::from_millis(5))
}

/// Calls a chain that nobody has called before at each node in turn; how long those took that had a
/// result.
fn cold_chains(net: &mut Net, nodes: u16, count: u16) -> Vec<Duration> {
    let mut took = Vec::new();
    for number in 0..count {
        let end = net.run_call(1 + number % nodes, &format!("shop/chain-{number}"));
        if end.result.is_ok() {
            took.push(end.took);
        }
    }
    took.sort_unstable();
    took
}

#[test]
fn fault_11_wrong_bits_cost_no_more_than_lost_frames() {
    for corruption in [0.03, 0.1] {
        let model = LinkModel {
            corruption,
            ..quick()
        };
        for seed in 1..=3 {
            let checked = |config: &mut Config| config.links[0].checksum = true;
            let mut net = net(seed, &Layout::grid(3, 3), model, checked);
            net.run_for(20 * SECOND);
            let took = cold_chains(&mut net, 9, CHAINS);
            assert!(net.fates().corrupted > 10);
            assert_eq!(took.len(), 27, "{corruption} {seed}");
        }
    }
}
