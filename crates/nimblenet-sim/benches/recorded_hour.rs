//! Hours of the paper's experiment: what a simulated message costs, and what a protocol sends.
//!
//! ```text
//! cargo bench -p nimblenet-sim --bench recorded_hour -- paper nimble
//! cargo bench -p nimblenet-sim --bench recorded_hour -- default lru 1..6
//! valgrind --tool=callgrind target/release/deps/recorded_hour-* paper nimble
//! ```
//! Arguments are a profile, a task set, an eviction policy, seeds of generated hours (without them
//! the recorded hour is run), nodes and robots (`nodes=768 robots=1280`), or `report` for the whole
//! report. `code=55` compresses modules to 55 % of their length, `size=8` makes them eight times as large,
//! `kbit=250` narrows the links, `without-prefetch` and the like take a part out. A line says for each hour what is the same in every run, and how long this one took.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::std_instead_of_alloc,
    clippy::disallowed_methods,
    reason = "a bench for an operating system; the clock is that of the person who waits"
)]

use core::time::Duration;

use nimblenet_core::{Config, Discovery, Eviction};
use nimblenet_sim::bound::Foreseen;
use nimblenet_sim::scenario::Scenario;
use nimblenet_sim::trace::Trace;
use nimblenet_sim::{Bandwidth, Run, Settings};
use nimblenet_tasklet::NodeId;

fn main() {
    let mut settings = Settings::default();
    let (mut seeds, mut full) = (None, false);
    let mut scenario = Scenario::default();
    let mut queue = 256 << 10;
    for given in std::env::args().skip(1) {
        settings.profile = given.parse().unwrap_or(settings.profile);
        settings.cut = given.parse().unwrap_or(settings.cut);
        settings.eviction = Eviction::named(&given).or(settings.eviction);
        full |= given == "report";
        if let Some((first, last)) = given.split_once("..") {
            seeds = Some(first.parse().unwrap()..=last.parse::<u64>().unwrap());
        }
        let number = |name: &str| given.strip_prefix(name).map(|it| it.parse().unwrap());
        scenario.floor.nodes = number("nodes=").unwrap_or(scenario.floor.nodes);
        scenario.robots.count = number("robots=").map_or(scenario.robots.count, u32::from);
        settings.link.loss = number("loss=").map_or(settings.link.loss, |it| f64::from(it) / 100.0);
        settings.cache_bytes = number("cache=").map_or(settings.cache_bytes, usize::from);
        settings.code_ratio = number("code=")
            .map(|it| f64::from(it) / 100.0)
            .or(settings.code_ratio);
        settings.announce = number("announce=")
            .map(|s| Duration::from_secs(s.into()))
            .or(settings.announce);
        settings.clients &= given != "without-clients";
        let part = given.strip_prefix("without-");
        if let Some(part) = part.filter(|part| *part != "clients") {
            let usual = || Config::new(NodeId(1), 1200).acquisition;
            let acquisition = settings.acquisition.get_or_insert_with(usual);
            match part {
                "prefetch" => acquisition.prefetch = false,
                "on-path" => acquisition.on_path = false,
                "keep-passing" => acquisition.keep_passing = false,
                "announce" => acquisition.announce = false,
                "adaptation" => acquisition.adapt = false,
                "merge" => acquisition.merge = false,
                "known" => acquisition.discovery = Discovery::Flood,
                _ => panic!("there is no part {part}"),
            }
        }
        queue = number("queue=").map_or(queue, u32::from);
        settings.link.bandwidth = number("kbit=")
            .map(|kbit| Bandwidth {
                bits_per_s: 1000 * u32::from(kbit),
                queue_bytes: queue,
                header_bytes: 28,
            })
            .or(settings.link.bandwidth);
        scenario.tasks.size_factor = number("size=").map_or(scenario.tasks.size_factor, f64::from);
        scenario.duration_s = number("seconds=").map_or(scenario.duration_s, f64::from);
    }
    let Some(seeds) = seeds else {
        let trace = Trace::read(include_bytes!("../traces/floor12-seed1.trace.json")).unwrap();
        hour(&trace, settings, full);
        return;
    };
    for seed in seeds {
        settings.seed = seed;
        hour(&scenario.trace(seed), settings, full);
    }
}

fn hour(trace: &Trace, settings: Settings, full: bool) {
    let began = std::time::Instant::now();
    let mut run = Run::new(trace, settings);
    run.advance(trace.duration());
    let took = began.elapsed();
    let report = run.report();
    let tasks = settings.cut.of(&trace.taskset);
    let foreseen = Foreseen::of(trace, &tasks, settings.cache_bytes as u64);
    println!(
        "{} modules came, {} if each node knew what it will want",
        report.messages_originated["data"], foreseen.modules
    );
    println!(
        "{} {} seed {}: {} B in {} packets, {:.3} x bound, node 1 {} B, acquisition {:.3} s, Jain {:.3}, {} of {} finished, {} failed, hash {}, {took:.2?}",
        report.profile,
        report.taskset,
        report.seed,
        report.air_bytes,
        report.air_packets,
        report.air_over_lower_bound.unwrap_or(f64::NAN),
        report.tx_bytes[&1],
        report.mean_acquisition_s.unwrap_or(f64::NAN),
        report.jain_txrx,
        report.finished_by_end,
        report.triggered,
        report.failed,
        report.event_log_hash,
    );
    if full {
        println!("{}", serde_json::to_string_pretty(&report).unwrap());
    }
}
