//! Flows between processes: a file starts one at real nodes, operators run on its way, and what arrives
//! is right and comes once.
#![allow(clippy::unwrap_used)]

mod processes;

use nimblenet_tasklet::{Capabilities, Capability};
use processes::line::Line;
use processes::{ADD, fail, nimblenet, package_with_capabilities, soon, succeed};
use serde_json::{Value as Json, json};

/// The end of the line, where the registry is; between it and the source is one node.
const SINK: usize = 1;
const MIDDLE: usize = 2;
const SOURCE: usize = 3;

const DOUBLE: &str = "(module (func (export \"run\") (param i32) (result i32)
    (i32.mul (local.get 0) (i32.const 2))))";

const SEVEN: &str = "(module (func (export \"run\") (result i32) (i32.const 7)))";

/// Adds two numbers, and may write to the log.
const ADD_AND_LOG: &str = r#"(module
    (import "nimblenet:log" "write" (func $log (param i32 i32)))
    (memory 1 1)
    (func (export "run") (param i32 i32) (result i32)
      (i32.add (local.get 0) (local.get 1))))"#;

/// A line whose source does not let tasklets write to the log, so that `shop/add` cannot run there.
fn line() -> Line {
    let line = Line::granting(3, |at| if at == SOURCE { "" } else { "\"log\"" });
    let add = wat::parse_str(ADD_AND_LOG).unwrap();
    let log = Capabilities::NONE.with(Capability::Log);
    let add = package_with_capabilities("shop/add", ADD, &add, log);
    let packages = [
        line.bench.write("add.nnp", add),
        line.bench
            .package("shop/double", "func(u32) -> u32", DOUBLE, &[]),
        line.bench
            .package("shop/seven", "func() -> u32", SEVEN, &[]),
    ];
    line.publish(&packages.each_ref().map(String::as_str));
    line
}

/// Sums of `count` doubled numbers each, made at the source and at the node in the middle.
fn file(line: &Line, name: &str, count: u32, more: &str) -> String {
    let text = format!(
        "name = \"{name}\"\nsink = \"{}\"\nsources = [\"{}\"]\nnodes = [\"{}\"]\n{more}\n\
         [[operators]]\nkind = \"map\"\ntasklet = \"shop/double\"\n\
         [[operators]]\nkind = \"accumulate\"\ntasklet = \"shop/add\"\ncount = {count}\n",
        line.coap(SINK),
        line.coap(SOURCE),
        line.coap(MIDDLE),
    );
    line.bench.write(&format!("{name}.toml"), text)
}

fn flow(args: &[&str]) -> Json {
    let args = [&["flow"], args, &["--json"]].concat();
    serde_json::from_str(&succeed(&args)).unwrap()
}

fn give(file: &str, numbers: core::ops::RangeInclusive<u32>) {
    let numbers: Vec<_> = numbers.map(|number| number.to_string()).collect();
    let numbers = numbers.iter().map(String::as_str);
    let args: Vec<_> = ["give", file].into_iter().chain(numbers).collect();
    flow(&args);
}

/// The values at the sink, which must come from the source, with what they cover.
fn values(file: &str) -> Vec<Json> {
    let read = flow(&["read", file]);
    let items = read["items"].as_array().unwrap().iter();
    let value = |item: &Json| {
        assert_eq!(item["source"], SOURCE);
        json!([item["first"], item["last"], item["value"]])
    };
    items.map(value).collect()
}

/// The nodes that apply an operator with this tasklet.
fn nodes_with(shown: &Json, tasklet: &str) -> Vec<u64> {
    let operators = shown["operators"].as_array().unwrap().iter();
    let of = operators.filter(|it| it["tasklet"] == tasklet);
    of.map(|it| it["node"].as_u64().unwrap()).collect()
}

#[test]
fn operators_run_at_the_first_node_that_can_and_their_results_arrive_in_order_and_once() {
    let line = line();
    let file = file(&line, "sums", 8, "");
    let started = flow(&["start", &file]);
    assert_eq!(started["sink"], SINK);
    give(&file, 1..=24);
    let expected = [json!([0, 7, 72]), json!([8, 15, 200]), json!([16, 23, 328])];
    soon("the sums arrive", || values(&file).len() == expected.len());
    assert_eq!(values(&file), expected);
    let newer = flow(&["read", &file, "--from", "2"]);
    assert_eq!(newer["items"][0]["value"], 328);

    let shown = flow(&["show", &file]);
    assert_eq!(nodes_with(&shown, "shop/double"), [SOURCE as u64]);
    assert_eq!(nodes_with(&shown, "shop/add"), [MIDDLE as u64]);
    assert!(shown["saved"].as_i64().unwrap() > 0, "{shown}");
    let source = shown["flows"].as_array().unwrap().iter();
    let source = source.clone().find(|it| it["node"] == SOURCE).unwrap();
    assert_eq!(
        (&source["taken"], &source["sink"]),
        (&json!(24), &json!(SINK))
    );
    let table = succeed(&["flow", "show", &file]);
    assert!(
        table.contains("accumulate shop/add") && table.contains("SAVED"),
        "{table}"
    );

    // The same again changes nothing.
    flow(&["start", &file]);
    assert_eq!(values(&file), expected);
    let ended = flow(&["stop", &file]);
    assert_eq!(ended["ended"], 2);
    assert_eq!(flow(&["stop", &file])["ended"], 0);
    let list = flow(&["list", "--node", &line.coap(SINK)]);
    assert_eq!(list["flows"], json!([]));
}

