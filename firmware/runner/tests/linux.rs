//! A registry, a node and boards as users run them: processes on this machine, a board's line at a
//! pseudo-terminal, and the commands that people type.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod people;

use people::{
    Place, REGISTRY, boards, call, daemon, free, image, move_on, nimblenet, packed, soon,
};

/// Calls another tasklet `n` times and adds up the results, slowly enough to be moved meanwhile.
const LONG: &str = r#"(module
    (import "std/add" "run" (func $add (param i32 i32) (result i32)))
    (func (export "run") (param $n i32) (result i32) (local $sum i32)
        (loop $next
            (local.set $sum (call $add (local.get $sum) (local.get $n)))
            (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $sum)))"#;

#[test]
fn boards_a_registry_and_a_node_as_people_run_them() {
    let place = Place::new();
    let key = place.path("shop.key");

    // A registry with a board at its serial port, another board behind that one.
    let [mesh, node] = free();
    let line = place.path("board");
    let registry = place.write(
        "registry.toml",
        &format!(
            "id = {REGISTRY}\nlisten = \"{mesh}\"\ncoap = \"127.0.0.1:0\"\ndata = \"{}\"\n\
             claim = true\nneighbours = [\"{node}\"]\nmtu = 256\nserial = [\"{line}\"]\n",
            place.path("data"),
        ),
    );
    let (_registry, coap) = daemon(&["registry", "--config", &registry]);
    let image = image();
    let board = |name: &str, id: &str| format!("{name}={image},provision={}", place.board(id, &[]));
    let (near, far) = (board("near", "7"), board("far", "8"));
    let tie = format!("near.0=pty:{line}");
    let args = [
        "--board",
        &near,
        "--board",
        &far,
        "--tie",
        &tie,
        "--wire",
        "near.1-far.0",
    ];
    let running = boards(&args);

    let long = place.package(
        "shop/long",
        "func(n: u32) -> u32",
        &[("std/add", "func(a: u32, b: u32) -> u32")],
        "",
        LONG,
    );
    let packages = packed();
    let mut publish = vec!["publish", "--registry", &coap, "--key", &key, &long];
    publish.extend(packages.iter().map(String::as_str));
    nimblenet(&publish).unwrap();

    // Both boards run chains, with native tasklets among their callees.
    for at in ["7", "8"] {
        let sum = soon("the board adds", || {
            call(&coap, at, "std/add", &["2", "40"])
        });
        assert_eq!(sum, "[42]");
        let alarm = soon("the board measures", || {
            call(&coap, at, "shop/heat-alarm", &["4", "90000"])
        });
        let degrees: Vec<i32> = serde_json::from_str(&alarm).unwrap();
        assert!((20_000..30_000).contains(&degrees[0]), "{alarm}");
        assert_eq!(call(&coap, at, "shop/long", &["5"]).unwrap(), "[15]");
    }
    let wrong = call(&coap, "7", "shop/nothing", &[]).unwrap_err();
    assert!(wrong.contains("unknown-tasklet"), "{wrong}");

    // A call from a node ends there, although it began on a board.
    let config = place.node(node, mesh);
    let (_node, at_node) = daemon(&["node", "--config", &config]);
    soon("the node reaches the far board", || {
        call(&at_node, "8", "std/add", &["1", "1"])
    });
    // It takes no job before it has the catalogues of its chain.
    soon("the node has the catalogues", || {
        call(&at_node, "20", "shop/long", &["1"])
    });
    let moved = std::thread::spawn({
        let at_node = at_node.clone();
        move || call(&at_node, "8", "shop/long", &["240"])
    });
    move_on(&at_node, "20");
    assert_eq!(moved.join().unwrap().unwrap(), "[28920]");

    // The boards lose power; when they are back they serve again.
    drop(running);
    let _running = boards(&args);
    let again = soon("the board is back", || {
        call(&coap, "8", "std/add", &["3", "4"])
    });
    assert_eq!(again, "[7]");
}
