//! Where verbs write, and what they read: full disks, devices, pipes, and what never ends.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod desk;

use std::fs::{self, File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::FileTypeExt as _;
use std::process::{Command, Output, Stdio};

use desk::{Desk, stderr};

/// Calls another one, so that it can be frozen.
const CHAIN: &str = r#"(module (import "shop/add" "run" (func $add (param i32 i32) (result i32)))
    (func (export "run") (param i32) (result i32) (call $add (local.get 0) (i32.const 5))))"#;
const ADD: &str = r#"(module (func (export "run") (param i32 i32) (result i32)
    (i32.add (local.get 0) (local.get 1))))"#;

fn desk() -> Desk {
    let desk = Desk::new(&[("chain.wat", CHAIN), ("add.wat", ADD)]);
    desk.text(&["pack", "add.wat", "--name", "shop/add", "-o", "add.nnp"]);
    desk.text(&[
        "pack",
        "chain.wat",
        "--name",
        "shop/chain",
        "-o",
        "chain.nnp",
    ]);
    desk
}

/// Commands that write a file of the user's choosing; the path comes last.
const WRITING: [&[&str]; 8] = [
    &["pack", "add.wat", "--name", "shop/add", "-o"],
    &["inline", "chain.nnp", "--with", "shop/add=add.nnp", "-o"],
    &[
        "run",
        "chain.nnp",
        "1",
        "--with",
        "shop/add=add.nnp",
        "--freeze-at-call",
        "1",
        "--image",
    ],
    &["provision", "--id", "7", "-o"],
    &[
        "sim",
        "--seconds",
        "1",
        "--nodes",
        "3",
        "--robots",
        "1",
        "--csv",
    ],
    &[
        "sim",
        "--seconds",
        "1",
        "--nodes",
        "3",
        "--robots",
        "1",
        "--html",
    ],
    &[
        "sim",
        "--seconds",
        "1",
        "--nodes",
        "3",
        "--robots",
        "1",
        "--record",
    ],
    &["keygen", "-o"],
];

/// The command with its file, in a process that may write no byte to a file.
fn on_a_full_disk(desk: &Desk, command: &[&str], file: &str) -> Output {
    // A signal that is ignored stays ignored: then the system says that the file is too large.
    let limited = "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\"";
    Command::new("sh")
        .args(["-c", limited, env!("CARGO_BIN_EXE_nimblenet")])
        .args(command)
        .arg(file)
        .current_dir(desk.path(""))
        .output()
        .unwrap()
}

fn files(desk: &Desk) -> Vec<String> {
    let names = fs::read_dir(desk.path("")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    names
}

#[test]
fn a_full_disk_leaves_neither_an_empty_file_nor_a_temporary_one() {
    let desk = desk();
    let before = files(&desk);
    for command in WRITING {
        let output = on_a_full_disk(&desk, command, "new.file");
        assert_eq!(
            output.status.code(),
            Some(1),
            "{command:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains("new.file"),
            "{command:?}: {}",
            stderr(&output)
        );
        assert_eq!(files(&desk), before, "{command:?}");
    }
}

#[test]
fn a_full_disk_leaves_what_was_there() {
    let desk = desk();
    for command in WRITING.iter().filter(|command| command[0] != "keygen") {
        fs::write(desk.path("old.file"), "old").unwrap();
        let before = files(&desk);
        let output = on_a_full_disk(&desk, command, "old.file");
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
        assert!(
            said.contains("old.file failed; what is there is left as it was"),
            "{said}"
        );
        assert!(
            said.contains("make room there, or name a file elsewhere"),
            "{said}"
        );
        assert_eq!(
            fs::read(desk.path("old.file")).unwrap(),
            b"old",
            "{command:?}"
        );
        assert_eq!(files(&desk), before, "{command:?}");
    }
}

#[test]
fn a_device_is_written_to_and_stays_one() {
    let desk = desk();
    // Links to devices of the system, in case that one is replaced.
    for (name, device) in [("full", "/dev/full"), ("null", "/dev/null")] {
        std::os::unix::fs::symlink(device, desk.path(name)).unwrap();
    }
    let before = files(&desk);
    for command in WRITING.iter().filter(|command| command[0] != "keygen") {
        let run = |file: &str| desk.nimblenet(&[command, &[file][..]].concat());
        let output = run("full");
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        assert!(
            stderr(&output).contains("No space left on device"),
            "{}",
            stderr(&output)
        );
        let output = run("null");
        assert!(output.status.success(), "{command:?}: {}", stderr(&output));
        for name in ["full", "null"] {
            let there = fs::metadata(desk.path(name)).unwrap().file_type();
            assert!(there.is_char_device(), "{command:?} {name}");
            assert!(fs::symlink_metadata(desk.path(name)).unwrap().is_symlink());
        }
        assert_eq!(files(&desk), before, "{command:?}");
    }
}

#[test]
fn a_pipe_gets_all_of_it() {
    let desk = desk();
    for command in WRITING.iter().filter(|command| command[0] != "keygen") {
        let pipe = desk.path("pipe");
        let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let (output, got) = std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut got = Vec::new();
                File::open(&pipe).unwrap().read_to_end(&mut got).unwrap();
                got
            });
            let output = desk.nimblenet(&[command, &["pipe"][..]].concat());
            // Whatever the command has done, the reader ends.
            drop(OpenOptions::new().write(true).read(true).open(&pipe));
            (output, reader.join().unwrap())
        });
        assert!(output.status.success(), "{command:?}: {}", stderr(&output));
        assert!(!got.is_empty(), "{command:?}");
        assert!(
            fs::metadata(&pipe).unwrap().file_type().is_fifo(),
            "{command:?}"
        );
        fs::remove_file(&pipe).unwrap();
    }
}

