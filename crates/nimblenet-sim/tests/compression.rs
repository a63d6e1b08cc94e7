//! Compressed modules, told as short stories in virtual time.
#![allow(clippy::unwrap_used, clippy::std_instead_of_alloc)]

use core::time::Duration;

use nimblenet_core::publication::new_dictionary;
use nimblenet_core::{Config, Source};
use nimblenet_sim::{
    Device, Draft, Finished, Layout, LinkModel, Net, Publisher, SimExecutor, TimedExecutor,
    WasmExecutor,
};
use nimblenet_tasklet::{Area, Fault, NamespaceId, NodeId, Package};

const SECOND: Duration = Duration::from_secs(1);
/// What the contents of all modules are pieces of.
const COMMON: &[u8] = b"Much of what compilers write is the same in every module that they make.";

/// A tasklet that works for these milliseconds, with calls in between.
fn timed(name: &str, millis: &[u32], len: usize) -> Draft {
    let micros: Vec<u32> = millis.iter().map(|it| it * 1000).collect();
    let mut module = TimedExecutor::module(&micros, 0);
    let code = COMMON.iter().cycle().take(len - module.len());
    module.extend(code);
    Draft::new(name, module, "func()")
}

fn shop() -> Vec<Draft> {
    vec![
        timed("rms", &[2], 110),
        timed("fft", &[2], 2500),
        timed("check", &[1, 1], 200).calling("shop/rms", "func()"),
        timed("long", &[500, 500], 300).calling("shop/rms", "func()"),
        timed("tiny", &[1], 16),
    ]
}

fn net(seed: u64, layout: &Layout, configure: impl Fn(&mut Config)) -> Net {
    let publisher = Publisher::new("shop").compressing(COMMON.to_vec());
    let executor = |_: NodeId| -> Box<dyn SimExecutor> { Box::new(TimedExecutor::default()) };
    let shelves = vec![(publisher, shop())];
    let mut net = Net::new(seed, layout, LinkModel::PAPER, shelves, configure, executor);
    net.run_for(30 * SECOND);
    net
}

fn steps(finished: &Finished) -> Vec<(String, Source)> {
    assert_eq!(finished.result, Ok(vec![0x80]), "{finished:?}");
    let steps = finished.steps.iter();
    steps
        .map(|(name, source)| (name.name.to_string(), *source))
        .collect()
}

/// Bytes of the modules in a node's cache.
fn cached(net: &Net, node: u16) -> u32 {
    net.node(node).cache().modules().map(|it| it.bytes).sum()
}

fn assert_at_rest(net: &Net, node: u16) {
    let cache = net.node(node).cache();
    assert_eq!(cache.reservations(), 0);
    assert_eq!(cache.used() as u32, cached(net, node), "no copy is left");
}

#[test]
fn the_first_call_acquires_the_dictionary_and_modules_stay_compressed_in_the_cache() {
    let mut net = net(1, &Layout::pair(), |_| {});
    let registry = |name: &str| (name.to_owned(), Source::Registry);
    let first = steps(&net.run_call(2, "shop/check"));
    assert_eq!(first, ["dictionary", "check", "rms"].map(registry));
    assert!(
        cached(&net, 2) < COMMON.len() as u32 + 80,
        "{}",
        cached(&net, 2)
    );
    assert_at_rest(&net, 2);
    let local = |name: &str| (name.to_owned(), Source::Local);
    let second = steps(&net.run_call(2, "shop/check"));
    assert_eq!(second, ["check", "rms"].map(local));
    // What would be longer compressed is published as it is, and needs no dictionary.
    let id = NamespaceId::of(&"shop".parse().unwrap());
    let tiny = net.node(2).catalogue(id).unwrap();
    let tiny = tiny.find(&"tiny".parse().unwrap()).unwrap();
    assert_eq!((tiny.size, tiny.compression), (16, None));
}

#[test]
fn a_node_serves_compressed_modules_and_their_dictionary_to_its_neighbour() {
    let mut net = net(2, &Layout::line(3), |_| {});
    net.run_call(2, "shop/check");
    net.run_for(30 * SECOND);
    net.crash(0);
    let call = steps(&net.run_call(3, "shop/check"));
    assert!(
        call.iter().all(|(_, source)| *source == Source::Neighbour),
        "{call:?}"
    );
    assert_eq!(call.len(), 3);
    assert_at_rest(&net, 3);
}

