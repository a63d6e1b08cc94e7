//! `run`, `thaw`, `check` and `inspect`, as processes.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod desk;

use std::fs;
use std::process::{Command, Stdio};

use serde_json::{Value as Json, json};

use desk::{Desk, stderr};

/// Adds two numbers.
const ADD: &str = r#"(module (func (export "run") (param i32 i32) (result i32)
    (i32.add (local.get 0) (local.get 1))))"#;

/// Calls three times, and leaves a trace of each part of its code: a log line, a counter in memory,
/// a counter in a global.
const CHAIN: &str = r#"(module
    (import "global/step" "run" (func $step (param i32) (result i32)))
    (import "nimblenet:log" "write" (func $log (param i32 i32)))
    (memory 1 1)
    (data (i32.const 0) "onetwosix")
    (global $calls (mut i32) (i32.const 0))
    (func $call (param i32) (result i32)
        (i32.store (i32.const 100) (i32.add (i32.load (i32.const 100)) (i32.const 1)))
        (global.set $calls (i32.add (global.get $calls) (i32.const 10)))
        (call $step (local.get 0)))
    (func (export "run") (param i32) (result i32 i32)
        (call $log (i32.const 0) (i32.const 3))
        (local.set 0 (call $call (local.get 0)))
        (call $log (i32.const 3) (i32.const 3))
        (local.set 0 (call $call (local.get 0)))
        (call $log (i32.const 6) (i32.const 3))
        (local.set 0 (call $call (local.get 0)))
        (local.get 0)
        (i32.add (i32.load (i32.const 100)) (global.get $calls))))"#;

/// Adds 5, through a call of `global/add`.
const STEP: &str = r#"(module
    (import "global/add" "run" (func $add (param i32 i32) (result i32)))
    (func (export "run") (param i32) (result i32)
        (call $add (local.get 0) (i32.const 5))))"#;

fn chain() -> Desk {
    Desk::new(&[("chain.wat", CHAIN), ("step.wat", STEP), ("add.wat", ADD)])
}

const WITH: [&str; 4] = [
    "--with",
    "global/step=step.wat",
    "--with",
    "global/add=add.wat",
];

fn with<'a>(args: &[&'a str]) -> Vec<&'a str> {
    [args, &WITH].concat()
}

#[test]
fn a_module_runs_with_values_in_diagnostic_notation() {
    let wide = r#"(module (func (export "add") (param i64 f32 f64) (result i64 f32 f64)
        (i64.sub (local.get 0) (i64.const 1)) (local.get 1)
        (f64.div (f64.const 1) (local.get 2))))"#;
    let desk = Desk::new(&[("add.wat", ADD), ("wide.wat", wide)]);
    assert_eq!(
        desk.json(&["run", "add.wat", "2", "-3", "--json"])["results"],
        json!([-1])
    );
    let unsigned = desk.json(&["run", "add.wat", "0xffffffff", "0", "--json"]);
    assert_eq!(unsigned["results"], json!([-1]));
    let args = ["run", "wide.wat", "--json", "-9007199254740993", "0.1", "0"];
    let report = desk.json(&args);
    assert_eq!(
        report["results"],
        json!([-9_007_199_254_740_994_i64, 0.1, "Infinity"])
    );
    let args = ["run", "wide.wat", "1", "NaN", "-0.0", "--json"];
    assert_eq!(desk.json(&args)["results"], json!([0, "NaN", "-Infinity"]));

    let output = desk.nimblenet(&["run", "wide.wat", "7", "0.5", "3"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.starts_with("6\n0.5\n0.3333333333333333\nfuel "),
        "{text}"
    );
}

#[test]
fn the_report_has_what_scripts_rely_on() {
    let desk = chain();
    let report = desk.json(&with(&["run", "chain.wat", "1", "--json"]));
    assert_eq!(report["results"], json!([16, 33]));
    assert_eq!(report["calls"], 6);
    assert!(report["fuel_used"].as_u64().unwrap() > 100);
    assert!(report["memory_bytes"].as_u64().unwrap() > 65_536);
    assert!(report["load_us"].as_f64().unwrap() > 0.0);
    assert!(report["run_us"].as_f64().unwrap() > 0.0);
    assert_eq!(report.as_object().unwrap().len(), 6);

    let again = desk.json(&with(&[
        "run",
        "chain.wat",
        "1",
        "--json",
        "--repeat",
        "50",
    ]));
    for key in ["results", "calls", "fuel_used", "memory_bytes"] {
        assert_eq!(again[key], report[key], "{key}");
    }
    let fuel = report["fuel_used"].to_string();
    let enough = desk.json(&with(&["run", "chain.wat", "1", "--json", "--fuel", &fuel]));
    assert_eq!(enough["fuel_used"], report["fuel_used"]);
    let short = (report["fuel_used"].as_u64().unwrap() - 1).to_string();
    let refusal = desk.refusal(1, &with(&["run", "chain.wat", "1", "--fuel", &short]));
    assert!(refusal.contains("out-of-fuel"), "{refusal}");
}

