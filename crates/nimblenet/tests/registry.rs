//! A registry as a process: publishing, refusing, dying and coming back.
#![allow(clippy::unwrap_used)]

mod processes;

use core::time::Duration;
use std::process::{Command, Stdio};

use processes::{ADD, Bench, Daemon, add, fail, nimblenet, package, succeed};
use serde_json::Value as Json;

fn json(text: &str) -> Json {
    serde_json::from_str(text).unwrap()
}

#[test]
fn what_is_published_is_listed_and_pulled_and_publishing_it_again_moves_nothing() {
    let bench = Bench::new();
    let registry = bench.registry();
    let (at, key) = (registry.coap.to_string(), bench.path("shop.key"));
    let adder = bench.package("shop/add", ADD, &add(0), &[]);
    let said = bench.publish(&at, &[&adder], &key).unwrap();
    assert!(
        said.contains("shop: epoch 1, 1 entry changed, 1 module"),
        "{said}"
    );
    assert!(said.contains("namespace claimed"), "{said}");
    let said = bench.publish(&at, &[&adder], &key).unwrap();
    assert_eq!(said, "shop: nothing new, still at epoch 1\n");

    let listed = json(&succeed(&["ls", "--registry", &at, "--json"]));
    let shop = &listed["namespaces"][0];
    assert_eq!(shop["namespace"], "shop");
    assert_eq!(shop["key"], bench.public("shop.key"));
    assert_eq!(shop["tasklets"][0]["name"], "add");
    assert_eq!(shop["tasklets"][0]["version"], 1);
    assert!(succeed(&["ls", "--registry", &at]).contains("shop/add"));

    let pulled = bench.path("pulled.nnp");
    succeed(&["pull", "shop/add", "--registry", &at, "-o", &pulled]);
    assert_eq!(
        std::fs::read(pulled).unwrap(),
        std::fs::read(&adder).unwrap()
    );
    let module = bench.path("pulled.wasm");
    succeed(&["pull", "shop/add", "--registry", &at, "-o", &module]);
    let package = std::fs::read(&adder).unwrap();
    let module = std::fs::read(module).unwrap();
    assert!(module.starts_with(b"\0asm") && package.ends_with(&module));
    let missing = bench.path("missing.nnp");
    let said = fail(&["pull", "shop/sub", "--registry", &at, "-o", &missing]);
    assert!(said.contains("unknown-tasklet"), "{said}");
}

#[test]
fn packages_with_much_in_common_are_published_compressed_and_pulled_as_they_were() {
    let bench = Bench::new();
    let registry = bench.registry();
    let (at, key) = (registry.coap.to_string(), bench.path("shop.key"));
    let packed = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tasklets/packed/std-");
    let names = [
        "rms", "peak", "mean", "crest", "slope", "zscore", "window", "biquad",
    ];
    let packages = names.map(|name| format!("{packed}{name}.nnp"));
    let given = packages.each_ref().map(|path| &path[..]);
    let said = bench.publish(&at, &given, &key).unwrap();
    assert!(
        said.contains("std: epoch 1, 9 entries changed, 9 modules"),
        "{said}"
    );
    let said = bench.publish(&at, &given, &key).unwrap();
    assert_eq!(said, "std: nothing new, still at epoch 1\n");

    let listed = json(&succeed(&["ls", "--registry", &at, "--json"]));
    let entries = listed["namespaces"][0]["tasklets"].as_array().unwrap();
    let bytes = |entry: &Json, key: &str| entry[key].as_u64().unwrap();
    let compressed: Vec<_> = entries
        .iter()
        .filter(|it| !it["dictionary"].is_null())
        .collect();
    assert!(compressed.len() > 5, "{listed}");
    for entry in compressed {
        assert!(
            bytes(entry, "bytes") < bytes(entry, "plain_bytes"),
            "{entry}"
        );
        assert_eq!(entry["dictionary"], 8);
    }
    assert!(succeed(&["ls", "--registry", &at]).contains("std/dictionary"));
    let pull = [
        "pull",
        "std/dictionary",
        "-o",
        "/dev/null",
        "--registry",
        &at,
    ];
    assert!(fail(&pull).contains("std/dictionary is no tasklet"));
    let rm = ["rm", "std/dictionary", "--key", &key, "--registry", &at];
    assert!(fail(&rm).contains("std/dictionary is no tasklet"));
    let module = bench.path("rms.wasm");
    succeed(&["pull", "std/rms", "--registry", &at, "-o", &module]);
    let (module, package) = (
        std::fs::read(module).unwrap(),
        std::fs::read(given[0]).unwrap(),
    );
    assert!(package.windows(module.len()).any(|it| it == module));

    let said = bench
        .publish(&at, &[&given[..], &["--plain"]].concat(), &key)
        .unwrap();
    assert!(said.contains("std: epoch 2"), "{said}");
    let listed = json(&succeed(&["ls", "--registry", &at, "--json"]));
    let entries = listed["namespaces"][0]["tasklets"].as_array().unwrap();
    assert!(
        entries.iter().all(|entry| entry["dictionary"].is_null()),
        "{listed}"
    );
}

