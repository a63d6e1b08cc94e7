//! A chain that has become one module does what its tasklets do one by one: the same results, the
//! same memory of the chain, the same calls to the outside, the same traps.
#![allow(clippy::unwrap_used)]

extern crate alloc;

mod inline {
    pub(crate) mod floor;
    pub(crate) mod generator;
}

use alloc::collections::BTreeMap;
use core::cell::Cell;
use core::sync::atomic::{AtomicU32, Ordering};
use std::fs;
use std::path::Path;
use std::process::Command;

use inline::floor::{End, Floor};
use inline::generator::{Chain, Random};
use nimblenet_pack::values::{self, Item};
use nimblenet_pack::{InlineError, Inlined, Manifest, inline, inline_shortened, pack};
use nimblenet_tasklet::{Package, Scalar, Signature, TaskletName, Type};

/// What `dev/native` answers: as many bytes as fit, from its arguments.
fn native(_name: &str, args: &[u8]) -> Vec<u8> {
    let sum = args
        .iter()
        .fold(7u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(*byte));
    let count = usize::from(sum % 5);
    let mut answer = vec![0x81, 0x40 + count as u8];
    answer.extend((0..count).map(|at| sum.wrapping_add(at as u8)));
    answer
}

/// Whether `wasm-opt` of binaryen is there: it need not be, except in continuous integration.
fn has_optimiser() -> bool {
    let found = Command::new("wasm-opt").arg("--version").output().is_ok();
    assert!(
        found || std::env::var_os("CI").is_none(),
        "wasm-opt is missing"
    );
    found
}

/// A module that `wasm-opt` has made shorter, as `nimblenet inline` lets it do; none where it is missing.
fn shortened(module: &[u8]) -> Option<Vec<u8>> {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let number = CALLS.fetch_add(1, Ordering::Relaxed);
    let place = std::env::temp_dir().join(format!("inline-{}-{number}", std::process::id()));
    fs::write(&place, module).unwrap();
    let mut command = Command::new("wasm-opt");
    command.args([
        "-Oz",
        "--converge",
        "--enable-bulk-memory",
        "--enable-sign-ext",
    ]);
    command.args(["--enable-nontrapping-float-to-int", "--enable-multivalue"]);
    command
        .args(["--enable-reference-types", "-o", "-"])
        .arg(&place);
    let output = command.output();
    fs::remove_file(&place).unwrap();
    let output = output.ok().filter(|_| has_optimiser())?;
    // It does not know all instructions.
    output.status.success().then_some(output.stdout)
}

/// How often the runs of chains have ended in each way.
#[derive(Default, Debug)]
struct Ends {
    done: u64,
    trapped: u64,
    refused: u64,
    /// Chains whose module the optimiser has made shorter.
    shorter: u64,
}

/// Compares both forms of the chain of `seed` on so many inputs.
fn compare(seed: u64, inputs: u64, ends: &mut Ends) {
    let chain = Chain::of(seed);
    let with: Vec<_> = chain.files[1..]
        .iter()
        .map(|(name, file)| (*name, &file[..]))
        .collect();
    let inlined = inline(&chain.files[0].1, &with, None);
    let inlined = inlined.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let short = inline_shortened(&chain.files[0].1, &with, None, &mut shortened).unwrap();
    let bytes = |inlined: &Inlined| inlined.packed.report.module_bytes;
    assert!(bytes(&short) <= bytes(&inlined), "seed {seed}");
    compare_forms(seed, inputs, &chain, &inlined, ends);
    if bytes(&short) < bytes(&inlined) {
        ends.shorter += 1;
        compare_forms(seed, inputs, &chain, &short, ends);
    }
}

/// Compares the chain of `seed` with one module that it has become.
fn compare_forms(seed: u64, inputs: u64, chain: &Chain, inlined: &Inlined, ends: &mut Ends) {
    let mut random = Random(seed ^ 0x5555);
    let mut apart = Floor::new(chain.files.iter().map(|(_, file)| &file[..]), &native);
    let mut whole = Floor::new([&inlined.packed.file[..]], &native);
    for input in 0..inputs {
        let args = chain.arguments(&mut random);
        apart.heard.clear();
        whole.heard.clear();
        let expected = apart.call("gen/t0", "", &args);
        let found = whole.call("gen/t0", "", &args);
        let what = || format!("seed {seed}, input {input}\n{}", chain.sources.join("\n"));
        assert_eq!(whole.heard, apart.heard, "{}", what());
        match (&expected, &found) {
            (
                End::Done { results, memory },
                End::Done {
                    results: found,
                    memory: all,
                },
            ) => {
                ends.done += 1;
                assert_eq!(found, results, "{}", what());
                assert!(
                    all[..memory.len()] == memory[..],
                    "the memory differs: {}",
                    what()
                );
            }
            (End::Trapped(expected), End::Trapped(found)) => {
                ends.trapped += 1;
                assert_eq!(found, expected, "{}", what());
            }
            // Values that a node would not carry.
            (End::Refused, End::Trapped(_) | End::Refused) => ends.refused += 1,
            _ => panic!("{found:?} instead of {expected:?}: {}", what()),
        }
    }
}

