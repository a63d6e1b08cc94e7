//! Which node may run a call, and which one can: constraints that no placement policy overrides.
#![allow(clippy::unwrap_used)]

use core::time::Duration;

use nimblenet_core::place::{Decision, Facts, Place};
use nimblenet_core::{Config, Placement};
use nimblenet_sim::{Device, Draft, Layout, LinkModel, Net, Publisher, SimExecutor, WasmExecutor};
use nimblenet_tasklet::{Capabilities, Capability, Fault, NodeId};

/// Calls its import and adds one to the result.
const ONE_MORE: &str = r#"(module
    (import "shop/scale" "run" (func $scale (result i32)))
    (func (export "run") (result i32) (i32.add (i32.const 1) (call $scale))))"#;

const SEVEN: &str = r#"(module (func (export "run") (result i32) (i32.const 7)))"#;

/// A policy that sends away whatever it is asked about.
static AWAY: Placement = Placement {
    name: "away",
    policy: &Away,
};

struct Away;

impl Place for Away {
    fn place(&self, facts: &Facts<'_>) -> Decision {
        facts
            .first_neighbour()
            .map_or(Decision::Here, Decision::Send)
    }
}

fn draft(name: &str, wat: &str) -> Draft {
    Draft::new(name, wat::parse_str(wat).unwrap(), "func() -> s32")
}

/// Nodes 1 to 3 in a line behind the registry; those in `scales` have the native tasklet `shop/scale`, which
/// returns the node's id.
fn net(seed: u64, scales: &'static [u16], configure: impl Fn(&mut Config)) -> Net {
    let mut reads = draft("reads", SEVEN);
    reads.capabilities = Capabilities::NONE.with(Capability::Sensor);
    let mut bound_scale = Draft::new("lamp", Vec::new(), "func() -> s32").native();
    bound_scale.capabilities = Capabilities::NONE.with(Capability::Actuator);
    let drafts = vec![
        draft("seven", SEVEN),
        draft("one-more", ONE_MORE).calling("shop/scale", "func() -> s32"),
        Draft::new("scale", Vec::new(), "func() -> s32").native(),
        reads,
        draft("asks-reader", SEVEN).calling("shop/reads", "func() -> s32"),
        draft("asks-lamp", SEVEN).calling("shop/lamp", "func() -> s32"),
        bound_scale,
    ];
    let shelves = vec![(Publisher::new("shop"), drafts)];
    let executor = |id: NodeId| -> Box<dyn SimExecutor> {
        let mut device = Device::default();
        if scales.contains(&id.0) {
            device = device.with("shop/scale", &[0x81, id.0 as u8]);
        }
        Box::new(WasmExecutor::new(1 << 20, 100_000, device))
    };
    let layout = Layout::line(3);
    let mut net = Net::new(
        seed,
        &layout,
        LinkModel::PAPER,
        shelves,
        configure,
        executor,
    );
    net.run_for(Duration::from_secs(60));
    net
}

fn placed(net: &Net) -> u64 {
    net.nodes().map(|node| node.counters().placed).sum()
}

#[test]
fn a_call_that_needs_what_this_node_lacks_goes_to_a_neighbour_that_has_it() {
    for placement in Placement::ALL.iter().copied() {
        let mut net = net(1, &[3], |config| config.placement = placement);
        let end = net.run_call(2, "shop/one-more");
        if placement.policy.needs_facts() {
            assert_eq!(end.result, Ok(vec![0x81, 4]), "{placement:?}");
            assert_eq!(placed(&net), 1, "{placement:?}");
            let native = net.run_call(2, "shop/scale");
            assert_eq!(native.result, Ok(vec![0x81, 3]), "{placement:?}");
        } else {
            assert_eq!(end.result, Err(Fault::NoExecutor));
        }
        // Where it runs anyway, nobody is asked.
        let own = net.run_call(3, "shop/one-more");
        assert_eq!(own.result, Ok(vec![0x81, 4]), "{placement:?}");
        assert!(placed(&net) <= 2, "{placement:?}");
    }
}

#[test]
fn a_call_that_no_neighbour_can_run_fails_here_and_says_what_is_missing() {
    let mut net = net(2, &[3], |_| {});
    let end = net.run_call(1, "shop/one-more");
    assert_eq!(end.result, Err(Fault::NoExecutor));
    assert_eq!(placed(&net), 0);
}

#[test]
fn a_neighbour_that_has_lost_a_native_tasklet_refuses_and_the_next_one_runs_the_call() {
    let mut net = net(3, &[1, 3], |config| config.placement = &AWAY);
    // Node 1 takes the call of node 2 first, since its id is lower.
    let first = net.run_call(2, "shop/one-more");
    assert_eq!(first.result, Ok(vec![0x81, 2]));
    net.restrict(1, &[]);
    let second = net.run_call(2, "shop/one-more");
    assert_eq!(second.result, Ok(vec![0x81, 4]), "node 3 has run it");
    let completed = |id| net.node(id).counters().completed;
    assert_eq!((completed(1), completed(3)), (1, 1));
    assert!(
        net.node(1).counters().failed > 0,
        "node 1 was asked and refused"
    );
}

#[test]
fn what_reads_a_sensor_or_drives_an_actuator_runs_on_the_node_that_was_called() {
    let mut net = net(4, &[1, 2, 3], |config| config.placement = &AWAY);
    for name in ["shop/reads", "shop/asks-reader", "shop/asks-lamp"] {
        let end = net.run_call(2, name);
        assert_eq!(end.result.map(|_| ()), Ok(()), "{name}");
        assert_eq!(placed(&net), 0, "{name}");
    }
    net.run_call(2, "shop/seven").result.unwrap();
    assert_eq!(placed(&net), 1, "others leave");
}

#[test]
fn calls_of_a_namespace_that_stays_leave_the_node_only_if_they_name_another() {
    let mut net = net(5, &[1, 2, 3], |config| {
        config.placement = &AWAY;
        for namespace in &mut config.namespaces {
            namespace.stays = config.id == NodeId(2);
        }
    });
    net.run_call(2, "shop/seven").result.unwrap();
    assert_eq!(placed(&net), 0);
    let named = net.call_at(2, 3, "shop/seven", &[0x80]).unwrap();
    net.run_until_finished(2, named).result.unwrap();
    assert_eq!(net.node(3).counters().completed, 1);
    // Whoever places a call of it there runs it after all.
    net.run_call(3, "shop/seven").result.unwrap();
    assert_eq!(placed(&net), 1);
    assert_eq!(net.node(3).counters().completed, 2);
}
