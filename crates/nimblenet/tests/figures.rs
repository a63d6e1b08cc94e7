//! How much memory a run may have and needs: one figure, whoever says it.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod desk;

use serde_json::json;

use desk::Desk;

#[test]
fn memory_is_what_the_module_or_the_command_line_allows() {
    let grow = r#"(module (memory 1) (func (export "run") (param i32) (result i32)
        (memory.grow (local.get 0))))"#;
    let big = r#"(module (memory 4000) (func (export "run") (result i32)
        (i32.store8 (i32.const 262143999) (i32.const 9))
        (i32.load8_u (i32.const 262143999))))"#;
    let desk = Desk::new(&[("grow.wat", grow), ("big.wat", big)]);
    let grown = |args: &[&str]| {
        let report = desk.json(&[&["run", "grow.wat", "--json"], args].concat());
        (
            report["results"][0].clone(),
            report["memory_bytes"].as_u64().unwrap(),
        )
    };
    let (result, bytes) = grown(&["3000"]);
    assert!(result == 1 && bytes > 3001 << 16);
    assert_eq!(grown(&["4096"]).0, -1);
    assert_eq!(grown(&["2", "--memory-limit", "196608"]).0, 1);
    assert_eq!(grown(&["3", "--memory-limit", "196608"]).0, -1);
    assert_eq!(grown(&["5000", "--memory-limit", "400000000"]).0, 1);
    assert_eq!(
        desk.json(&["run", "big.wat", "--json"])["results"],
        json!([9])
    );
    let refusal = desk.refusal(1, &["run", "grow.wat", "1", "--memory-limit", "65535"]);
    assert!(refusal.contains("raise --memory-limit"), "{refusal}");
}

#[test]
fn packing_checking_and_running_give_one_figure() {
    let calls = r#"(module (memory 1) (global (export "__data_end") i32 (i32.const 64))
        (func $twice (param i32) (result i32) (i32.shl (local.get 0) (i32.const 1)))
        (func (export "run") (param i32) (result i32)
            (i32.store (i32.const 8) (call $twice (local.get 0)))
            (i32.load (i32.const 8))))"#;
    let desk = Desk::new(&[("calls.wat", calls)]);
    let packed = desk.json(&[
        "pack",
        "calls.wat",
        "--name",
        "lab/calls",
        "-o",
        "calls.nnp",
        "--json",
    ]);
    let checked = desk.json(&["check", "calls.nnp", "--json"]);
    let board = desk.json(&["check", "calls.nnp", "--board", "--json"]);
    let ran = desk.json(&["run", "calls.nnp", "4", "--json"]);
    assert_eq!(ran["results"], json!([8]));
    for other in [&checked, &board] {
        assert_eq!(other["needs"], packed["needs"]);
    }
    let linux = &packed["needs"]["linux_bytes"];
    assert_eq!(&checked["worst_case_bytes"], linux);
    assert_eq!(&ran["memory_bytes"], linux);
    assert_eq!(board["worst_case_bytes"], packed["needs"]["board_bytes"]);
    let inspected = desk.json(&["inspect", "calls.nnp", "--json"]);
    assert_eq!(inspected["module"]["needs"], packed["needs"]);
}

#[test]
fn a_module_that_grows_has_one_figure_too() {
    let grow = |memory: &str| {
        format!(
            r#"(module (memory {memory}) (func (export "run") (param i32) (result i32)
            (memory.grow (local.get 0))))"#
        )
    };
    let (bounded, free) = (grow("1 4"), grow("1"));
    let desk = Desk::new(&[("bounded.wat", &bounded), ("free.wat", &free)]);
    // Up to its own maximum, grown or not, packed or not.
    let pack = [
        "pack",
        "bounded.wat",
        "--name",
        "lab/grow",
        "-o",
        "bounded.nnp",
        "--json",
    ];
    let packed = desk.json(&pack);
    let bytes = &packed["needs"]["linux_bytes"];
    assert!(bytes.as_u64().unwrap() > 4 << 16);
    for file in ["bounded.wat", "bounded.nnp"] {
        assert_eq!(
            desk.json(&["check", file, "--json"])["needs"],
            packed["needs"]
        );
        for pages in ["0", "3"] {
            let ran = desk.json(&["run", file, pages, "--json"]);
            assert_eq!(&ran["memory_bytes"], bytes, "{file} by {pages}");
        }
        let text = desk.text(&["inspect", file]);
        assert!(text.contains(&format!("run         {bytes} of")), "{text}");
    }
    // Without a maximum, what is said before a run is the least, and after it what it was.
    let checked = desk.json(&["check", "free.wat", "--json"]);
    assert_eq!(checked["needs"]["at_least"], true);
    let least = checked["needs"]["linux_bytes"].as_u64().unwrap();
    for (pages, bytes) in [("0", least), ("3", least + (3 << 16))] {
        let text = desk.text(&["run", "free.wat", pages]);
        assert!(text.contains(&format!("memory {bytes} bytes")), "{text}");
        assert!(
            text.contains(&format!("needs at least {bytes} of")),
            "{text}"
        );
        assert!(text.contains("`heap = BYTES`"), "{text}");
    }
}

#[test]
fn a_run_that_no_node_takes_says_why_as_check_does() {
    let stores = "(i32.store (local.get 0) (local.get 0))".repeat(20_000);
    let long = format!(r#"(module (memory 1) (func (export "run") (param i32) {stores}))"#);
    let large = "(module (memory 65536)
        (func (export \"run\") (param i32) (result i32) (i32.load (local.get 0))))";
    let desk = Desk::new(&[("long.wat", &long), ("large.wat", large), ("empty.wat", "")]);
    for (file, why) in [
        ("long.wat", "a function is too long for the interpreter"),
        ("large.wat", "linear memory takes 4294967296 of"),
        ("empty.wat", "the file is empty"),
    ] {
        for verb in [&["check", file][..], &["run", file, "1"]] {
            let said = desk.refusal(1, verb);
            assert!(said.contains(why), "{verb:?}: {said}");
        }
    }
    let said = desk.refusal(2, &["run", "large.wat", "--fuel", "-1"]);
    assert!(
        said.contains("a whole number from 1; without --fuel"),
        "{said}"
    );
}