#[test]
fn a_new_version_of_one_algorithm_moves_its_module_and_entry_only() {
    let bench = Bench::new();
    let registry = bench.registry();
    let (at, key) = (registry.coap.to_string(), bench.path("shop.key"));
    let chain = "(module
        (import \"shop/add\" \"run\" (func $add (param i32 i32) (result i32)))
        (func (export \"run\") (param i32 i32) (result i32)
          (call $add (local.get 0) (call $add (local.get 0) (local.get 1)))))";
    let chain = bench.package("shop/chain", ADD, chain, &["shop/add"]);
    let old = bench.package("shop/add", ADD, &add(0), &[]);
    bench.publish(&at, &[&chain, &old], &key).unwrap();
    let new = bench.package("shop/add", ADD, &add(1), &[]);
    let args = [
        "publish",
        &chain,
        &new,
        "--registry",
        &at,
        "--key",
        &key,
        "--json",
    ];
    let moved = &json(&succeed(&args))["namespaces"][0];
    assert_eq!((&moved["epoch"], &moved["entries"]), (&2.into(), &1.into()));
    assert_eq!(moved["unchanged"], 1);
    assert_eq!(moved["modules"], 1);
}

#[test]
fn whatever_is_wrong_is_refused_with_its_code_and_changes_nothing() {
    let bench = Bench::new();
    let registry = bench.registry();
    let (at, key) = (registry.coap.to_string(), bench.path("shop.key"));
    let adder = bench.package("shop/add", ADD, &add(0), &[]);
    bench.publish(&at, &[&adder], &key).unwrap();
    let before = succeed(&["ls", "--registry", &at, "--json"]);

    let stranger = bench.path("stranger.key");
    succeed(&["keygen", "-o", &stranger]);
    let other = bench.package("shop/sub", ADD, &add(7), &[]);
    let large = vec![0; 70_000];
    let large = bench.write("large.nnp", package("shop/large", ADD, &large, &[]));
    let broken = bench.write("broken.nnp", package("shop/broken", ADD, b"\0asm", &[]));
    let caller = bench.package("shop/caller", ADD, &add(8), &["shop/nothing"]);
    let stray = bench.package("shop/stray", ADD, &add(9), &["std/nothing"]);
    let damaged = std::fs::read(&adder).unwrap();
    let damaged = bench.write("damaged.nnp", &damaged[..damaged.len() - 1]);
    let text = bench.write("text.nnp", "hello");
    for (package, key, reason) in [
        (&other, &stranger, "unknown-key"),
        (&large, &key, "too-large"),
        (&broken, &key, "invalid-module"),
        (&caller, &key, "bad-import"),
        (
            &stray,
            &key,
            "if another registry has std, `--also ADDR` names it",
        ),
        (&damaged, &key, "damaged"),
        (&text, &key, "not a package"),
        (&text, &text, "cannot use the key"),
    ] {
        let said = bench.publish(&at, &[package], key).unwrap_err();
        assert!(said.contains(reason), "{package}: {said}");
    }
    assert_eq!(succeed(&["ls", "--registry", &at, "--json"]), before);
}

#[test]
fn att_66_a_key_file_that_others_can_read_is_refused_and_none_is_overwritten() {
    let bench = Bench::new();
    let key = bench.path("shop.key");
    let said = fail(&["keygen", "-o", &key]);
    assert!(said.contains("exists"), "{said}");
    Command::new("chmod").args(["644", &key]).status().unwrap();
    let adder = bench.package("shop/add", ADD, &add(0), &[]);
    let said = bench.publish("127.0.0.1:9", &[&adder], &key).unwrap_err();
    assert!(said.contains("chmod 600"), "{said}");
}

#[test]
fn a_registry_that_is_not_there_is_reported_as_unreachable() {
    let bench = Bench::new();
    let [port] = processes::free_ports(1)[..] else {
        unreachable!("one was asked for");
    };
    let at = format!("127.0.0.1:{port}");
    let adder = bench.package("shop/add", ADD, &add(0), &[]);
    let said = bench.publish(&at, &[&adder], &bench.path("shop.key"));
    assert!(said.unwrap_err().contains("unreachable"));
    assert!(fail(&["ls", "--registry", &at]).contains("unreachable"));
    // Wrong usage has an exit code of its own.
    assert_eq!(nimblenet(&["ls"]).status.code(), Some(2));
    assert_eq!(nimblenet(&["ls", "--registry", ""]).status.code(), Some(2));
}

#[test]
fn att_64_a_second_registry_on_the_same_directory_says_so() {
    let bench = Bench::new();
    let registry = bench.registry();
    let data = bench.path("data");
    let said = fail(&["registry", "--listen", "127.0.0.1:0", "--data", &data]);
    let holds = format!("another node or registry uses {data}; stop it, or give each");
    assert!(said.contains(&holds), "{said}");
    registry.terminate();
    bench.registry().terminate();
}

#[test]
fn a_second_node_on_the_same_directory_says_so_and_one_after_a_killed_one_starts() {
    let bench = Bench::new();
    let state = bench.path("state");
    let config = |id: u16, state: &str| {
        let lines = format!(
            "id = {id}\nlisten = \"127.0.0.1:0\"\ncoap = \"127.0.0.1:0\"\nstate = \"{state}\"\n"
        );
        bench.write(&format!("node-{id}.toml"), lines)
    };
    let (one, other) = (config(1, &state), config(2, &state));
    let mut node = Daemon::start(&["node", "--config", &one]);
    let said = fail(&["node", "--config", &other]);
    let holds = format!("another node or registry uses {state}; stop it, or give each");
    assert!(
        said.contains(&holds) && said.contains("node-2.toml:4"),
        "{said}"
    );
    // Nor does a registry use it, or a node what a registry has.
    let said = fail(&["registry", "--listen", "127.0.0.1:0", "--data", &state]);
    assert!(said.contains(&holds), "{said}");
    let registry = bench.registry();
    let said = fail(&["node", "--config", &config(3, &bench.path("data"))]);
    assert!(said.contains("another node or registry uses "), "{said}");
    registry.terminate();
    // The lock of a killed process is no lock.
    assert!(node.kill());
    assert!(std::path::Path::new(&state).join("lock").exists());
    Daemon::start(&["node", "--config", &other]).terminate();
}

#[test]
fn an_empty_or_cut_store_is_refused_with_the_way_back() {
    let bench = Bench::new();
    let registry = bench.registry();
    let add = bench.package("shop/add", ADD, &add(0), &[]);
    let key = bench.path("shop.key");
    bench
        .publish(&registry.coap.to_string(), &[&add], &key)
        .unwrap();
    registry.terminate();
    let data = bench.path("data");
    let file = std::path::Path::new(&data).join("registry.redb");
    let whole = std::fs::read(&file).unwrap();
    for len in [0, 100, 4096, whole.len() / 2] {
        std::fs::write(&file, &whole[..len]).unwrap();
        let said = fail(&["registry", "--listen", "127.0.0.1:0", "--data", &data]);
        assert!(said.contains("registry.redb is damaged: "), "{len}: {said}");
        assert!(
            said.contains("restore it from a copy, or move it away"),
            "{said}"
        );
        assert_eq!(
            std::fs::metadata(&file).unwrap().len(),
            len as u64,
            "it is left as it is"
        );
    }
    std::fs::write(&file, &whole).unwrap();
    bench.registry().terminate();
}

#[test]
fn att_40_two_publications_at_the_same_time_both_get_through() {
    let bench = Bench::new();
    let registry = bench.registry();
    let (at, key) = (registry.coap.to_string(), bench.path("shop.key"));
    let packages: Vec<_> = (0..4)
        .map(|n| bench.package(&format!("shop/add-{n}"), ADD, &add(n), &[]))
        .collect();
    let publish = |package: &String| {
        let args = ["publish", package, "--registry", &at, "--key", &key];
        let mut command = Command::new(env!("CARGO_BIN_EXE_nimblenet"));
        command.args(args).stdout(Stdio::null()).spawn().unwrap()
    };
    let children: Vec<_> = packages.iter().map(publish).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let listed = json(&succeed(&["ls", "--registry", &at, "--json"]));
    assert_eq!(listed["namespaces"][0]["epoch"], 4);
    assert_eq!(
        listed["namespaces"][0]["tasklets"]
            .as_array()
            .unwrap()
            .len(),
        4
    );
}

#[test]
fn att_40_a_registry_killed_in_a_publication_has_all_of_it_or_nothing() {
    let bench = Bench::new();
    let key = bench.path("shop.key");
    let (mut killed, mut published, mut lost) = (0, 0, 0);
    let mut before = 0;
    let mut delay = Duration::from_millis(8);
    for round in 0..16_u32 {
        let mut registry = bench.registry();
        let at = registry.coap.to_string();
        let names = [format!("shop/a{round}"), format!("shop/b{round}")];
        let packages = names.map(|name| bench.package(&name, ADD, &add(round), &[]));
        let args = ["publish", "--registry", &at, "--key", &key];
        let mut publisher = Command::new(env!("CARGO_BIN_EXE_nimblenet"))
            .args(args)
            .args(&packages)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Earlier if the last kill came too late and later if it came too early, so that kills
        // gather around the moment of the transaction.
        std::thread::sleep(delay);
        killed += usize::from(registry.kill());
        // Without the registry the publisher would try for some seconds.
        let acknowledged = publisher.try_wait().unwrap().is_some_and(|it| it.success());
        let _ = publisher.kill();
        let _ = publisher.wait();

        let registry = bench.registry();
        let at = registry.coap.to_string();
        let listed = json(&succeed(&["ls", "--registry", &at, "--json"]));
        let tasklets = listed["namespaces"][0]["tasklets"].as_array();
        let now = tasklets.map_or(0, Vec::len);
        assert!(now == before || now == before + 2, "{before} became {now}");
        assert!(
            !acknowledged || now == before + 2,
            "an acknowledged one is lost"
        );
        if now > before {
            published += 1;
            delay = delay * 7 / 10;
        } else {
            lost += 1;
            delay = delay * 14 / 10;
        }
        // Every listed tasklet can be fetched.
        for tasklet in tasklets.into_iter().flatten() {
            let name = format!("shop/{}", tasklet["name"].as_str().unwrap());
            let to = bench.path("pulled.nnp");
            succeed(&["pull", &name, "--registry", &at, "-o", &to]);
        }
        before = now;
    }
    assert_eq!(killed, 16, "each kill must meet a running registry");
    assert!(
        published > 0 && lost > 0,
        "{published} were there, {lost} were not"
    );
}