#[test]
fn a_job_goes_on_in_another_process_at_every_call() {
    let desk = chain();
    let output = desk.nimblenet(&with(&["run", "chain.wat", "1", "--json"]));
    assert_eq!(stderr(&output), "log: one\nlog: two\nlog: six\n");
    let whole: Json = serde_json::from_slice(&output.stdout).unwrap();
    let calls = ["global/step", "global/add"].repeat(3);
    for (at, callee) in calls.iter().enumerate() {
        let (call, image) = ((at + 1).to_string(), format!("{at}.img"));
        let freeze = ["--freeze-at-call", &call, "--image", &image, "--json"];
        let frozen = desk.json(&with(&[&["run", "chain.wat", "1"][..], &freeze].concat()));
        let len = fs::metadata(desk.path(&image)).unwrap().len();
        let thaw = format!(
            "nimblenet thaw {image} --module chain.wat {}",
            WITH.join(" ")
        );
        assert_eq!(
            frozen,
            json!({"frozen": true, "call": callee, "image_bytes": len, "thaw": thaw})
        );
        assert!(len < 400, "{len} bytes for a counter and two frames");

        let output = desk.nimblenet(&with(&["thaw", &image, "--module", "chain.wat", "--json"]));
        assert!(output.status.success(), "{}", stderr(&output));
        let thawed: Json = serde_json::from_slice(&output.stdout).unwrap();
        for key in ["results", "calls", "fuel_used"] {
            assert_eq!(thawed[key], whole[key], "{key}, frozen at call {call}");
        }
        // Each log line was written once, by one of the two processes.
        let after = ["log: two\nlog: six\n", "log: six\n", ""][at / 2];
        assert_eq!(stderr(&output), after, "frozen at call {call}");
    }
    let left: Vec<_> = fs::read_dir(desk.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".tmp"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
}

#[test]
fn a_job_only_thaws_whole_and_with_its_own_modules() {
    let desk = chain();
    let freeze = [
        "run",
        "chain.wat",
        "1",
        "--freeze-at-call",
        "2",
        "--image",
        "job.img",
    ];
    assert!(desk.nimblenet(&with(&freeze)).status.success());
    let thaw = |image: &str, step: &str| {
        let step = format!("global/step={step}");
        let args = ["thaw", image, "--module", "chain.wat", "--with", &step];
        desk.refusal(1, &[&args[..], &["--with", "global/add=add.wat"]].concat())
    };
    fs::write(desk.path("other.wat"), STEP.replace("const 5", "const 6")).unwrap();
    let refusal = thaw("job.img", "other.wat");
    assert!(refusal.contains("another module"), "{refusal}");

    let image = fs::read(desk.path("job.img")).unwrap();
    for at in [0, 7, 8, image.len() / 2, image.len() - 1] {
        let mut damaged = image.clone();
        damaged[at] ^= 1;
        fs::write(desk.path("damaged.img"), damaged).unwrap();
        let refusal = thaw("damaged.img", "step.wat");
        assert!(refusal.contains("job image"), "{refusal}");
    }
    fs::write(desk.path("damaged.img"), &image[..image.len() - 1]).unwrap();
    let refusal = thaw("damaged.img", "step.wat");
    assert!(refusal.contains("damaged"), "{refusal}");
}

#[test]
fn errors_say_what_to_do() {
    let two = r#"(module (func (export "a")) (func (export "b")))"#;
    let env = r#"(module (import "env" "abort" (func)) (func (export "run")))"#;
    let trap = r#"(module (func (export "run") unreachable))"#;
    let desk = chain();
    for (name, text) in [("two.wat", two), ("env.wat", env), ("trap.wat", trap)] {
        fs::write(desk.path(name), text).unwrap();
    }
    fs::write(desk.path("junk"), [1, 2, 3]).unwrap();
    let says = |code: i32, args: &[&str], what: &str| {
        let refusal = desk.refusal(code, args);
        assert!(refusal.contains(what), "{args:?}: {refusal}");
    };
    says(1, &["run", "chain.wat", "1"], "add --with global/step=FILE");
    says(
        1,
        &["run", "chain.wat", "1", WITH[0], WITH[1]],
        "add --with global/add=FILE",
    );
    says(
        1,
        &["run", "two.wat"],
        "it exports a, b: choose one with --invoke",
    );
    says(1, &["run", "two.wat", "--invoke", "c"], "it exports a, b");
    says(1, &["run", "env.wat"], "neither a capability");
    says(
        1,
        &["run", "add.wat", "1"],
        "2 values are expected; run of local/add is func(s32, s32)",
    );
    says(1, &["run", "add.wat", "1", "1.5"], "value 2 is not a s32");
    says(
        1,
        &["run", "trap.wat"],
        "local/trap failed: trapped: unreachable (The code reached an `unreachable` instruction.), in function 0 at",
    );
    says(1, &["run", "missing.wat"], "missing.wat");
    says(
        1,
        &["run", "junk"],
        "neither a package nor a WebAssembly module",
    );
    let late = with(&[
        "run",
        "chain.wat",
        "1",
        "--freeze-at-call",
        "7",
        "--image",
        "x",
    ]);
    says(1, &late, "ended after 6 sub-tasklet calls");
    says(2, &["run", "add.wat", "1", "two"], "\"two\" is not a value");
    says(2, &["run"], "Usage");
    says(2, &["run", "add.wat", "--freeze-at-call", "1"], "--image");
    says(
        2,
        &["run", "add.wat", "--with", "add.wat"],
        "NAMESPACE/NAME=FILE",
    );
    says(
        2,
        &["run", "chain.wat", "--with", "Up/x=add.wat"],
        "a-z 0-9",
    );
    assert!(!desk.path("x").exists());
}

#[test]
fn a_constructor_runs_with_and_without_a_package() {
    let text = r#"(module (global $answer (mut i32) (i32.const 0))
        (func (export "_initialize") (global.set $answer (i32.const 42)))
        (func (export "run") (result i32) (global.get $answer)))"#;
    let desk = Desk::new(&[("built.wat", text)]);
    desk.json(&[
        "pack",
        "built.wat",
        "--name",
        "lab/built",
        "-o",
        "built.nnp",
        "--json",
    ]);
    for file in ["built.wat", "built.nnp"] {
        let ran = desk.json(&["run", file, "--invoke", "run", "--json"]);
        assert_eq!(ran["results"], json!([42]), "{file}");
    }
}

