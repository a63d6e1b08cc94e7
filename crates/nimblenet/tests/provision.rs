//! `provision`, as a process.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use nimblenet_board::provision::{Policy, Provision};
use nimblenet_tasklet::{Capabilities, Capability, NodeId};
use tempfile::TempDir;

const KEY: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

fn nimblenet(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nimblenet"))
        .args(args)
        .current_dir(dir)
        .output()
        .unwrap()
}

/// Runs the binary, which succeeds, and returns what it wrote to `out`.
fn written(dir: &TempDir, args: &[&str]) -> Vec<u8> {
    let args = [&["provision", "-o", "out"][..], args].concat();
    let output = nimblenet(dir.path(), &args);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    fs::read(dir.path().join("out")).unwrap()
}

/// A 32-bit number of a UF2 block.
fn word(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(block[at..at + 4].try_into().unwrap())
}

#[test]
fn a_raw_sector_holds_the_record_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let shop = format!("shop={KEY}@65534:sensor,log");
    let args = ["--raw", "--id", "7", "--namespace", &shop];
    let sector = written(&dir, &args);
    assert_eq!(sector.len(), 4096);
    let provision = Provision::decode(&sector).unwrap();
    assert_eq!(provision.id(), NodeId(7));
    let [namespace] = provision.namespaces() else {
        panic!("one namespace");
    };
    assert_eq!(namespace.name.as_str(), "shop");
    assert_eq!(namespace.registry, NodeId(65534));
    assert_eq!(namespace.key[..2], [0xd7, 0x5a]);
    let granted = Capabilities::NONE
        .with(Capability::Sensor)
        .with(Capability::Log);
    assert_eq!(namespace.capabilities, granted);
    let record = provision.encode();
    assert!(sector[record.len()..].iter().all(|byte| *byte == 0xff));
}

#[test]
fn a_uf2_file_fills_exactly_the_last_sector_of_the_flash() {
    let dir = tempfile::tempdir().unwrap();
    let shop = format!("shop={KEY}@65534");
    let args = ["--id", "7", "--namespace", &shop];
    let file = written(&dir, &args);
    let sector = written(&dir, &[&args[..], &["--raw"]].concat());
    let blocks: Vec<&[u8]> = file.chunks(512).collect();
    assert_eq!(blocks.len(), 16);
    for (number, block) in blocks.iter().enumerate() {
        let head: Vec<u32> = (0..8).map(|at| word(block, at * 4)).collect();
        let at = number as u32 * 256;
        let expected = [
            0x0a32_4655,
            0x9e5d_5157,
            0x2000,
            0x101f_f000 + at,
            256,
            number as u32,
            16,
            0xe48b_ff56,
        ];
        assert_eq!(head, expected);
        assert_eq!(block[32..][..256], sector[number * 256..][..256]);
        assert_eq!(word(block, 508), 0x0ab1_6f30);
    }
}

#[test]
fn a_renewed_board_has_an_erased_ledger_in_front_of_its_record() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["--id", "7"];
    let plain = written(&dir, &args);
    let file = written(&dir, &[&args[..], &["--renew"]].concat());
    let (ledger, record) = file.split_at(32 * 512);
    for (number, block) in (0..).zip(ledger.chunks(512)) {
        assert_eq!(word(block, 12), 0x101f_d000 + 256 * number);
        assert_eq!(block[32..][..256], [0xff; 256]);
    }
    for (block, plain) in record.chunks(512).zip(plain.chunks(512)) {
        assert_eq!(word(block, 12), word(plain, 12));
        assert_eq!(block[32..][..256], plain[32..][..256]);
    }
    assert_eq!(record.len(), plain.len());
    let raw = ["provision", "-o", "out", "--id", "7", "--raw", "--renew"];
    assert!(!nimblenet(dir.path(), &raw).status.success());
}

#[test]
fn a_key_file_gives_its_public_half_only() {
    let dir = tempfile::tempdir().unwrap();
    let made = nimblenet(dir.path(), &["keygen", "-o", "a@b.key"]);
    let public = String::from_utf8(made.stdout).unwrap();
    let by_file = ["--id", "7", "--namespace", "shop=a@b.key@1"];
    let by_hex = format!("shop={}@1", public.trim());
    let by_hex = ["--id", "7", "--namespace", &by_hex];
    assert_eq!(written(&dir, &by_file), written(&dir, &by_hex));
}

