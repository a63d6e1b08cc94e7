//! Publishing and withdrawing when answers are lost, tasklets are called, or a part of it fails.
#![allow(clippy::unwrap_used)]

extern crate alloc;

mod processes;

use alloc::sync::Arc;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::net::UdpSocket;
use std::thread;

use processes::{ADD, Bench, Daemon, add, fail, nimblenet, registry_port, succeed};
use serde_json::Value as Json;

/// The number of the method PUT in a CoAP message (RFC 7252 section 12.1.1).
const PUT: u8 = 3;

/// A network between a client and a registry that loses the answers to PUT requests with a body of
/// CBOR, as many messages of them as it is told.
struct Lossy {
    address: SocketAddr,
    lost: Arc<AtomicUsize>,
}

impl Lossy {
    fn new(registry: SocketAddr, messages: usize) -> Self {
        let front = UdpSocket::bind("127.0.0.1:0").unwrap();
        let back = UdpSocket::bind("127.0.0.1:0").unwrap();
        back.connect(registry).unwrap();
        back.set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        let (address, lost) = (front.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let count = lost.clone();
        thread::spawn(move || {
            let mut buffer = [0; 2048];
            let mut losing = Vec::new();
            while let Ok((len, client)) = front.recv_from(&mut buffer) {
                let request = &buffer[..len];
                let id = [request[2], request[3]];
                // A publication goes to `r`; modules go to `m`.
                let publishes = request[1] == PUT && request.windows(2).any(|it| it == b"\xb1r");
                if publishes && !losing.contains(&id) && losing.len() < messages {
                    losing.push(id);
                }
                back.send(request).unwrap();
                let Ok(len) = back.recv(&mut buffer) else {
                    continue;
                };
                if losing.contains(&id) {
                    count.fetch_add(1, Ordering::Relaxed);
                } else {
                    front.send_to(&buffer[..len], client).unwrap();
                }
            }
        });
        Self { address, lost }
    }
}

#[test]
fn a_publication_whose_answer_is_lost_is_given_again() {
    let bench = Bench::new();
    let registry = bench.registry();
    let lossy = Lossy::new(registry.coap, 1);
    let module = bench.package("shop/add", ADD, &add(0), &[]);
    let (address, key) = (lossy.address.to_string(), bench.path("shop.key"));
    let publish = ["publish", &module, "--registry", &address, "--key", &key];
    let said = succeed(&[&publish[..], &["--timeout", "6"]].concat());
    assert!(said.contains("epoch 1"), "{said}");
    assert!(lossy.lost.load(Ordering::Relaxed) > 0, "an answer was lost");
    let listed = succeed(&["ls", "--registry", &registry.coap.to_string(), "--json"]);
    let listed: Json = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["namespaces"][0]["epoch"], 1, "it is published once");
}

#[test]
fn a_registry_that_starts_anew_within_an_upload_gets_it_from_the_beginning() {
    let bench = Bench::new();
    let port = registry_port();
    let listen = format!("127.0.0.1:{port}");
    let data = bench.path("data");
    let start = || Daemon::start(&["registry", "--listen", &listen, "--data", &data]);
    let mut registry = Some(start());
    let front = UdpSocket::bind("127.0.0.1:0").unwrap();
    let back = UdpSocket::bind("127.0.0.1:0").unwrap();
    back.connect(&listen).unwrap();
    back.set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    front
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let address = front.local_addr().unwrap().to_string();
    let wat = format!(
        "(module (memory 1) (data (i32.const 0) \"{}\") (func (export \"run\") (param i32 i32) \
         (result i32) (local.get 0)))",
        (0..4000)
            .map(|at| format!("\\{:02x}", at * 7 % 251))
            .collect::<String>()
    );
    let package = bench.package("shop/long", ADD, &wat, &[]);
    let key = bench.path("shop.key");
    let publish = [
        "publish",
        &package,
        "--registry",
        &address,
        "--key",
        &key,
        "--plain",
    ];
    let said = thread::scope(|scope| {
        let client = scope.spawn(|| {
            let said = succeed(&[&publish[..], &["--timeout", "15"]].concat());
            // A last datagram ends the network.
            let end = UdpSocket::bind("127.0.0.1:0").unwrap();
            end.send_to(b"end", &address).unwrap();
            said
        });
        let mut buffer = [0; 2048];
        let mut blocks = Vec::new();
        while let Ok((len, client)) = front.recv_from(&mut buffer) {
            if &buffer[..len] == b"end" {
                break;
            }
            let id = [buffer[2], buffer[3]];
            if buffer[1] == PUT && len > 500 && !blocks.contains(&id) {
                blocks.push(id);
                if blocks.len() == 2 {
                    registry.take().unwrap().kill();
                    registry = Some(start());
                }
            }
            back.send(&buffer[..len]).unwrap();
            if let Ok(len) = back.recv(&mut buffer) {
                front.send_to(&buffer[..len], client).unwrap();
            }
        }
        assert!(
            blocks.len() > 5,
            "it was uploaded in blocks, and again: {}",
            blocks.len()
        );
        client.join().unwrap()
    });
    assert!(said.contains("epoch 1"), "{said}");
    registry.unwrap().terminate();
}