#[test]
fn a_module_that_has_no_room_when_it_is_expanded_fails_its_call_and_leaves_nothing() {
    let small = |config: &mut Config| config.limits.cache_bytes = 1000;
    let mut net = net(3, &Layout::pair(), small);
    let call = net.run_call(2, "shop/fft");
    assert_eq!(call.result, Err(Fault::CacheFull));
    assert_at_rest(&net, 2);
    assert_eq!(steps(&net.run_call(2, "shop/check")).len(), 2);
    assert_at_rest(&net, 2);
}

#[test]
fn jobs_in_a_cache_with_hardly_any_room_all_end_and_take_nothing_with_them() {
    let tight = |config: &mut Config| config.limits.cache_bytes = 700;
    let mut net = net(4, &Layout::line(3), tight);
    let names = [
        "shop/long",
        "shop/check",
        "shop/fft",
        "shop/tiny",
        "shop/rms",
    ];
    let calls: Vec<_> = (0..20)
        .filter_map(|at| {
            net.run_for(SECOND / 9);
            net.call(3, names[at % names.len()], &[0x80]).ok()
        })
        .collect();
    for call in calls {
        net.run_until_finished(3, call);
    }
    net.run_for(10 * SECOND);
    assert_at_rest(&net, 3);
}

#[test]
fn a_job_moves_to_a_node_that_has_neither_its_module_nor_the_dictionary() {
    let mut net = net(5, &Layout::line(3), |_| {});
    let call = net.call(2, "shop/long", &[0x80]).unwrap();
    net.run_for(SECOND);
    assert!(net.finished(2, call).is_none());
    net.move_call(2, call, 3).unwrap();
    let moved = net.run_until_finished(2, call);
    assert_eq!(moved.result, Ok(vec![0x80]));
    assert_eq!(net.moves(2), [Ok(())]);
    assert!(cached(&net, 3) > COMMON.len() as u32);
    for node in [2, 3] {
        assert_at_rest(&net, node);
    }
}

#[test]
fn a_dictionary_of_real_tasklets_pays_and_they_compute_what_they_did() {
    let packed = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tasklets/packed/");
    let names = [
        "rms", "peak", "mean", "crest", "slope", "zscore", "window", "biquad",
    ];
    let files = names.map(|it| std::fs::read(format!("{packed}std-{it}.nnp")).unwrap());
    let packages: Vec<_> = files
        .iter()
        .map(|it| Package::decode(it).unwrap())
        .collect();
    let drafts = packages.iter().map(|package| {
        let terms = package.terms;
        let signature = terms.export("").unwrap().signature.to_string();
        let name = package.name.name.to_string();
        let mut draft = Draft::new(&name, package.module.to_vec(), &signature);
        draft.memory_bytes = terms.memory_bytes;
        draft.area = Area { ..terms.area };
        draft
    });
    let publisher = Publisher::new("std");
    let dictionary = new_dictionary(publisher.catalogue(), &packages).unwrap();
    let publisher = publisher.compressing(dictionary);
    let shelves = vec![(publisher, drafts.collect())];
    let executor = |_: NodeId| -> Box<dyn SimExecutor> {
        Box::new(WasmExecutor::new(1 << 20, 100_000, Device::default()))
    };
    let layout = Layout::line(3);
    let mut net = Net::new(6, &layout, LinkModel::PAPER, shelves, |_| {}, executor);
    net.run_for(30 * SECOND);
    // The CBOR array of one list: [[3.0, -3.0, 3.0]].
    let args = [
        0x81, 0x83, 0xfa, 0x40, 0x40, 0, 0, 0xfa, 0xc0, 0x40, 0, 0, 0xfa, 0x40, 0x40, 0, 0,
    ];
    let three = vec![0x81, 0xfa, 0x40, 0x40, 0, 0];
    for name in ["std/rms", "std/peak", "std/rms"] {
        assert_eq!(net.run_call_with(3, name, &args).result, Ok(three.clone()));
    }
    assert_at_rest(&net, 3);
}
