use nimblenet_tasklet::{Area, Capability, Package};
use wasmparser::{Parser, Payload};

use super::*;

mod hints;
mod needs;
mod stack;
mod start;

fn manifest(text: &str) -> Manifest {
    let manifest = Manifest::parse(text).unwrap();
    manifest.with_name("floor/x".parse().unwrap()).unwrap()
}

fn packed(module: &str, manifest_text: &str) -> Packed {
    pack(module.as_bytes(), &manifest(manifest_text)).unwrap()
}

fn refused(module: &str, manifest_text: &str) -> PackError {
    pack(module.as_bytes(), &manifest(manifest_text)).unwrap_err()
}

/// The packed module's memories, in words.
fn memories(packed: &Packed) -> String {
    let module = Package::decode(&packed.file).unwrap().module;
    let mut memories = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::MemorySection(section) = payload.unwrap() {
            for memory in section {
                let memory = memory.unwrap();
                let log2 = memory.page_size_log2.unwrap_or(16);
                memories.push(format!("{} pages of {} B", memory.initial, 1 << log2));
            }
        }
    }
    memories.join(", ")
}

const LOAD: &str = "(func (export \"run\") (param i32) (result i32)
    (i32.load offset=4 (local.get 0)))";

#[test]
fn a_module_that_touches_no_memory_has_none() {
    let module = "(module (memory (export \"memory\") 17) (data (i32.const 8) \"unused\")
        (func (export \"run\") (param i32 i32) (result i32)
            (i32.add (local.get 0) (local.get 1))))";
    let packed = packed(module, "");
    assert_eq!(memories(&packed), "");
    assert_eq!(packed.report.memory_bytes, 0);
    assert_eq!(packed.report.memory_bytes_before, 17 * 65536);
    assert_eq!(packed.report.module_bytes, 41);
}

