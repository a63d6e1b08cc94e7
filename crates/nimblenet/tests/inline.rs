//! `inline` as a process: a chain of the repository becomes one package that `run` takes.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod processes;

use std::process::Command;

use processes::{Bench, fail, nimblenet, packed, succeed};
use serde_json::{Value as Json, json};

/// A package of the repository.
fn example(name: &str) -> String {
    let found = packed().into_iter().find(|path| path.ends_with(name));
    found.unwrap().to_str().unwrap().to_owned()
}

fn of(said: &str) -> Json {
    serde_json::from_str(said).unwrap()
}

#[test]
fn a_chain_that_has_become_one_module_runs_without_its_sub_tasklets() {
    let bench = Bench::new();
    let out = bench.write("alone.nnp", "");
    let (crest, rms) = (example("std-crest.nnp"), example("std-rms.nnp"));
    let rms = format!("std/rms={rms}");
    let peak = format!("std/peak={}", example("std-peak.nnp"));
    let inline = ["inline", &crest, "--with", &rms, "-o", &out, "--json"];
    let whole = [&inline[..], &["--with", &peak, "--name", "std/alone"]].concat();
    let report = of(&succeed(&whole));
    assert_eq!(report["name"], "std/alone");
    let parts = report["parts"].as_array().unwrap();
    assert_eq!(parts.len(), 3);
    // With what the optimiser does, which `wasm-opt` of binaryen is: without it the calls take more bytes
    // than the parts have in common. It need not be there, except in continuous integration.
    let shortens = Command::new("wasm-opt").arg("--version").output().is_ok();
    assert!(shortens || std::env::var_os("CI").is_none());
    let bytes = parts
        .iter()
        .map(|part| part["module_bytes"].as_u64().unwrap());
    assert!(
        !shortens || report["module_bytes"].as_u64().unwrap() < bytes.sum(),
        "{report}"
    );
    let values = "[1, 2, -3]";
    let chain = [
        "run", &crest, values, "--with", &rms, "--with", &peak, "--json",
    ];
    let (apart, alone) = (
        of(&succeed(&chain)),
        of(&succeed(&["run", &out, values, "--json"])),
    );
    assert_eq!(apart["results"], alone["results"]);
    assert_eq!((&apart["calls"], &alone["calls"]), (&json!(2), &json!(0)));
    succeed(&["check", &out]);

    // What is not given stays a call.
    let report = of(&succeed(&inline));
    assert_eq!(report["imports"][0]["name"], "std/peak");
    let half = of(&succeed(&["run", &out, values, "--with", &peak, "--json"]));
    assert_eq!(
        (&half["results"], &half["calls"]),
        (&apart["results"], &json!(1))
    );
}

#[test]
fn what_cannot_be_inlined_is_said_with_what_to_do() {
    let bench = Bench::new();
    let out = bench.write("out.nnp", "");
    let (crest, mean) = (example("std-crest.nnp"), example("std-mean.nnp"));
    let mean = format!("std/mean={mean}");
    let said = fail(&["inline", &crest, "--with", &mean, "-o", &out]);
    assert!(said.contains("calls std/mean; leave it out"), "{said}");
    // The wrong package under the right name, and a name that is still called.
    let (rms, peak) = (example("std-rms.nnp"), example("std-peak.nnp"));
    let wrong = format!("std/rms={peak}");
    let said = fail(&["inline", &crest, "--with", &wrong, "-o", &out]);
    assert!(
        said.contains("given for std/rms is that of std/peak"),
        "{said}"
    );
    let rms = format!("std/rms={rms}");
    let inline = ["inline", &crest, "--with", &rms, "-o", &out];
    let said = fail(&[&inline[..], &["--name", "std/peak"]].concat());
    assert!(said.contains("std/peak stays a call"), "{said}");
    succeed(&[&inline[..], &["--name", "std/crest-half"]].concat());
    let module = bench.write(
        "round.wat",
        r#"(module (import "shop/round" "run" (func))
        (func (export "run") (call 0)))"#,
    );
    let round = bench.path("round.nnp");
    succeed(&["pack", &module, "--name", "shop/round", "-o", &round]);
    let checked = nimblenet(&["check", &round]);
    let said = String::from_utf8(checked.stderr).unwrap();
    assert_eq!(checked.status.code(), Some(1), "{said}");
    assert!(said.contains("it calls itself"), "{said}");
    let module = bench.write("bare.wat", "(module (func (export \"run\")))");
    let said = fail(&["inline", &module, "-o", &out]);
    assert!(said.contains("nimblenet pack"), "{said}");
    let lamp = example("shop-signal-lamp.nnp");
    let said = fail(&["inline", &lamp, "-o", &out]);
    assert!(said.contains("native"), "{said}");
}