#[test]
fn a_kill_of_the_operator_s_node_loses_and_doubles_nothing() {
    let mut line = line();
    let path = file(&line, "sums", 8, "");
    flow(&["start", &path]);
    give(&path, 1..=12);
    soon("a sum arrives and another is begun", || {
        let list = flow(&["list", "--node", &line.coap(MIDDLE)]);
        let inputs = list["operators"][0]["items_in"].as_u64();
        inputs == Some(12) && values(&path).len() == 1
    });
    assert!(line.kill(MIDDLE));
    give(&path, 13..=18);
    line.restart(MIDDLE);
    give(&path, 19..=24);
    let expected = [json!([0, 7, 72]), json!([8, 15, 200]), json!([16, 23, 328])];
    soon("all sums arrive", || values(&path).len() >= expected.len());
    assert_eq!(values(&path), expected);
    let path = file(&line, "sums", 8, "");
    soon("the source knows that they have", || {
        let shown = flow(&["show", &path]);
        let flows = shown["flows"].as_array().unwrap().iter();
        let of_source = flows.clone().find(|it| it["node"] == SOURCE).unwrap();
        of_source["arrived"] == 24
    });
    assert_eq!(values(&path), expected, "and nothing comes twice");
}

#[test]
fn a_reader_hears_that_the_sink_has_started_again_and_whoever_looks_that_it_is_down() {
    let mut line = line();
    let path = file(&line, "sums", 2, "");
    flow(&["start", &path]);
    give(&path, 1..=6);
    soon("the sums arrive", || values(&path).len() == 3);
    let quiet = nimblenet(&["flow", "read", &path, "--from", "3"]);
    assert!(
        quiet.status.success() && quiet.stderr.is_empty(),
        "{quiet:?}"
    );
    assert!(line.kill(SINK));
    let shown = nimblenet(&["flow", "show", &path, "--json", "--timeout", "3"]);
    assert_eq!(shown.status.code(), Some(1));
    let shown: Json = serde_json::from_slice(&shown.stdout).unwrap();
    assert!(shown["error"]["code"].is_string(), "{shown}");
    assert_eq!(shown["flows"][0]["node"], SOURCE, "the others are shown");
    line.restart(SINK);
    // It has another address.
    let path = file(&line, "sums", 2, "");
    flow(&["start", &path]);
    let read = nimblenet(&["flow", "read", &path, "--from", "9"]);
    let said = String::from_utf8(read.stderr).unwrap();
    assert!(
        read.status.success() && said.contains("started again"),
        "{said}"
    );
}

#[test]
fn a_source_that_has_just_started_begins_a_flow_as_soon_as_it_has_the_catalogue() {
    let mut line = line();
    assert!(line.kill(SOURCE));
    line.restart(SOURCE);
    let path = file(&line, "sums", 2, "");
    flow(&["start", &path]);
}

#[test]
fn a_source_runs_its_own_tasklet_in_each_period() {
    let line = line();
    let feed = "[feed]\ntasklet = \"shop/seven\"\nevery_ms = 50\n";
    let file = file(&line, "sevens", 4, feed);
    flow(&["start", &file]);
    soon("sums of four arrive", || values(&file).len() >= 3);
    let values = values(&file);
    assert_eq!(values[..2], [json!([0, 3, 56]), json!([4, 7, 56])]);
}

#[test]
fn what_cannot_be_is_refused_with_its_code_and_what_to_do() {
    let line = line();
    let path = file(&line, "sums", 8, "room = 16");
    let code = |args: &[&str]| {
        let output = nimblenet(&[&["flow"], args, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let document: Json = serde_json::from_slice(&output.stdout).unwrap();
        document["error"]["code"].as_str().unwrap().to_owned()
    };
    assert_eq!(code(&["give", &path, "1"]), "unknown-flow");
    assert_eq!(code(&["read", &path]), "unknown-flow");
    flow(&["start", &path]);
    assert_eq!(code(&["give", &path, "[[1]]"]), "not-a-value");
    let long = format!("\"{}\"", "x".repeat(600));
    assert_eq!(code(&["give", &path, &long]), "item-too-long");
    let wrong = std::fs::read_to_string(&path).unwrap();
    for (tasklet, reason) in [
        ("shop/none", "unknown-tasklet"),
        ("shop/double", "wrong-signature"),
    ] {
        let wrong = wrong.replace("shop/add", tasklet);
        let other = line.bench.write("wrong.toml", &wrong);
        assert_eq!(code(&["start", &other]), "flow-differs");
        let wrong = line
            .bench
            .write("wrong.toml", wrong.replace("\"sums\"", "\"wrong\""));
        assert_eq!(code(&["start", &wrong]), reason);
        flow(&["stop", &wrong]);
    }
    let filter = wrong
        .replace("\"sums\"", "\"odd\"")
        .replace("map", "filter");
    let filter = line.bench.write("filter.toml", filter);
    let said = fail(&["flow", "start", &filter]);
    assert!(
        said.contains("a filter takes what comes in and returns one bool, but its `run` is func("),
        "{said}"
    );
    flow(&["stop", &filter]);
    assert_eq!(code(&["show", &filter]), "unknown-flow");
    assert_eq!(flow(&["stop", &path])["ended"], 2, "it went on");
    let bad = line.bench.write("bad.toml", "name = \"Sums\"\n");
    assert_eq!(code(&["start", &bad]), "bad-flow");
    let said = fail(&["flow", "start", &bad]);
    assert!(said.contains("bad.toml:1: name is "), "{said}");
    let registry = line.coap(0);
    let error = fail(&["flow", "list", "--node", &registry]);
    assert!(error.contains("runs no tasklets"), "{error}");
}