/// Compares so many chains on so many inputs each.
fn compare_all(chains: u64, inputs: u64) {
    let mut ends = Ends::default();
    for seed in 0..chains {
        compare(seed, inputs, &mut ends);
    }
    // All three ways must have happened, or nothing was compared.
    println!("{ends:?}");
    let least = ends.done.min(ends.trapped).min(ends.refused);
    assert!(least >= chains * inputs / 20, "{ends:?}");
    let shortens = has_optimiser();
    assert!(!shortens || ends.shorter > chains / 4, "{ends:?}");
}

#[test]
fn generated_chains_do_the_same_in_one_module() {
    compare_all(100, 6);
}

/// `cargo test --release -p nimblenet-pack --test inline -- --ignored`
#[test]
#[ignore = "takes minutes: the same with more chains, and a thousand inputs each"]
fn many_generated_chains_do_the_same_on_a_thousand_inputs_each() {
    compare_all(500, 1000);
}

/// The packed tasklets of the repository, by name.
fn packed() -> BTreeMap<String, Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tasklets/packed");
    let files = fs::read_dir(directory).unwrap();
    let files = files.map(|entry| {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        let name = Package::decode(&bytes).unwrap().name.to_string();
        (name, bytes)
    });
    files.collect()
}

/// A chain of the repository and all that it calls as one module, as it is and shortened.
fn whole(packed: &BTreeMap<String, Vec<u8>>, name: &str) -> [Inlined; 2] {
    let mut with: Vec<(TaskletName, &[u8])> = Vec::new();
    let mut open = vec![name.to_owned()];
    while let Some(caller) = open.pop() {
        for import in Package::decode(&packed[&caller]).unwrap().imports() {
            let callee = import.name.to_string();
            let has_module = !Package::decode(&packed[&callee]).unwrap().module.is_empty();
            if has_module && with.iter().all(|(name, _)| *name != import.name) {
                with.push((import.name, &packed[&callee]));
                open.push(callee);
            }
        }
    }
    let short = inline_shortened(&packed[name], &with, None, &mut shortened);
    [inline(&packed[name], &with, None).unwrap(), short.unwrap()]
}

/// The chains of the repository, and by how many percent their module may be longer than those of
/// the parts together, before it is shortened.
const CHAINS: [(&str, f64); 7] = [
    ("shop/bearing-check", 5.0),
    ("shop/bolt-torque", 8.0),
    ("shop/heat-alarm", 5.0),
    ("shop/paint-dry", 5.0),
    ("shop/spindle-watch", 12.0),
    ("shop/weld-inspect", 16.0),
    ("std/crest", 5.0),
];
/// By how many percent it may be longer afterwards.
const SHORTENED: f64 = 5.0;

#[test]
fn the_module_of_a_chain_is_about_as_long_as_those_of_its_parts() {
    let packed = packed();
    for (name, percent) in CHAINS {
        let afterwards = if has_optimiser() { SHORTENED } else { percent };
        for (inlined, percent) in whole(&packed, name).iter().zip([percent, afterwards]) {
            let parts: usize = inlined.parts.iter().map(|part| part.module_bytes).sum();
            let module = inlined.packed.report.module_bytes;
            let more = module as f64 / parts as f64 * 100.0 - 100.0;
            println!("{name}: {parts} B in parts, {module} B in one module, {more:+.1} %");
            assert!(more <= percent, "{name}: {more:+.1} %");
        }
    }
}

/// A value for a parameter or result: floats in a sensor's range, short lists and a few too long.
fn reading(random: &mut Random, ty: Type) -> Item {
    let number = |random: &mut Random, scalar| match scalar {
        Scalar::F32 | Scalar::F64 => Item::Float(random.below(4000) as f64 / 100.0 - 20.0),
        Scalar::S16 | Scalar::S32 => Item::Int(i128::from(random.below(4000)) - 2000),
        Scalar::Bool
        | Scalar::U8
        | Scalar::S8
        | Scalar::U16
        | Scalar::U32
        | Scalar::U64
        | Scalar::S64 => Item::Int(i128::from(random.below(140))),
    };
    match ty {
        Type::Scalar(scalar) => number(random, scalar),
        Type::List(scalar) => {
            let most = [4, 60, 130][random.below(3) as usize];
            let count = random.below(most);
            Item::List((0..count).map(|_| number(random, scalar)).collect())
        }
        Type::String => panic!("no tasklet of the repository has a string"),
    }
}

