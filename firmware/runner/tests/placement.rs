//! Boards that place calls: real images on emulated MPS2 boards, each a neighbour of all others, and robots that
//! all call at the first one.
//!
//! QEMU runs these boards in real time, so responses are measured with this machine's clock. What is called sleeps:
//! then a loaded machine makes no call longer, and only responses of one run are compared.
//!
//! `cargo xtask runner` sets `MPS2_AN385` to the image.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod people;
mod qemu;
mod robot;
mod tap;

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::thread;

use people::{Place, Process, REGISTRY, daemon, free, nimblenet, soon};
use qemu::{HOST, Mps2};
use robot::Robot;
use tap::Tap;

/// Sleeps for 0.4 seconds, and returns one more than twice its argument.
const NAP: &str = r#"(module
    (import "nimblenet:clock" "sleep-us" (func $sleep (param i32)))
    (memory 1)
    (func (export "run") (param $n i32) (result i32)
        (call $sleep (i32.const 400000))
        (i32.add (i32.shl (local.get $n) (i32.const 1)) (i32.const 1))))"#;
/// Robots at the first board, as many as a board serves at a time.
const ROBOTS: u32 = 8;
/// How often each of them calls.
const CALLS: u32 = 3;

/// Boards, each of which is a neighbour of all others and of the registry.
struct Mesh {
    /// Where calls of each board's own are made.
    at: Vec<SocketAddr>,
    boards: Vec<Process>,
    _registry: Process,
    _taps: Vec<Tap>,
    _place: Place,
}

impl Mesh {
    /// A board for each of `capabilities`, which its tasklets may have; `policy` says where calls run.
    fn new(policy: &str, capabilities: &[&str]) -> Self {
        let place = Place::new();
        let key = place.path("shop.key");
        let [mesh] = free();
        let frames: Vec<SocketAddr> = capabilities.iter().map(|_| one()).collect();
        let at: Vec<SocketAddr> = capabilities.iter().map(|_| one()).collect();
        let mut taps = Vec::new();
        let mut heard: Vec<Vec<u16>> = vec![Vec::new(); frames.len()];
        let mut neighbours = Vec::new();
        for (number, own) in frames.iter().enumerate() {
            let tap = Tap::new(*own, mesh);
            heard[number].push(tap.back.port());
            neighbours.push(format!("\"{}\"", tap.front));
            taps.push(tap);
            for (other, address) in frames.iter().enumerate().skip(number + 1) {
                let tap = Tap::new(*own, *address);
                heard[number].push(tap.back.port());
                heard[other].push(tap.front.port());
                taps.push(tap);
            }
        }
        let registry = place.write(
            "registry.toml",
            &format!(
                "id = {REGISTRY}\nlisten = \"{mesh}\"\ncoap = \"127.0.0.1:0\"\ndata = \"{}\"\n\
                 claim = true\nneighbours = [{}]\nmtu = 256\n",
                place.path("data"),
                neighbours.join(", "),
            ),
        );
        let (registry, coap) = daemon(&["registry", "--config", &registry]);
        let needs = "capabilities = [\"clock\"]";
        let package = place.package("shop/nap", "func(n: u32) -> u32", &[], needs, NAP);
        let publish = [
            "publish",
            "--plain",
            "--registry",
            &coap,
            "--key",
            &key,
            &package,
        ];
        nimblenet(&publish).unwrap();

        let mut boards = Vec::new();
        for (number, granted) in capabilities.iter().enumerate() {
            let id = (number + 1).to_string();
            let record = place.path(&format!("board-{id}"));
            let shop = format!("shop={key}@{REGISTRY}:{granted}");
            let mut provision = vec!["provision", "--id", &id, "-o", &record];
            provision.extend(["--namespace", &shop, "--raw", "--ethernet"]);
            provision.extend(["--placement", policy]);
            let hosts = heard[number].iter().map(|port| format!("{HOST}:{port}"));
            let hosts: Vec<String> = hosts.collect();
            for host in &hosts {
                provision.extend(["--neighbour", host]);
            }
            nimblenet(&provision).unwrap();
            let board = Mps2 {
                record: &record,
                frames: frames[number],
                calls: at[number],
                debugger: None,
            };
            boards.push(board.start());
        }
        let mesh = Self {
            at,
            boards,
            _registry: registry,
            _taps: taps,
            _place: place,
        };
        // Who has run it once has its module, and knows how long it takes.
        for (at, _) in mesh
            .at
            .iter()
            .zip(capabilities)
            .filter(|it| it.1.contains("clock"))
        {
            soon("it serves", || nap(&Robot::new(*at), 0).0);
        }
        mesh
    }

    /// What each board has counted.
    fn count(&self) -> Counted {
        let status = |at: &SocketAddr| -> BTreeMap<String, u64> {
            soon("it tells its counters", || Robot::new(*at).status())
        };
        let told: Vec<_> = self.at.iter().map(status).collect();
        let of = |name: &str| told.iter().map(|counters| counters[name]).collect();
        Counted {
            calls: of("calls"),
            completed: of("completed"),
            failed: of("failed"),
            placed: of("placed"),
        }
    }

    /// Has so many robots call at the first board at the same time, each so often; returns what came of each call.
    fn rush(&self, robots: u32, calls: u32) -> Vec<(Result<u32, String>, Duration)> {
        let at = self.at[0];
        let robot = |number: u32| {
            thread::spawn(move || {
                let robot = Robot::new(at);
                let numbers = (0..calls).map(|call| number * calls + call);
                numbers.map(|it| nap(&robot, it)).collect::<Vec<_>>()
            })
        };
        let robots: Vec<_> = (0..robots).map(robot).collect();
        let ended = robots.into_iter().map(|robot| robot.join().unwrap());
        ended.flatten().collect()
    }
}