#[test]
fn what_no_tasklet_has_is_refused_with_the_flag_that_avoids_it() {
    let tail = r#"(module (func $f (export "run") (return_call $f)))"#;
    let desk = Desk::new(&[("tail.wat", tail), ("add.wat", ADD)]);
    for verb in [&["run", "tail.wat"][..], &["check", "tail.wat"]] {
        let refusal = desk.refusal(1, verb);
        assert!(refusal.contains("-mno-tail-call"), "{refusal}");
    }
    let refusal = desk.refusal(1, &["run", "add.wat", "[1, 2]", "3"]);
    assert!(refusal.contains("list<f32>"), "{refusal}");
}

#[test]
fn the_device_is_what_the_command_line_says() {
    let sense = r#"(module
        (import "nimblenet:sensor" "read" (func $read (param i32) (result f32)))
        (func (export "run") (param i32) (result f32) (call $read (local.get 0))))"#;
    let desk = Desk::new(&[("sense.wat", sense)]);
    let args = [
        "run",
        "sense.wat",
        "3",
        "--sensor",
        "3=-21.5",
        "--sensor",
        "4=1",
        "--json",
    ];
    assert_eq!(desk.json(&args)["results"], json!([-21.5]));
    let refusal = desk.refusal(1, &["run", "sense.wat", "5"]);
    assert!(refusal.contains("device-failed"), "{refusal}");
}