fn readings(random: &mut Random, types: impl Iterator<Item = Type>) -> Vec<u8> {
    let items: Vec<_> = types.map(|ty| reading(random, ty)).collect();
    values::encode(&items)
}

/// Compares a chain of the repository in both forms, on a machine and on a microcontroller.
fn compare_packed(name: &str, inputs: u64) {
    let packed = packed();
    let [inlined, short] = whole(&packed, name);
    let signatures: BTreeMap<String, Signature> = packed
        .iter()
        .map(|(name, file)| {
            let package = Package::decode(file).unwrap();
            (name.clone(), package.terms.export("").unwrap().signature)
        })
        .collect();
    let (seed, calls) = (Cell::new(0), Cell::new(0));
    let sensor = |name: &str, _: &[u8]| {
        calls.set(calls.get() + 1);
        let mut random = Random(seed.get() * 1000 + calls.get());
        readings(&mut random, signatures[name].results())
    };
    let mut apart = Floor::new(packed.values().map(Vec::as_slice), &sensor);
    let mut whole = Floor::new([&inlined.packed.file[..]], &sensor);
    let mut small = Floor::new([&inlined.packed.file[..]], &sensor).small();
    let mut shorter = Floor::new([&short.packed.file[..]], &sensor);
    let mut done = 0;
    for input in 0..inputs {
        seed.set(input);
        let args = readings(&mut Random(input), signatures[name].params());
        let run = |floor: &mut Floor<'_>| {
            calls.set(0);
            floor.heard.clear();
            floor.call(name, "", &args)
        };
        let expected = run(&mut apart);
        for floor in [&mut whole, &mut small, &mut shorter] {
            let found = run(floor);
            assert_eq!(floor.heard, apart.heard, "{name}, input {input}");
            match (&expected, &found) {
                (
                    End::Done { results, memory },
                    End::Done {
                        results: found,
                        memory: all,
                    },
                ) => {
                    assert_eq!(found, results, "{name}, input {input}");
                    assert_eq!(all[..memory.len()], memory[..], "{name}, input {input}");
                    done += 1;
                }
                (End::Trapped(expected), End::Trapped(found)) => assert_eq!(found, expected),
                (End::Refused, End::Trapped(_) | End::Refused) => {}
                _ => panic!("{found:?} instead of {expected:?}: {name}, input {input}"),
            }
        }
    }
    assert!(
        done >= inputs / 2,
        "{name}: {done} of {inputs} came to an end"
    );
}

#[test]
fn the_chains_of_the_repository_do_the_same_in_one_module() {
    for (name, _) in CHAINS {
        compare_packed(name, 60);
    }
}

/// `cargo test --release -p nimblenet-pack --test inline -- --ignored`
#[test]
#[ignore = "takes a while: the same with a thousand inputs each"]
fn the_chains_of_the_repository_do_the_same_on_a_thousand_inputs_each() {
    for (name, _) in CHAINS {
        compare_packed(name, 1000);
    }
}

fn named(name: &str) -> TaskletName {
    name.parse().unwrap()
}

/// A package of a module without a manifest.
fn tasklet(name: &str, module: &str) -> Vec<u8> {
    pack(module.as_bytes(), &Manifest::named(named(name)))
        .unwrap()
        .file
}

const DOUBLE: &str = r#"(module (func (export "run") (param i32) (result i32)
    (i32.shl (local.get 0) (i32.const 1))))"#;

/// A tasklet that calls another.
fn caller(callee: &str) -> String {
    format!(
        r#"(module (import "{callee}" "run" (func $callee (param i32) (result i32)))
            (func (export "run") (param i32) (result i32) (call $callee (local.get 0))))"#
    )
}

#[test]
fn tasklets_that_call_each_other_in_a_circle_are_refused_by_name() {
    let chain = tasklet("a/chain", &caller("a/one"));
    let one = tasklet("a/one", &caller("a/two"));
    let two = tasklet("a/two", &caller("a/one"));
    let with = [(named("a/one"), &one[..]), (named("a/two"), &two[..])];
    let error = inline(&chain, &with, None).unwrap_err();
    assert_eq!(
        error,
        InlineError::Circle(vec![named("a/one"), named("a/two")])
    );
    let open = inline(&chain, &with[..1], None).unwrap();
    let stays = open.packed.report.imports.iter().map(|it| &it.name[..]);
    assert!(stays.eq(["a/two"]), "what is not given stays a call");
}