/// Counters of all boards, the first one's first.
struct Counted {
    calls: Vec<u64>,
    completed: Vec<u64>,
    failed: Vec<u64>,
    placed: Vec<u64>,
}

impl Counted {
    /// What they have counted since then.
    fn since(&self, then: &Self) -> Self {
        let grown = |now: &[u64], then: &[u64]| {
            now.iter().zip(then).map(|(now, then)| now - then).collect()
        };
        Self {
            calls: grown(&self.calls, &then.calls),
            completed: grown(&self.completed, &then.completed),
            failed: grown(&self.failed, &then.failed),
            placed: grown(&self.placed, &then.placed),
        }
    }
}

/// A free address of this machine.
fn one() -> SocketAddr {
    let [one] = free();
    one
}

/// Calls the tasklet, and checks its result.
fn nap(robot: &Robot, number: u32) -> (Result<u32, String>, Duration) {
    let (result, took) = robot.call(["shop", "nap"], number);
    if let Ok(result) = result {
        assert_eq!(result, 2 * number + 1);
    }
    (result, took)
}

/// What four boards make of the same calls under a policy: the mean response, and how many of the calls each of
/// them has run.
fn hot_spot(policy: &str) -> (Duration, Vec<u64>) {
    let mesh = Mesh::new(policy, &["clock"; 4]);
    if policy == "least-work" {
        // A neighbour takes calls once it has told how long work waits there.
        soon("every neighbour takes calls", || {
            let before = mesh.count();
            mesh.rush(ROBOTS, 1);
            let calls = mesh.count().since(&before).calls;
            let all = calls.iter().all(|calls| *calls > 0);
            all.then_some(()).ok_or(format!("{calls:?}"))
        });
    }
    let before = mesh.count();
    let ended = mesh.rush(ROBOTS, CALLS);
    let Counted {
        calls,
        completed,
        failed,
        placed,
    } = mesh.count().since(&before);
    let made = u64::from(ROBOTS * CALLS);
    assert!(ended.iter().all(|(result, _)| result.is_ok()), "{ended:?}");
    // Each call ran once: a board that ran one for another has counted it, and no call was counted twice.
    assert_eq!((calls[0], placed[0]), (made, calls[1..].iter().sum()));
    assert_eq!((&completed, failed), (&calls, vec![0; 4]));
    assert_eq!(placed[1..], [0; 3]);
    let mean = ended.iter().map(|(_, took)| *took).sum::<Duration>() / ended.len() as u32;
    let mut ran = calls;
    ran[0] -= placed[0];
    println!("{policy}: mean response {mean:.2?}, calls that each board ran {ran:?}");
    (mean, ran)
}

#[test]
fn calls_that_all_come_to_one_board_are_spread_over_its_neighbours() {
    let (here, ran) = hot_spot("here");
    assert_eq!(ran[1..], [0; 3]);
    let (spread, ran) = hot_spot("least-work");
    let elsewhere: u64 = ran[1..].iter().sum();
    assert!(3 * elsewhere >= u64::from(ROBOTS * CALLS), "{ran:?}");
    assert!(ran.iter().all(|ran| *ran > 0), "{ran:?}");
    let ratio = spread.as_secs_f64() / here.as_secs_f64();
    println!("least-work has {ratio:.2} times the mean response of here");
    assert!(ratio < 0.7, "{ratio}");
}

#[test]
fn a_call_that_a_neighbour_refuses_runs_where_it_came_and_who_dies_takes_only_what_it_had() {
    // The second board lets no tasklet read its clock, and so can run none of the calls.
    let mut mesh = Mesh::new("least-work", &["clock", "log", "clock"]);
    let before = mesh.count();
    soon("both neighbours are asked", || {
        let ended = mesh.rush(ROBOTS, 1);
        assert!(ended.iter().all(|(result, _)| result.is_ok()), "{ended:?}");
        let calls = mesh.count().since(&before).calls;
        let both = calls[1] > 0 && calls[2] > 0;
        both.then_some(()).ok_or(format!("{calls:?}"))
    });
    let now = mesh.count();
    let Counted {
        calls,
        completed,
        failed,
        placed,
    } = now.since(&before);
    println!("calls of each board {calls:?}, refused {failed:?}");
    assert_eq!(completed, [calls[0], 0, calls[2]]);
    assert_eq!(failed, [0, calls[1], 0]);
    assert_eq!(placed[0], calls[1] + calls[2]);

    let third = mesh.boards.pop();
    let ended = thread::scope(|scope| {
        let rush = scope.spawn(|| mesh.rush(ROBOTS, 1));
        soon("the third board works", || {
            let calls = Robot::new(mesh.at[2]).status()?["calls"];
            let works = calls > now.calls[2];
            works.then_some(()).ok_or(calls.to_string())
        });
        drop(third);
        rush.join().unwrap()
    });
    let faults: Vec<&String> = ended.iter().filter_map(|it| it.0.as_ref().err()).collect();
    println!("with a board {} of {ROBOTS} calls were lost", faults.len());
    assert!(!faults.is_empty(), "it has died while it ran some");
    assert!(faults.iter().all(|it| *it == "unreachable"), "{faults:?}");

    // Nothing is placed at a board that does not answer, or that has refused.
    let placed = || Robot::new(mesh.at[0]).status().unwrap()["placed"];
    let before = placed();
    let ended = mesh.rush(ROBOTS, 1);
    assert!(ended.iter().all(|(result, _)| result.is_ok()), "{ended:?}");
    assert_eq!(placed(), before);
}
