//! `run` and what goes with it, as processes: arguments from files, simulated devices, and the
//! command that goes on with a frozen job.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod processes;

use std::path::Path;
use std::process::Command;

use processes::{Bench, fail, nimblenet, packed, succeed};
use serde_json::{Value as Json, json};

/// A package of the repository.
fn example(name: &str) -> String {
    let found = packed().into_iter().find(|path| path.ends_with(name));
    found.unwrap().to_str().unwrap().to_owned()
}

fn results(args: &[&str]) -> Json {
    let said = succeed(&[args, &["--json"]].concat());
    let report: Json = serde_json::from_str(&said).unwrap();
    report["results"].clone()
}

#[test]
fn an_argument_is_what_a_file_holds() {
    let bench = Bench::new();
    let mean = example("std-mean.nnp");
    let samples = minicbor::to_vec([1.0f32, 2.0, 4.5]).unwrap();
    let files = [
        bench.write("rows.csv", "volts\n1\n2\n# late\n4.5\n"),
        bench.write("row.csv", "1, 2, 4.5\n"),
        bench.write("samples.json", "[1, 2.0, 4.5]\n"),
        bench.write("samples.cbor", samples),
    ];
    for file in files {
        let at = format!("@{file}");
        assert_eq!(results(&["run", &mean, &at]), json!([2.5]), "{file}");
    }
    for (file, bytes, reason) in [
        ("object.json", &b"{\"a\": 1}"[..], "holds no value"),
        ("two.cbor", &[1, 2], "holds no value"),
        ("words.csv", b"volts\n1\nhigh\n", "line 3"),
        ("samples.txt", b"1", ".csv, .json or .cbor"),
    ] {
        let at = format!("@{}", bench.write(file, bytes));
        let output = nimblenet(&["run", &mean, &at]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(reason) && said.contains(file), "{said}");
    }
}

#[test]
fn the_simulated_devices_of_nodes_are_there_without_a_file() {
    let samples = results(&["run", &example("shop-vibration.nnp"), "16"]);
    assert_eq!(samples[0].as_array().unwrap().len(), 16);
    let again = results(&["run", &example("shop-vibration.nnp"), "16"]);
    assert_eq!(samples, again, "the same in each run");

    let average = format!("std/moving-average={}", example("std-moving-average.nnp"));
    let quality = format!("shop/weld-quality={}", example("shop-weld-quality.nnp"));
    let inspect = example("shop-weld-inspect.nnp");
    let run = [
        "run", &inspect, "0.5", "6.0", "--with", &average, "--with", &quality,
    ];
    let output = nimblenet(&run);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");

    // What no device is behind is asked for as before.
    let said = fail(&run[..6]);
    assert!(said.contains("add --with shop/weld-quality=FILE"), "{said}");
    // A file goes before a device.
    let bench = Bench::new();
    let wat = r#"(module (import "shop/board-temperature" "run" (func $read (result i32)))
        (func (export "run") (result i32) (call $read)))"#;
    let asks = bench.write("asks.wat", wat);
    assert!(results(&["run", &asks])[0].as_i64() > Some(20_000));
    let cold = bench.write("cold.csv", "-5\n");
    let cold = format!("shop/board-temperature={cold}");
    assert_eq!(results(&["run", &asks, "--with", &cold]), json!([-5]));
}

#[test]
fn what_a_frozen_job_is_told_to_go_on_with_does_so_as_it_is_printed() {
    let bench = Bench::new();
    let add = r#"(module (func (export "run") (param i32 i32) (result i32)
        (i32.add (local.get 0) (local.get 1))))"#;
    let chain = r#"(module
        (import "global/add" "run" (func $add (param i32 i32) (result i32)))
        (import "nimblenet:sensor" "read" (func $read (param i32) (result f32)))
        (func (export "run") (param i32) (result i32 f32)
          (call $add (local.get 0) (call $add (local.get 0) (i32.const 1)))
          (call $read (i32.const 3))))"#;
    let chain = bench.write("a chain.wat", chain);
    let add = format!("global/add={}", bench.write("it's add.wat", add));
    let image = bench.path("a job.img");
    let around = ["--with", &add, "--sensor", "3=21.5"];
    let run = [&["run", &chain, "20"][..], &around].concat();
    let freeze = ["--freeze-at-call", "2", "--image", &image];
    let said = succeed(&[&run[..], &freeze].concat());
    let command = said.lines().last().unwrap().trim();
    assert!(command.starts_with("nimblenet thaw "), "{said}");

    let binaries = Path::new(env!("CARGO_BIN_EXE_nimblenet")).parent().unwrap();
    let path = format!("{}:{}", binaries.display(), std::env::var("PATH").unwrap());
    let output = Command::new("sh")
        .args(["-c", command])
        .env("PATH", path)
        .output()
        .unwrap();
    let thawed = String::from_utf8(output.stdout).unwrap();
    assert!(thawed.starts_with("41\n21.5\n"), "{thawed}");
}