#[test]
fn what_does_not_fit_the_chain_is_refused() {
    let chain = tasklet("a/chain", &caller("a/double"));
    let double = tasklet("a/double", DOUBLE);
    let refused = |with: &[(TaskletName, &[u8])]| inline(&chain, with, None).unwrap_err();

    let other = tasklet("a/other", DOUBLE);
    let error = refused(&[(named("a/other"), &other)]);
    assert_eq!(error, InlineError::CalledByNobody(named("a/other")));
    let error = refused(&[(named("a/double"), &other)]);
    let names = Box::new([named("a/double"), named("a/other")]);
    assert_eq!(error, InlineError::OtherName(names));
    let error = refused(&[(named("a/double"), &double), (named("a/double"), &double)]);
    assert_eq!(error, InlineError::Twice(named("a/double")));
    let error = refused(&[(named("a/double"), b"no package")]);
    assert!(matches!(error, InlineError::Package { of: Some(_), .. }));
    let wide = tasklet("a/double", &DOUBLE.replace("i32", "i64"));
    let error = refused(&[(named("a/double"), &wide)]);
    assert!(
        matches!(error, InlineError::OtherSignature { .. }),
        "{error}"
    );
    let other = tasklet("a/double", &DOUBLE.replace("\"run\"", "\"go\""));
    let error = refused(&[(named("a/double"), &other)]);
    assert!(matches!(error, InlineError::NoExport { .. }), "{error}");
}

#[test]
fn a_tasklet_that_keeps_values_under_its_name_stays_a_call() {
    let keeps = r#"(module (import "nimblenet:kv" "get" (func $get (param i32) (result i64)))
        (func (export "run") (param i32) (result i32) (i32.wrap_i64 (call $get (local.get 0)))))"#;
    let (chain, keeps) = (
        tasklet("a/chain", &caller("a/keeps")),
        tasklet("a/keeps", keeps),
    );
    let error = inline(&chain, &[(named("a/keeps"), &keeps)], None).unwrap_err();
    assert_eq!(error, InlineError::KeepsValues(named("a/keeps")));
    // The chain itself may.
    assert!(inline(&keeps, &[], None).is_ok());
}

#[test]
fn a_call_of_a_plain_function_costs_nothing_and_capabilities_are_imported_once() {
    let with_random = |import: &str, value: &str| {
        format!(
            r#"(module {import} (import "nimblenet:random" "u32" (func $random (result i32)))
                (func (export "run") (param i32) (result i32) (i32.add (call $random) {value})))"#
        )
    };
    let import = r#"(import "a/inner" "run" (func $inner (param i32) (result i32)))"#;
    let outer = with_random(import, "(call $inner (local.get 0))");
    let outer = tasklet("a/outer", &outer);
    let inner = tasklet("a/inner", &with_random("", "(local.get 0)"));
    let inlined = inline(&outer, &[(named("a/inner"), &inner)], Some(named("a/all"))).unwrap();
    let report = &inlined.packed.report;
    assert_eq!(report.name, "a/all");
    assert_eq!(report.capabilities, ["random"]);
    let package = Package::decode(&inlined.packed.file).unwrap();
    let module = nimblenet_wasm::Module::parse(package.module).unwrap();
    assert_eq!(module.imports().count(), 1);
    let has_between = module.function(3).is_some();
    assert!(!has_between, "the import and two functions are all");
}

#[test]
fn an_import_that_a_sub_tasklet_exports_again_gets_addresses_of_the_whole_memory() {
    let manifest = |name: &str, import: &str| {
        let text = format!(
            "name = \"a/{name}\"\nexports = {{ run = \"func(list<u8>) -> u32\" }}\narea = 8\n\
             [imports]\n\"{import}\" = \"func(list<u8>) -> u32\"\n"
        );
        Manifest::parse(&text).unwrap()
    };
    let again = r#"(module (import "dev/native" "run" (func $native (param i32 i32) (result i32)))
        (memory 1) (export "run" (func $native)))"#;
    let chain = r#"(module (import "a/again" "run" (func $again (param i32 i32) (result i32)))
        (memory 1) (global (export "__data_end") i32 (i32.const 40))
        (data (i32.const 32) "\01\02\03")
        (func (export "run") (param i32 i32) (result i32)
            (call $again (i32.const 32) (i32.const 3))))"#;
    let again = pack(again.as_bytes(), &manifest("again", "dev/native")).unwrap();
    let chain = pack(chain.as_bytes(), &manifest("chain", "a/again")).unwrap();
    let with = [(named("a/again"), &again.file[..])];
    let inlined = inline(&chain.file, &with, None).unwrap();
    let answer = |_: &str, _: &[u8]| vec![0x81, 7];
    let mut floor = Floor::new([&inlined.packed.file[..]], &answer);
    floor.call("a/chain", "", &[0x81, 0x40]);
    assert_eq!(
        floor.heard,
        [("dev/native".to_owned(), vec![0x81, 0x43, 1, 2, 3])]
    );
}

