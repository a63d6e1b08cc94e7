//! The verbs for authors of tasklets: `new`, `build`, `dev`, `test`. Nothing here needs a compiler;
//! the repository's task `templates` runs the same verbs with each of them.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod processes;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use processes::{Bench, Daemon, free_ports};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

/// Adds two numbers.
const ADD: &str = r#"(module (func (export "run") (param i32 i32) (result i32)
    (i32.add (local.get 0) (local.get 1))))"#;

/// A folder to work in, and the binary.
struct Desk {
    dir: TempDir,
}

impl Desk {
    fn new(files: &[(&str, &str)]) -> Self {
        let desk = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        for (name, text) in files {
            desk.write(name, text);
        }
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nimblenet"));
        command.args(args).current_dir(self.dir.path());
        command.env_remove("WASI_SDK_PATH").stdin(Stdio::null());
        command
    }

    fn output(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn succeed(&self, args: &[&str]) -> String {
        let output = self.output(args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn refusal(&self, args: &[&str]) -> String {
        let output = self.output(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        stderr(&output)
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_new_tasklet_has_a_source_a_manifest_tests_and_a_readme() {
    for (language, source) in [
        ("rust", "src/lib.rs"),
        ("c", "loudness.c"),
        ("cpp", "loudness.cpp"),
        ("as", "loudness.ts"),
        ("zig", "loudness.zig"),
    ] {
        let desk = Desk::new(&[]);
        let args = ["new", "shop/loudness", "--lang", language, "--json"];
        let said: Json = serde_json::from_str(&desk.succeed(&args)).unwrap();
        assert_eq!(said["name"], "shop/loudness");
        for file in [source, "tasklet.toml", "tests.toml", "README.md"] {
            let text = fs::read_to_string(desk.path("loudness").join(file)).unwrap();
            assert!(!text.contains("{{"), "{file} of {language}: {text}");
            let listed = said["files"].as_array().unwrap();
            assert!(listed.contains(&file.into()), "{file} of {language}");
        }
        let manifest = fs::read_to_string(desk.path("loudness/tasklet.toml")).unwrap();
        assert!(manifest.contains("name = \"shop/loudness\""));
    }
}

#[test]
fn a_folder_that_exists_is_left_as_it_is() {
    let desk = Desk::new(&[("mean/notes.txt", "mine")]);
    let said = desk.refusal(&["new", "mean", "--lang", "c"]);
    assert!(said.contains("mean exists"), "{said}");
    assert_eq!(fs::read_dir(desk.path("mean")).unwrap().count(), 1);
}

#[test]
fn a_name_without_a_namespace_is_local_and_a_bad_one_is_wrong_usage() {
    let desk = Desk::new(&[]);
    let said = desk.succeed(&["new", "mean", "--lang", "zig"]);
    assert!(said.starts_with("local/mean in Zig"), "{said}");
    for name in ["Mean", "a/b/c", "../mean", "", "local/-x"] {
        let output = desk.output(&["new", name, "--lang", "c"]);
        assert_eq!(output.status.code(), Some(2), "{name}");
    }
}

#[test]
fn a_compiler_that_is_not_there_is_named_with_how_to_get_it() {
    let desk = Desk::new(&[]);
    for (language, program, remedy) in [
        ("rust", "cargo", "rustup target add wasm32-unknown-unknown"),
        ("c", "clang", "apt install clang lld"),
        ("cpp", "clang", "apt install clang lld"),
        ("as", "asc", "npm install"),
        ("zig", "zig", "pip install ziglang"),
    ] {
        desk.succeed(&["new", language, "--lang", language]);
        for verb in ["build", "test"] {
            let mut command = desk.command(&[verb, language]);
            let output = command.env("PATH", "").output().unwrap();
            assert_eq!(output.status.code(), Some(1));
            let said = stderr(&output);
            assert!(said.contains(&format!("{program} is missing")), "{said}");
            assert!(said.contains(remedy), "{said}");
        }
    }
}

#[test]
fn a_linker_and_an_interpreter_that_are_not_there_are_named_too() {
    use std::os::unix::fs::PermissionsExt as _;
    let desk = Desk::new(&[]);
    desk.succeed(&["new", "c", "--lang", "c"]);
    desk.succeed(&["new", "as", "--lang", "as"]);
    for program in ["bin/clang", "as/node_modules/.bin/asc"] {
        desk.write(program, "#!/bin/sh\n");
        fs::set_permissions(desk.path(program), fs::Permissions::from_mode(0o755)).unwrap();
    }
    for (folder, program) in [("c", "wasm-ld"), ("as", "node")] {
        let mut command = desk.command(&["build", folder]);
        let output = command.env("PATH", desk.path("bin")).output().unwrap();
        let said = stderr(&output);
        assert!(said.contains(&format!("{program} is missing")), "{said}");
    }
}

#[test]
fn a_folder_is_built_to_the_package_that_its_manifest_names() {
    let manifest = "exports = { run = \"func(a: u32, b: u32) -> u32\" }\n[build]\nlibc = false\n";
    let desk = Desk::new(&[("sum/add.wat", ADD), ("sum/tasklet.toml", manifest)]);
    let said = desk.succeed(&["build", "sum"]);
    assert!(
        said.contains("export  run: func(a: u32, b: u32) -> u32"),
        "{said}"
    );
    assert!(said.contains("file    sum/target/local-sum.nnp"), "{said}");
    let ran = desk.succeed(&["run", "sum/target/local-sum.nnp", "2", "3"]);
    assert!(ran.starts_with("5\n"), "{ran}");
    // The document that `pack` prints, in another place.
    let report: Json =
        serde_json::from_str(&desk.succeed(&["build", "sum", "-o", "s.nnp", "--json"])).unwrap();
    assert_eq!(report["name"], "local/sum");
    assert!(desk.path("s.nnp").exists());
    desk.write("sum/tasklet.toml", "[build]\nlibrary = true\n");
    let said = desk.refusal(&["build", "sum"]);
    assert!(
        said.contains("tasklet.toml") && said.contains("library"),
        "{said}"
    );
}

#[test]
fn a_run_that_traps_says_in_which_function_by_the_names_beside_the_package() {
    let deep = "(module (func $deepest (result i32) unreachable)
        (func $run (export \"run\") (result i32) (call $deepest)))";
    let desk = Desk::new(&[("deep/deep.wat", deep), ("deep/tasklet.toml", "")]);
    desk.succeed(&["build", "deep"]);
    let run = ["run", "deep/target/local-deep.nnp"];
    let said = desk.refusal(&run);
    assert!(said.contains("in deepest at offset 0x"), "{said}");
    // The package itself has no names.
    let names = "deep/target/local-deep.names";
    fs::rename(desk.path(names), desk.path("deep.names")).unwrap();
    let said = desk.refusal(&run);
    assert!(said.contains("in function 0 at offset 0x"), "{said}");
    // A file for another module says nothing.
    let text = fs::read_to_string(desk.path("deep.names")).unwrap();
    desk.write(names, &text.replacen("0 deepest", "0 other", 1));
    assert!(desk.refusal(&run).contains("in other at"));
    let digest = text.lines().nth(2).unwrap();
    desk.write(names, &text.replacen(digest, &"00".repeat(32), 1));
    assert!(desk.refusal(&run).contains("in function 0 at"));
}

#[test]
fn a_native_tasklet_is_built_of_its_manifest_alone() {
    let manifest = "name = \"shop/lamp\"\nexecutor = \"native\"\n\
                    exports = { run = \"func(level: u32)\" }\n";
    let desk = Desk::new(&[("lamp/tasklet.toml", manifest)]);
    let said = desk.succeed(&["build", "lamp"]);
    assert!(said.contains("shop/lamp (native)"), "{said}");
}

/// Reads a sensor, and asks a native tasklet for samples, of which it returns how many came.
const WATCH: &str = r#"(module
    (import "nimblenet:sensor" "read" (func $read (param i32) (result f32)))
    (import "shop/vibration" "run" (func $samples (param i32 i32 i32) (result i32)))
    (memory 1)
    (func (export "run") (param i32) (result i32)
        (if (i32.eqz (local.get 0)) (then unreachable))
        (i32.add
            (call $samples (local.get 0) (i32.const 0) (i32.const 8))
            (i32.trunc_f32_s (call $read (i32.const 3)))))
    (func (export "spin") (loop (br 0))))"#;

const WATCH_MANIFEST: &str = r#"
    name = "shop/watch"
    exports = { run = "func(count: u32) -> u32", spin = "func()" }
    imports = { "shop/vibration" = "func(count: u32) -> list<s16>" }
    memory = 16
    fuel = 5000
"#;

const WATCH_TESTS: &str = r#"
    with = { "shop/vibration" = "vibration.csv" }
    sensors = { 3 = "warm.csv" }
    [[test]]
    name = "three samples at 20 degrees"
    args = [3]
    results = [23]
    [[test]]
    name = "nothing to sample"
    args = [0]
    fault = "unreachable"
    [[test]]
    name = "the fuel of the manifest ends"
    invoke = "spin"
    fault = "out-of-fuel"
    [[test]]
    name = "an argument of another type"
    args = [1.5]
    fault = "wrong-arguments"
    [[test]]
    name = "colder"
    sensors = { 3 = -1 }
    args = [3]
    results = [2]
"#;

fn watch() -> Desk {
    Desk::new(&[
        ("watch/watch.wat", WATCH),
        ("watch/tasklet.toml", WATCH_MANIFEST),
        ("watch/tests.toml", WATCH_TESTS),
        ("watch/vibration.csv", "1, -2, 3\n"),
        ("watch/warm.csv", "celsius\n20\n"),
    ])
}

#[test]
fn tests_hold_a_tasklet_against_results_faults_sensors_and_natives() {
    let desk = watch();
    let said = desk.succeed(&["test", "watch"]);
    assert!(said.contains("5 of 5 passed"), "{said}");
    let report: Json = serde_json::from_str(&desk.succeed(&["test", "watch", "--json"])).unwrap();
    assert_eq!(
        (&report["passed"], &report["failed"]),
        (&5.into(), &0.into())
    );
    assert_eq!(report["tests"][0]["results"], json!([23]));
    assert_eq!(report["tests"][1]["fault"], "trapped");
}

#[test]
fn a_test_that_fails_is_shown_with_what_came_and_the_exit_code_is_1() {
    let desk = watch();
    desk.write("watch/warm.csv", "30\n");
    let output = desk.output(&["test", "watch"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(said.contains("4 of 5 passed"), "{said}");
    assert!(said.contains("expected 23\n  got      33\n"), "{said}");
    assert!(stderr(&output).contains("1 of 5 tests failed"));
    // A callee without a stand-in.
    let tests = WATCH_TESTS.replace("shop/vibration", "shop/other");
    desk.write("watch/tests.toml", &tests);
    let said = desk.refusal(&["test", "watch"]);
    assert!(
        said.contains("shop/vibration, which is not given"),
        "{said}"
    );
    // Answers that do not match its signature.
    desk.write("watch/tests.toml", WATCH_TESTS);
    desk.write("watch/vibration.csv", "70000\n");
    let said = desk.refusal(&["test", "watch"]);
    assert!(
        said.contains("70000 is no result of func(u32) -> list<s16>"),
        "{said}"
    );
}

#[test]
fn tests_may_be_a_list_of_arguments_and_results() {
    let desk = Desk::new(&[
        ("sum/add.wat", ADD),
        (
            "sum/tests.csv",
            "a,b,result,fault\n2,3,5,\n-1,1,0,\n1.5,1,,wrong-arguments\n",
        ),
    ]);
    assert!(desk.succeed(&["test", "sum"]).contains("3 of 3 passed"));
    let said = Desk::new(&[("sum/add.wat", ADD)]).refusal(&["test", "sum"]);
    assert!(said.contains("no tests"), "{said}");
}

#[test]
fn run_takes_the_readings_of_devices_from_files_too() {
    let desk = watch();
    desk.succeed(&["build", "watch"]);
    let args = [
        "run",
        "watch/target/shop-watch.nnp",
        "3",
        "--with",
        "shop/vibration=watch/vibration.csv",
        "--sensor",
        "3=watch/warm.csv",
    ];
    assert!(desk.succeed(&args).starts_with("23\n"));
}

/// `nimblenet dev` under way.
struct Dev {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    errors: std::io::Lines<BufReader<std::process::ChildStderr>>,
}

impl Dev {
    fn start(desk: &Desk, args: &[&str]) -> Self {
        let mut command = desk.command(args);
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let errors = BufReader::new(child.stderr.take().unwrap()).lines();
        Self {
            child,
            lines,
            errors,
        }
    }

    /// The next results, after any errors.
    fn result(&mut self) -> Json {
        let lines = self.lines.by_ref().map(Result::unwrap);
        let mut documents = lines.map(|line| serde_json::from_str::<Json>(&line).unwrap());
        let found = documents.find(|document| document.get("error").is_none());
        found.unwrap()["results"].clone()
    }

    /// Waits for an error.
    fn error(&mut self) -> String {
        let errors = &mut self.errors;
        let found = errors
            .map(Result::unwrap)
            .find(|line| line.starts_with("error"));
        found.unwrap()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn dev_runs_each_saved_version_goes_on_after_errors_and_ends_when_interrupted() {
    let desk = Desk::new(&[("add.wat", ADD)]);
    let mut dev = Dev::start(&desk, &["dev", "add.wat", "7", "3", "--json"]);
    assert_eq!(dev.result(), json!([10]));
    desk.write("add.wat", &ADD.replace("i32.add", "i32.sub"));
    assert_eq!(dev.result(), json!([4]));
    desk.write("add.wat", "(module");
    assert!(dev.error().contains("packing local/add"));
    // Editors write another file and rename it.
    desk.write("other", &ADD.replace("i32.add", "i32.mul"));
    fs::rename(desk.path("other"), desk.path("add.wat")).unwrap();
    assert_eq!(dev.result(), json!([21]));
    let id = dev.child.id().to_string();
    Command::new("kill").args(["-INT", &id]).status().unwrap();
    assert!(dev.child.wait().unwrap().success());
    assert!(!desk.path("target").exists(), "a lone file gets no folder");
}

#[test]
fn dev_is_interrupted_in_a_run_that_does_not_end() {
    let spin = r#"(module (func (export "run") (loop (br 0))))"#;
    let desk = Desk::new(&[
        ("spin/spin.wat", spin),
        ("spin/tasklet.toml", "fuel = 9_000_000_000_000_000_000"),
    ]);
    let mut dev = Dev::start(&desk, &["dev", "spin"]);
    let built = dev.errors.next().unwrap().unwrap();
    assert!(built.contains("local/spin: built"), "{built}");
    let id = dev.child.id().to_string();
    Command::new("kill").args(["-INT", &id]).status().unwrap();
    assert!(dev.child.wait().unwrap().success());
}

#[test]
fn dev_once_fails_where_the_source_does() {
    let desk = Desk::new(&[("add.wat", ADD), ("bad.wat", "(module")]);
    assert!(
        desk.succeed(&["dev", "add.wat", "2", "3", "--once"])
            .starts_with("5\n")
    );
    let said = desk.refusal(&["dev", "bad.wat", "--once"]);
    assert!(said.contains("packing local/bad"), "{said}");
    assert!(desk.refusal(&["dev", "none.c"]).contains("reading none.c"));
    // A node needs a registry and a key.
    let alone = desk.output(&["dev", "add.wat", "--node", "127.0.0.1:9"]);
    assert_eq!(alone.status.code(), Some(2));
}

#[test]
fn dev_publishes_each_saved_version_and_calls_it_at_the_node() {
    let bench = Bench::new();
    let [registry_mesh, node_mesh] = free_ports(2)[..] else {
        unreachable!("two were asked for");
    };
    let key = bench.path("shop.key");
    let public = bench.public("shop.key");
    let registry = format!(
        "listen = \"127.0.0.1:{registry_mesh}\"\ncoap = \"127.0.0.1:0\"\ndata = \"{}\"\n\
         neighbours = [\"127.0.0.1:{node_mesh}\"]\n[namespaces]\nshop.key = \"{public}\"\n",
        bench.path("data")
    );
    let node = format!(
        "id = 1\nlisten = \"127.0.0.1:{node_mesh}\"\ncoap = \"127.0.0.1:0\"\n\
         neighbours = [\"127.0.0.1:{registry_mesh}\"]\n\
         [namespaces.shop]\nkey = \"{public}\"\n"
    );
    let registry = bench.write("registry.toml", registry);
    let node = bench.write("node.toml", node);
    let registry = Daemon::start(&["registry", "--config", &registry]);
    let node = Daemon::start(&["node", "--config", &node]);

    let manifest = "name = \"shop/add\"\n";
    let desk = Desk::new(&[("add/add.wat", ADD), ("add/tasklet.toml", manifest)]);
    let (at, published) = (node.coap.to_string(), registry.coap.to_string());
    let args = [
        "dev",
        "add",
        "7",
        "3",
        "--json",
        "--node",
        &at,
        "--registry",
        &published,
    ];
    let mut dev = Dev::start(&desk, &[&args[..], &["--key", &key]].concat());
    assert_eq!(dev.result(), json!([10]));
    desk.write("add/add.wat", &ADD.replace("i32.add", "i32.sub"));
    assert_eq!(dev.result(), json!([4]));
}