#[test]
fn data_alone_takes_the_bytes_up_to_its_end() {
    let module = format!(
        "(module (memory 1) (data (i32.const 16) \"abc\") (data (i32.const 4) \"d\")
         (global (export \"__data_end\") i32 (i32.const 19)) {LOAD})"
    );
    let packed = packed(&module, "");
    assert_eq!(memories(&packed), "19 pages of 1 B");
    assert_eq!(packed.report.memory_bytes, 19);
    assert_eq!(packed.report.area.len, 0);
}

#[test]
fn a_stack_counts_up_to_its_pointer_if_it_is_used() {
    let module = |body: &str| {
        format!(
            "(module (memory 2) (global (mut i32) (i32.const 1328)) (data (i32.const 1024) \"abc\")
             (global (export \"__data_end\") i32 (i32.const 1027))
             (func (export \"run\") (result i32) {body}))"
        )
    };
    // 80 bytes from the first multiple of 16 behind the data.
    let frame = "(i32.load (i32.sub (global.get 0) (i32.const 80)))";
    assert_eq!(packed(&module(frame), "").report.memory_bytes, 1040 + 80);
    let unused = packed(&module("(i32.load8_u (i32.const 1026))"), "");
    assert_eq!(unused.report.memory_bytes, 1027);
}

#[test]
fn what_the_linker_says_counts_data_without_initial_values() {
    let module = |exports: &str| {
        format!(
            "(module (memory 1) (global i32 (i32.const 700)) (global i32 (i32.const 704))
             {exports} {LOAD})"
        )
    };
    let end = "(export \"__data_end\" (global 0)) (export \"__heap_base\" (global 1))";
    assert_eq!(packed(&module(end), "").report.memory_bytes, 700);
    let base = "(export \"__heap_base\" (global 1))";
    assert_eq!(packed(&module(base), "").report.memory_bytes, 704);
    assert_eq!(packed(&module(base), "heap = 100").report.memory_bytes, 804);
    // A stack that comes first, and that no code uses, is not data.
    assert_eq!(packed(&module(end), "stack = 700").report.memory_bytes, 0);
}

#[test]
fn the_manifest_may_say_how_much_memory_there_is() {
    let module = format!("(module (memory 1) (data (i32.const 100) \"abc\") {LOAD})");
    assert_eq!(packed(&module, "memory = 2000").report.memory_bytes, 2000);
    assert_eq!(
        refused(&module, "memory = 102"),
        PackError::MemoryTooSmall {
            given: 102,
            used: 103
        }
    );
}

#[test]
fn code_that_asks_for_its_size_keeps_its_pages() {
    let module = "(module (memory 2) (func (export \"run\") (param i32) (result i32)
        (memory.grow (local.get 0))))";
    let fixed = packed(module, "");
    assert_eq!(memories(&fixed), "2 pages of 65536 B");
    assert_eq!(fixed.report.memory_bytes, 2 * 65536);
    assert_eq!(fixed.report.notes.len(), 3, "{:?}", fixed.report.notes);
    // A maximum is the module's own word.
    let bounded = module.replace("(memory 2)", "(memory 2 9)");
    for (manifest, pages) in [("", 9), ("heap = 100000", 3), ("heap = 1000000", 9)] {
        let growing = packed(&bounded, manifest);
        assert_eq!(growing.report.memory_bytes / 65536, pages);
    }
    let asks = bounded.replace("(memory.grow (local.get 0))", "(memory.size)");
    assert_eq!(packed(&asks, "").report.memory_bytes, 2 * 65536);
    let lists = "(module (memory 1) (func (export \"run\") (param i32 i32) (result i32)
        (memory.size)))";
    let signature = "exports = { run = \"func(list<u8>) -> u32\" }";
    assert_eq!(refused(lists, signature), PackError::AreaOfGrowing);
}

#[test]
fn lists_cross_in_an_area_behind_everything_else() {
    let module = "(module (memory 1) (data (i32.const 1) \"abc\")
        (global (export \"__data_end\") i32 (i32.const 4))
        (func (export \"run\") (param i32 i32) (result i32) (i32.load (local.get 0))))";
    let signature = "exports = { run = \"func(list<u8>) -> u32\" }";
    let package = packed(module, signature);
    let terms = Package::decode(&package.file).unwrap().terms;
    assert_eq!((terms.area.offset, terms.area.len), (8, 512));
    assert_eq!(terms.memory_bytes, 520);
    let sized = packed(module, &format!("{signature}\narea = 31"));
    assert_eq!((sized.report.area.len, sized.report.memory_bytes), (31, 39));
}

#[test]
fn a_module_without_memory_gets_one_for_lists() {
    let module = "(module (func (export \"run\") (param i32 i32) (result i32) (local.get 1)))";
    let packed = packed(module, "exports = { run = \"func(list<u8>) -> u32\" }");
    assert_eq!(memories(&packed), "520 pages of 1 B");
}

#[test]
fn a_module_may_reserve_its_own_area() {
    let module = "(module (memory 1) (global i32 (i32.const 64))
        (global i32 (i32.const 200))
        (export \"nimblenet_area\" (global 0)) (export \"__data_end\" (global 1))
        (func (export \"run\") (param i32 i32) (result i32) (i32.load (local.get 0))))";
    let signature = "exports = { run = \"func(list<u8>) -> u32\" }";
    let package = packed(module, &format!("{signature}\narea = 136"));
    let terms = Package::decode(&package.file).unwrap().terms;
    assert_eq!(
        terms.area,
        Area {
            offset: 64,
            len: 136
        }
    );
    assert_eq!(terms.memory_bytes, 200);
    assert_eq!(
        refused(module, &format!("{signature}\narea = 137")),
        PackError::AreaOutside
    );
}

#[test]
fn fixed_addresses_outside_the_derived_memory_are_refused() {
    let module = |access: &str| {
        format!(
            "(module (memory 1) (global (export \"__data_end\") i32 (i32.const 0))
             (func (export \"run\") (param i32) {access}))"
        )
    };
    for access in [
        "(drop (i32.load16_u offset=2 (i32.const 1024)))",
        "(i32.store16 (i32.const 1026) (local.get 0))",
        "(i32.store16 (i32.const 1026) (i32.const 7))",
    ] {
        let (end, memory) = (1028, 0);
        assert_eq!(
            refused(&module(access), ""),
            PackError::StaticBeyond { end, memory }
        );
        assert_eq!(
            packed(&module(access), "memory = 1028").report.memory_bytes,
            1028
        );
    }
}

#[test]
fn the_stack_of_the_manifest_is_the_linked_one() {
    let module = "(module (memory 1) (global (mut i32) (i32.const 512))
        (func (export \"run\") (result i32) (i32.load (global.get 0))))";
    packed(module, "stack = 512");
    packed(module, "stack = 500");
    let (given, found) = (256, 512);
    assert_eq!(
        refused(module, "stack = 256"),
        PackError::OtherStack { given, found }
    );
}

#[test]
fn nothing_for_tools_is_left_and_the_rest_is_renumbered() {
    let module = "(module (@custom \"producers\" \"someone\")
        (memory (export \"memory\") 1)
        (global $unused (export \"__data_end\") i32 (i32.const 16))
        (global $kept (mut i32) (i32.const 7))
        (global $copy i32 (i32.const 3))
        (data (i32.const 8) \"abc\")
        (func $helper (export \"malloc\") (result i32) (global.get $kept))
        (func $named (export \"run\") (param i32) (result i32)
            (global.set $kept (local.get 0))
            (i32.add (call $helper) (i32.load8_u (i32.const 8)))))";
    let packed = packed(module, "exports = { run = \"func(s32) -> s32\" }");
    let module = Package::decode(&packed.file).unwrap().module;
    let (mut exports, mut globals) = (0, 0);
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.unwrap();
        assert!(!matches!(payload, Payload::CustomSection(_)));
        if let Payload::ExportSection(section) = &payload {
            exports = section.count();
        } else if let Payload::GlobalSection(section) = &payload {
            globals = section.count();
        }
    }
    assert_eq!((exports, globals), (1, 1));
    assert_eq!(packed.report.memory_bytes, 16);
    let again = pack(
        module,
        &manifest("exports = { run = \"func(s32) -> s32\" }"),
    )
    .unwrap();
    assert_eq!(Package::decode(&again.file).unwrap().module, module);
}

#[test]
fn imports_keep_their_order_and_types() {
    let module = "(module
        (import \"shop/lamp\" \"run\" (func (param i32)))
        (import \"nimblenet:clock\" \"now-us\" (func (result i64)))
        (import \"std/rms\" \"run\" (func (param i32 i32) (result f32)))
        (import \"std/rms\" \"fast\" (func (param f32) (result f32)))
        (memory 1)
        (func (export \"run\")))";
    let packed = packed(
        module,
        "imports = { \"std/rms\" = \"func(list<f32>) -> f32\", \"shop/lamp\" = \"func(u32)\" }",
    );
    let package = Package::decode(&packed.file).unwrap();
    let names: Vec<_> = package
        .imports()
        .map(|it| (it.name.to_string(), it.export))
        .collect();
    let expected = [
        ("shop/lamp", "run"),
        ("std/rms", "run"),
        ("std/rms", "fast"),
    ];
    assert_eq!(
        names,
        expected.map(|(name, export)| (name.to_owned(), export))
    );
    assert!(package.terms.capabilities.has(Capability::Clock));
    // The host copies a list out of this memory, though no instruction touches it.
    assert_eq!(package.terms.memory_bytes, 0);
    assert_eq!(memories(&packed), "0 pages of 1 B");

    let wrong = refused(module, "imports = { \"std/rms\" = \"func(f32) -> f32\" }");
    assert_eq!(
        wrong.to_string(),
        "`std/rms` is (i32, i32) -> (f32) in the module, but its signature func(f32) -> f32 means \
         (f32) -> (f32)"
    );
    let missing = refused(module, "imports = { \"std/rmx\" = \"func(f32) -> f32\" }");
    assert_eq!(missing, PackError::NotImported("std/rmx".to_owned()));
    let listed = refused(module, "capabilities = [\"log\"]");
    assert!(matches!(listed, PackError::Capabilities { .. }), "{listed}");
}

#[test]
fn foreign_imports_are_named() {
    for (import, expected) in [
        ("\"env\" \"puts\" (func)", "`env`.`puts`"),
        ("\"nimblenet:radio\" \"send\" (func)", "`radio`"),
        (
            "\"nimblenet:clock\" \"now\" (func)",
            "`nimblenet:clock`.`now`",
        ),
        (
            "\"nimblenet:clock\" \"now-us\" (func)",
            "nimblenet:clock.now-us",
        ),
        ("\"a/B\" \"run\" (func)", "`a/B`"),
        ("\"env\" \"memory\" (memory 1)", "imported memory"),
        ("\"env\" \"g\" (global i32)", "imported globals"),
    ] {
        let module = format!("(module (import {import}) (func (export \"run\")))");
        let error = refused(&module, "").to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn bad_manifests_name_what_is_wrong() {
    for (text, expected) in [
        ("fule = 5", "fule"),
        ("fuel = \"much\"", "fuel"),
        ("executor = \"docker\"", "docker"),
        ("exports = { run = \"func(i32)\" }", "`run`"),
        ("exports = { run = \"func(u32\" }", "`run`"),
        ("capabilities = [\"radio\"]", "`radio`"),
        ("name = \"rms\"", "namespace/name"),
        ("fuel = ", "line 1"),
    ] {
        let error = Manifest::parse(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let named = Manifest::parse("name = \"a/b\"").unwrap();
    let other = named.with_name("a/c".parse().unwrap());
    assert!(matches!(other, Err(PackError::OtherName { .. })));
}

#[test]
fn exports_must_be_there_and_of_their_types() {
    let module = "(module (func (export \"run\") (param f64)) (func (export \"other\")))";
    let absent = refused(module, "exports = { walk = \"func()\" }");
    assert_eq!(absent, PackError::NotExported("walk".to_owned()));
    let wrong = refused(module, "exports = { run = \"func(f32)\" }");
    assert!(matches!(wrong, PackError::Mismatch { .. }), "{wrong}");
    assert_eq!(refused("(module)", ""), PackError::NothingExported);
    let derived = packed(module, "");
    assert_eq!(derived.report.exports["run"], "func(f64)");
    assert_eq!(derived.report.exports.len(), 2);
}

#[test]
fn what_tasklets_may_not_use_is_refused() {
    for module in [
        "(module (func (export \"run\") (param v128)))",
        "(module (memory i64 1) (func (export \"run\")))",
        "(module (memory 1) (memory 1) (func (export \"run\")))",
        "(module (func (export \"run\") (result i32)))",
        "(module (func (export \"run\") (param externref)))",
        "(modul)",
    ] {
        let error = refused(module, "");
        let named = matches!(
            error,
            PackError::Invalid(_)
                | PackError::Text(_)
                | PackError::Types(_)
                | PackError::Features(_)
        );
        assert!(named, "{error:?}");
    }
    assert!(matches!(
        pack(b"\0asm\x01", &manifest("")),
        Err(PackError::Invalid(_))
    ));
    assert_eq!(pack(b"", &manifest("")).unwrap_err(), PackError::NoModule);
}

#[test]
fn a_native_tasklet_is_its_manifest() {
    let text = "executor = \"native\"\nexports = { run = \"func(u32) -> list<s16>\" }\n\
                capabilities = [\"sensor\"]";
    let packed = packed("", text);
    let package = Package::decode(&packed.file).unwrap();
    assert_eq!(package.terms.executor, Executor::Native);
    assert_eq!(package.module, b"");
    assert_eq!(package.terms.memory_bytes, 0);
    assert!(package.terms.capabilities.has(Capability::Sensor));
    assert_eq!(refused("(module)", text), PackError::ModuleOfNative);
    assert_eq!(
        refused("", &format!("{text}\narea = 8")),
        PackError::MemoryOfNative
    );
    assert_eq!(
        refused("", "executor = \"native\""),
        PackError::NativeWithoutExports
    );
}

/// The bytes in the `hex` blocks of spec/package.md.
fn vectors() -> Vec<Vec<u8>> {
    let spec = include_str!("../../../spec/package.md");
    let blocks = spec.split("```hex\n").skip(1);
    blocks
        .map(|block| {
            let (block, _) = block.split_once("```").unwrap();
            let digits: String = block
                .lines()
                .flat_map(|line| line.split('#').next().unwrap().split_whitespace())
                .collect();
            (0..digits.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
                .collect()
        })
        .collect()
}

#[test]
fn the_packages_of_the_specification_are_what_is_packed() {
    let spec = include_str!("../../../spec/package.md");
    let (_, module) = spec.split_once("```wat\n").unwrap();
    let (module, _) = module.split_once("```").unwrap();
    let (_, manifest) = spec.split_once("```toml\n").unwrap();
    let (manifest, _) = manifest.split_once("```").unwrap();
    let manifest = Manifest::parse(manifest).unwrap();
    let [vector] = &vectors()[..] else {
        panic!("one vector is expected");
    };
    let packed = pack(module.as_bytes(), &manifest).unwrap();
    let found: String = packed
        .file
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let expected: String = vector.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(found, expected);
}

#[test]
fn an_example_is_run_and_its_fuel_is_the_cost() {
    let module = "(module (func (export \"run\") (param i32) (result i32)
        (loop $again
            (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
            (br_if $again (local.get 0)))
        (local.get 0)))";
    let cost = |example: &str| packed(module, example).report.cost;
    assert_eq!(cost(""), 0);
    let (short, long) = (cost("example = \"[10]\""), cost("example = \"[1000]\""));
    assert!(0 < short && short < long, "{short} {long}");
    let endless = refused(module, "fuel = 500\nexample = \"[1000]\"");
    assert!(
        endless.to_string().contains("needs more than `fuel`"),
        "{endless}"
    );
    assert_eq!(packed(module, "cost = 70").report.cost, 70);
    let twice = Manifest::parse("cost = 70\nexample = \"[1]\"");
    assert!(matches!(twice, Err(PackError::CostTwice)));
    for (example, expected) in [
        ("[1, 2]", "1 values are expected"),
        ("[true]", "value 1"),
        ("1", "one array"),
        ("[", "example"),
    ] {
        let error = refused(module, &format!("example = \"{example}\"")).to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn names_of_functions_go_beside_the_package_and_fit_its_module() {
    let module = r#"(module
        (import "nimblenet:clock" "now-us" (func $now (result i64)))
        (global $unused i32 (i32.const 1))
        (func $helper (param i32) (result i32) (i32.div_s (i32.const 1) (local.get 0)))
        (func (param i32))
        (func $"odd\0aname" (export "run") (param i32) (result i32)
            (drop (call $now)) (call $helper (local.get 0))))"#;
    let packed = packed(module, "");
    let names = packed.names.unwrap();
    let module = Package::decode(&packed.file).unwrap().module;
    assert!(Names::of(names.tasklet, module, module).is_empty());
    let all: Vec<_> = (0..5).map(|index| names.function(index)).collect();
    let odd = Some("odd\\nname");
    assert_eq!(all, [Some("now"), Some("helper"), None, odd, None]);
    assert_eq!(names.digest, nimblenet_tasklet::Digest::of(module));

    let text = names.to_string();
    assert_eq!(Names::parse(&text), Some(names));
    for wrong in [
        "",
        "nimblenet names 1",
        &text.replace(" 1\n", " 2\n"),
        &text.replace('/', "-"),
    ] {
        assert_eq!(Names::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn a_module_without_names_has_no_file_of_them() {
    let module = "(module (func (export \"run\") (param i32)))";
    assert_eq!(packed(module, "").names, None);
}