#[test]
fn standard_output_that_is_full_is_named_with_the_verb() {
    let desk = desk();
    let commands: [&[&str]; 4] = [
        &["run", "add.wat", "1", "2"],
        &["inspect", "add.nnp", "--json"],
        &["sim", "--seconds", "1", "--nodes", "3", "--robots", "1"],
        &["--help"],
    ];
    for args in commands {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_nimblenet"));
        command
            .args(args)
            .current_dir(desk.path(""))
            .stdin(Stdio::null());
        let output = command.stdout(full).output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains("standard output"), "{args:?}: {said}");
        assert!(said.contains("No space left on device"), "{args:?}: {said}");
        if args[0] != "--help" {
            let verb = format!("the output of `nimblenet {}` is lost", args[0]);
            assert!(said.contains(&verb), "{args:?}: {said}");
        }
    }
}

#[test]
fn what_never_ends_is_refused_at_a_limit() {
    let desk = desk();
    std::os::unix::fs::symlink("/dev/zero", desk.path("zero.csv")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", desk.path("zero.cbor")).unwrap();
    let text = 4 << 20;
    let cases: [(&[&str], u64); 12] = [
        (
            &["pack", "/dev/zero", "--name", "shop/zero", "-o", "zero.nnp"],
            64 << 20,
        ),
        (
            &[
                "pack",
                "add.wat",
                "--manifest",
                "/dev/zero",
                "-o",
                "zero.nnp",
            ],
            text,
        ),
        (&["run", "/dev/zero"], 64 << 20),
        (&["run", "add.wat", "@zero.csv", "1"], 64 << 20),
        (&["run", "add.wat", "@zero.cbor", "1"], 64 << 20),
        (&["inspect", "/dev/zero"], 64 << 20),
        (&["check", "/dev/zero"], 64 << 20),
        (&["inline", "/dev/zero", "-o", "zero.nnp"], 64 << 20),
        (&["sim", "--faults", "/dev/zero"], text),
        (&["sim", "--scenario", "/dev/zero"], text),
        (&["node", "--config", "/dev/zero"], text),
        (&["registry", "--config", "/dev/zero"], text),
    ];
    for (args, most) in cases {
        let output = desk.nimblenet(args);
        let said = stderr(&output);
        assert!(
            matches!(output.status.code(), Some(1 | 2)),
            "{args:?}: {said}"
        );
        let limit = format!("more than {most} bytes");
        assert!(said.contains(&limit), "{args:?}: {said}");
    }
    assert!(!desk.path("zero.nnp").exists());
}