#[test]
fn check_says_what_a_module_needs_and_why_it_would_be_refused() {
    let desk = chain();
    let found = desk.json(&["check", "chain.wat", "--json"]);
    assert_eq!(found["ok"], true);
    assert_eq!(found["memory_ceiling_bytes"], 65_536);
    let parts = ["interpreter_bytes", "memory_ceiling_bytes"].map(|key| found[key].as_u64());
    assert_eq!(
        found["worst_case_bytes"].as_u64(),
        parts[0].zip(parts[1]).map(|(a, b)| a + b)
    );
    let board = desk.json(&["check", "chain.wat", "--board", "--json"]);
    assert!(
        board["worst_case_bytes"].as_u64().unwrap() < 70_000,
        "{board}"
    );
    assert_eq!(
        found["exports"][0]["signature"],
        "func(s32) -> tuple<s32, s32>"
    );
    assert_eq!(found["imports"][0]["module"], "global/step");

    fs::write(
        desk.path("simd.wat"),
        r#"(module (func (export "run") (drop (v128.const i64x2 0 0))))"#,
    )
    .unwrap();
    let output = desk.nimblenet(&["check", "simd.wat", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let found: Json = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["ok"], false);
    assert!(
        found["problems"][0].as_str().unwrap().contains("simd"),
        "{found}"
    );
    fs::write(
        desk.path("env.wat"),
        r#"(module (import "env" "f" (func)) (func (export "run")))"#,
    )
    .unwrap();
    let refusal = desk.refusal(1, &["check", "env.wat"]);
    assert!(refusal.contains("neither a capability"), "{refusal}");
    let large = CHAIN.replace("(memory 1 1)", "(memory 2 2)");
    fs::write(desk.path("large.wat"), large).unwrap();
    assert!(desk.nimblenet(&["check", "large.wat"]).status.success());
    desk.refusal(1, &["check", "large.wat", "--board"]);
}

#[test]
fn packages_run_and_inspect_tells_files_apart() {
    let desk = chain();
    fs::write(desk.path("chain.toml"), "memory = 128\n").unwrap();
    fs::write(desk.path("none.toml"), "").unwrap();
    let pack = |file: &str, name: &str, manifest: &str| {
        let output = format!("{file}.nnp");
        let file = format!("{file}.wat");
        let args = [
            "pack",
            &file,
            "--name",
            name,
            "--manifest",
            manifest,
            "-o",
            &output,
        ];
        let output = desk.nimblenet(&args);
        assert!(output.status.success(), "{}", stderr(&output));
    };
    pack("chain", "floor/chain", "chain.toml");
    pack("step", "global/step", "none.toml");
    pack("add", "global/add", "none.toml");
    let with = [
        "--with",
        "global/step=step.nnp",
        "--with",
        "global/add=add.nnp",
    ];
    let run = [&["run", "chain.nnp", "1", "--json"][..], &with].concat();
    assert_eq!(desk.json(&run)["results"], json!([16, 33]));
    let freeze = ["--freeze-at-call", "4", "--image", "job.img"];
    assert!(
        desk.nimblenet(&[&run[..], &freeze].concat())
            .status
            .success()
    );
    let thaw = ["thaw", "job.img", "--module", "chain.nnp", "--json"];
    assert_eq!(
        desk.json(&[&thaw[..], &with].concat())["results"],
        json!([16, 33])
    );

    assert_eq!(
        desk.json(&["inspect", "add.wat", "--json"])["kind"],
        "module"
    );
    let package = desk.json(&["inspect", "chain.nnp", "--json"]);
    assert_eq!(
        (&package["kind"], &package["name"]),
        (&json!("package"), &json!("floor/chain"))
    );
    assert_eq!(package["capabilities"], json!(["log"]));
    let job = desk.json(&["inspect", "job.img", "--json"]);
    assert_eq!(
        (&job["kind"], &job["calls"]),
        (&json!("job image"), &json!(4))
    );
    let tasklets: Vec<_> = job["activations"].as_array().unwrap().iter().collect();
    assert_eq!(tasklets.len(), 2);
    assert_eq!(tasklets[1]["tasklet"], "global/step");
    let page = |file: &str| {
        let text = desk.nimblenet(&["inspect", file]).stdout;
        let text = String::from_utf8(text).unwrap();
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        text
    };
    let text = page("job.img");
    assert!(text.contains("tasklet     floor/chain run"), "{text}");
    let text = page("chain.nnp");
    for row in [
        "tasklet     floor/chain",
        "capability  log",
        "import      global/step run: func(s32) -> s32",
        "section     code, ",
    ] {
        assert!(text.contains(row), "{row}: {text}");
    }
}

#[test]
fn every_verb_has_help_with_an_example() {
    let desk = Desk::new(&[]);
    for verb in ["run", "thaw", "check", "inspect"] {
        let output = desk.nimblenet(&[verb, "--help"]);
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(
            help.contains(&format!("nimblenet {verb} ")) && help.contains("Example"),
            "{help}"
        );
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let desk = chain();
    let mut child = Command::new(env!("CARGO_BIN_EXE_nimblenet"))
        .args(["inspect", "chain.wat"])
        .current_dir(desk.path(""))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(stderr(&output), "");
}