#[test]
fn text_that_is_not_utf_8_traps_where_a_node_would_not_carry_it() {
    let manifest = |name: &str, ty: &str, imports: &str| {
        let text = format!(
            "name = \"a/{name}\"\nexports = {{ run = \"func({ty}) -> u32\" }}\narea = 16\n\
             {imports}"
        );
        Manifest::parse(&text).unwrap()
    };
    let length = r#"(module (func (export "run") (param i32 i32) (result i32) (local.get 1)))"#;
    let chain = r#"(module (import "a/length" "run" (func $length (param i32 i32) (result i32)))
        (func (export "run") (param i32 i32) (result i32)
            (call $length (local.get 0) (local.get 1))))"#;
    let imports = "[imports]\n\"a/length\" = \"func(string) -> u32\"\n";
    let length = pack(length.as_bytes(), &manifest("length", "string", "")).unwrap();
    let chain = pack(chain.as_bytes(), &manifest("chain", "list<u8>", imports)).unwrap();
    let with = [(named("a/length"), &length.file[..])];
    let inlined = inline(&chain.file, &with, None).unwrap();
    let mut floor = Floor::new([&inlined.packed.file[..]], &native);
    // The edges of what each byte may be.
    let firsts = [
        0x00, 0x7f, 0x80, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0,
        0xf1, 0xf3, 0xf4, 0xf5, 0xff,
    ];
    let seconds = [0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0];
    let rests: [&[u8]; 6] = [b"", b"\x80", b"\xbf\x80", b"\x80\xbf\x80", b"a", b"\x80a"];
    for (first, second) in firsts
        .iter()
        .flat_map(|first| seconds.map(|second| (*first, second)))
    {
        for rest in rests {
            let bytes = [&[first, second], rest].concat();
            let args = values::encode(&[Item::Bytes(bytes.clone())]);
            let end = floor.call("a/chain", "", &args);
            let carried = matches!(end, End::Done { .. });
            assert_eq!(
                carried,
                core::str::from_utf8(&bytes).is_ok(),
                "{bytes:02x?}"
            );
        }
    }
}

#[test]
fn a_stack_address_beyond_the_caller_s_memory_traps_as_it_does_alone() {
    // 64 bytes of stack; its third word is beyond the memory if the frame is at the top.
    let chain = |offset: u32| {
        format!(
            r#"(module (import "a/inner" "run" (func $callee (param i32) (result i32)))
                (memory 1) (global $sp (mut i32) (i32.const 64))
                (global (export "__data_end") i32 (i32.const 64))
                (func (export "run") (param i32) (result i32) (local $s i32)
                    (global.set $sp (local.tee $s (i32.sub (global.get $sp) (i32.const 16))))
                    (i32.store offset={offset} (local.get $s) (local.get 0))
                    (drop (call $callee (local.get 0)))
                    (global.set $sp (i32.add (local.get $s) (i32.const 16)))
                    (i32.const 1)))"#
        )
    };
    let inner = r#"(module (memory 1) (global (export "__data_end") i32 (i32.const 99))
        (func (export "run") (param i32) (result i32) (i32.load (local.get 0))))"#;
    let inner = tasklet("a/inner", inner);
    for (offset, traps) in [(12, false), (13, true), (64, true)] {
        let outer = tasklet("a/outer", &chain(offset));
        let inlined = inline(&outer, &[(named("a/inner"), &inner)], None).unwrap();
        let args = values::encode(&[Item::Int(8)]);
        let apart = Floor::new([&outer[..], &inner[..]], &native).call("a/outer", "", &args);
        let whole = Floor::new([&inlined.packed.file[..]], &native).call("a/outer", "", &args);
        for end in [apart, whole] {
            assert_eq!(
                matches!(end, End::Trapped(_)),
                traps,
                "offset {offset}: {end:?}"
            );
        }
    }
}