#[test]
fn a_network_is_recorded_and_its_passphrase_is_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("wifi.txt"), "correct horse\n").unwrap();
    // A file that everyone can read must become private.
    fs::write(dir.path().join("out"), "old").unwrap();
    let network = ["--wifi", "shop floor", "--wifi-password-file", "wifi.txt"];
    let args = ["provision", "-o", "out", "--raw", "--json", "--id", "7"];
    let args = [&args[..], &network, &["--neighbour", "192.168.1.2:4000"]].concat();
    let output = nimblenet(dir.path(), &args);
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("shop floor") && said.contains("192.168.1.2:4000"));
    assert!(!said.contains("horse"), "{said}");
    let out = dir.path().join("out");
    let provision = Provision::decode(&fs::read(&out).unwrap()).unwrap();
    let network = provision.network().unwrap();
    assert_eq!(network.name(), "shop floor");
    assert_eq!(network.passphrase(), Some("correct horse"));
    let neighbours: Vec<_> = network.neighbours().collect();
    assert_eq!(neighbours, ["192.168.1.2:4000".parse().unwrap()]);
    let mode = fs::metadata(&out).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let open = written(&dir, &["--raw", "--id", "7", "--wifi", "guests"]);
    let open = Provision::decode(&open).unwrap();
    assert_eq!(open.network().unwrap().passphrase(), None);
}

#[test]
fn a_placement_is_recorded_for_boards_that_place_calls_and_for_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let board = ["--id", "7", "--raw", "--ethernet"];
    let silent = Provision::decode(&written(&dir, &board)).unwrap();
    assert_eq!(silent.policy(), None);
    for policy in Policy::ALL {
        let placement = ["--placement", policy.name()];
        let sector = written(&dir, &[&board[..], &placement].concat());
        let provision = Provision::decode(&sector).unwrap();
        assert_eq!(provision.policy(), Some(policy));
    }
    for (word, args) in [
        ("--raw", &["--placement", "here"][..]),
        ("least-work", &["--raw", "--placement", "two-choices"]),
    ] {
        let args = [&["provision", "-o", "other", "--id", "7"][..], args].concat();
        let output = nimblenet(dir.path(), &args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(word), "{args:?}: {said}");
        assert!(!dir.path().join("other").exists());
    }
}

#[test]
fn what_no_network_can_be_is_refused_without_its_passphrase() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("short"), "secret7").unwrap();
    fs::write(dir.path().join("empty"), "\n").unwrap();
    let everyone = ["--wifi", "x", "--neighbour", "255.255.255.255:4000"];
    for (code, word, args) in [
        (
            1,
            "8 to 63",
            &["--wifi", "x", "--wifi-password-file", "short"][..],
        ),
        (
            1,
            "holds no passphrase",
            &["--wifi", "x", "--wifi-password-file", "empty"],
        ),
        (
            1,
            "cannot read",
            &["--wifi", "x", "--wifi-password-file", "none"],
        ),
        (1, "1 to 32 bytes", &["--wifi", ""]),
        (1, "one host's address", &everyone),
        (2, "--wifi", &["--wifi-password-file", "short"]),
        (2, "--wifi", &["--neighbour", "10.0.0.1:4000"]),
        (2, "ADDR:PORT", &["--wifi", "x", "--neighbour", "10.0.0.1"]),
    ] {
        let args = [&["provision", "-o", "out", "--id", "7"][..], args].concat();
        let output = nimblenet(dir.path(), &args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(word), "{args:?}: {said}");
        assert!(!said.contains("secret7"), "{said}");
        assert!(!dir.path().join("out").exists());
    }
}

#[test]
fn what_no_board_can_be_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let good = format!("shop={KEY}@1");
    let unknown = format!("shop={KEY}@1:laser");
    let nowhere = format!("shop={KEY}@65535");
    let shouting = format!("SHOP={KEY}@1");
    for (code, word, args) in [
        (2, "0 to 65534", &["--id", "65535"][..]),
        (2, "0 to 65534", &["--id", "70000"][..]),
        (
            1,
            "the board's own id",
            &["--id", "1", "--namespace", &good],
        ),
        (
            1,
            "rename one",
            &["--id", "7", "--namespace", &good, "--namespace", &good],
        ),
        (2, "registry's id", &["--id", "7", "--namespace", &nowhere]),
        (
            1,
            "none.key",
            &["--id", "7", "--namespace", "shop=none.key@1"],
        ),
        (
            2,
            "there are sensor",
            &["--id", "7", "--namespace", &unknown],
        ),
        (
            2,
            "NAME=KEY@REGISTRY",
            &["--id", "7", "--namespace", "shop"],
        ),
        (
            2,
            "not a namespace",
            &["--id", "7", "--namespace", &shouting],
        ),
        (2, "--id", &[]),
    ] {
        let args = [&["provision", "-o", "out"][..], args].concat();
        let output = nimblenet(dir.path(), &args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(word), "{args:?}: {said}");
        assert!(!dir.path().join("out").exists());
    }
}