#[test]
fn whoever_does_not_hear_whether_it_is_published_is_told_so() {
    let bench = Bench::new();
    let registry = bench.registry();
    let lossy = Lossy::new(registry.coap, usize::MAX);
    let module = bench.package("shop/add", ADD, &add(0), &[]);
    let (address, key) = (lossy.address.to_string(), bench.path("shop.key"));
    let publish = ["publish", &module, "--registry", &address, "--key", &key];
    let json = [&publish[..], &["--timeout", "4", "--json"]].concat();
    let output = nimblenet(&json);
    assert_eq!(output.status.code(), Some(1));
    let document: Json = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["error"]["code"], "outcome-unknown", "{document}");
    assert!(lossy.lost.load(Ordering::Relaxed) > 1, "answers were lost");
    let direct = registry.coap.to_string();
    let again = ["publish", &module, "--registry", &direct, "--key", &key];
    assert!(succeed(&again).contains("nothing new, still at epoch 1"));
}

#[test]
fn an_error_says_which_namespaces_were_published_before_it() {
    let bench = Bench::new();
    let daemon = bench.registry();
    let registry = daemon.coap.to_string();
    let key = bench.path("shop.key");
    let other = bench.path("std.key");
    succeed(&["keygen", "-o", &other]);
    let held = bench.package("std/held", ADD, &add(1), &[]);
    bench.publish(&registry, &[&held], &other).unwrap();
    // `lab` comes before `std`, which belongs to somebody else.
    let ours = bench.package("lab/add", ADD, &add(0), &[]);
    let theirs = bench.package("std/add", ADD, &add(0), &[]);
    let publish = [
        "publish",
        &ours,
        &theirs,
        "--registry",
        &registry,
        "--key",
        &key,
    ];
    let output = nimblenet(&publish);
    assert_eq!(output.status.code(), Some(1));
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(out.contains("lab: epoch 1"), "{out}");
    assert!(
        err.contains("publishing std") && err.contains("unknown-key"),
        "{err}"
    );
}

#[test]
fn a_withdrawn_tasklet_is_gone_until_it_is_published_again() {
    let bench = Bench::new();
    let registry = bench.registry();
    let (address, key) = (registry.coap.to_string(), bench.path("shop.key"));
    let add = bench.package("shop/add", ADD, &add(0), &[]);
    let publish = ["publish", &add, "--registry", &address, "--key", &key];
    succeed(&publish);
    let rm = ["rm", "shop/add", "--registry", &address, "--key", &key];
    assert!(succeed(&rm).contains("epoch 2"));
    assert!(!succeed(&["ls", "--registry", &address]).contains("shop/add"));
    assert!(fail(&rm).contains("shop/add is not published"));
    let pulled = bench.path("again.nnp");
    let pull = ["pull", "shop/add", "--registry", &address, "-o", &pulled];
    assert!(fail(&pull).contains("unknown-tasklet"));
    let mixed = [
        "rm",
        "shop/add",
        "std/add",
        "--registry",
        &address,
        "--key",
        &key,
    ];
    assert!(fail(&mixed).contains("two namespaces"));
    assert!(succeed(&publish).contains("epoch 3"));
    assert!(succeed(&["ls", "--registry", &address]).contains("shop/add"));
}

#[test]
fn publish_waits_for_the_nodes_that_it_is_told_of() {
    let bench = Bench::new();
    let registry = bench.registry();
    let (address, key) = (registry.coap.to_string(), bench.path("shop.key"));
    let add = bench.package("shop/add", ADD, &add(0), &[]);
    // A registry holds what is published there.
    let base = ["publish", &add, "--registry", &address, "--key", &key];
    let said = succeed(&[&base[..], &["--wait", &address]].concat());
    assert!(said.contains("epoch 1"), "{said}");
    // One that nobody answers for: what is published is told, and that it is not there.
    let nobody = ["--wait", "127.0.0.1:9", "--timeout", "2", "--json"];
    let output = nimblenet(&[&base[..], &nobody].concat());
    assert_eq!(output.status.code(), Some(1));
    let document: Json = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["namespaces"][0]["epoch"], 1, "{document}");
    assert_eq!(document["error"]["code"], "unreachable", "{document}");
    assert!(
        document["error"]["message"]
            .as_str()
            .unwrap()
            .contains("127.0.0.1:9")
    );
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
