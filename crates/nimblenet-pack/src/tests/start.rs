//! What runs before the first call.

use nimblenet_wasm::{Instance, LoadOptions, Step, Value, aligned};

use super::*;

/// Runs the export `name` of a packed module, after its start function, and returns the results.
pub(super) fn run(packed: &Packed, name: &str, args: &[Value]) -> Vec<Value> {
    let code = Package::decode(&packed.file).unwrap().module;
    let mut space = vec![0; 1 << 20];
    let loaded = Instance::load(aligned(&mut space), code, &LoadOptions::default());
    let mut instance = loaded.unwrap();
    instance.set_fuel(1_000_000);
    if instance.has_start() {
        instance.invoke_start().unwrap();
        assert_eq!(instance.run(), Step::Done);
    }
    instance.invoke(name, args).unwrap();
    assert_eq!(instance.run(), Step::Done);
    let mut results = vec![Value::I32(0); 1];
    instance.results(&mut results);
    results
}

/// A module whose constructor sets a variable to 42, with what `more` adds.
fn constructed(export: &str, more: &str) -> String {
    format!(
        "(module (memory 1) (global $answer (mut i32) (i32.const 0))
         (func $construct (export \"{export}\")
            (global.set $answer (i32.add (global.get $answer) (i32.const 42))))
         (func (export \"run\") (param i32) (result i32) (global.get $answer)) {more})"
    )
}

#[test]
fn constructors_run_before_the_first_call() {
    for export in ["_initialize", "__wasm_call_ctors"] {
        for manifest in ["", "exports = { run = \"func(s32) -> s32\" }"] {
            let packed = packed(&constructed(export, ""), manifest);
            assert_eq!(run(&packed, "run", &[Value::I32(0)]), [Value::I32(42)]);
            let exports: Vec<_> = packed.report.exports.keys().collect();
            assert_eq!(exports, ["run"]);
        }
    }
}

#[test]
fn a_start_function_and_a_constructor_both_run_in_this_order() {
    let start = "(func $start (global.set $answer (i32.const 100))) (start $start)
        (elem declare func $start)";
    let packed = packed(&constructed("_initialize", start), "");
    assert_eq!(run(&packed, "run", &[Value::I32(0)]), [Value::I32(142)]);
    // One that is both runs once.
    let both = super::packed(&constructed("_initialize", "(start $construct)"), "");
    assert_eq!(run(&both, "run", &[Value::I32(0)]), [Value::I32(42)]);
}

#[test]
fn a_constructor_is_nobodys_to_call_and_takes_nothing() {
    let listed = "exports = { run = \"func(s32) -> s32\", _initialize = \"func()\" }";
    let error = refused(&constructed("_initialize", ""), listed);
    assert_eq!(
        error,
        PackError::ConstructorExported("_initialize".to_owned())
    );
    let typed = "(module (func (export \"_initialize\") (param i32)) (func (export \"run\")))";
    let error = refused(typed, "").to_string();
    assert!(error.contains("(i32) -> ()"), "{error}");
}

#[test]
fn the_stack_of_a_constructor_counts() {
    let module = "(module (memory 1) (global $sp (mut i32) (i32.const 16))
        (global (export \"__data_end\") i32 (i32.const 20))
        (func (export \"_initialize\")
            (i32.store (i32.sub (global.get $sp) (i32.const 32)) (i32.const 1)))
        (func (export \"run\") (result i32) (i32.load (i32.const 16))))";
    assert!(matches!(
        refused(module, ""),
        PackError::StackTooSmall {
            needed: 32,
            stack: 16,
            ..
        }
    ));
}

#[test]
fn an_import_is_exported_as_it_is_and_may_be_the_constructor() {
    let module = "(module (import \"std/add\" \"run\" (func $add (param i32 i32) (result i32)))
        (import \"nimblenet:random\" \"u32\" (func $random (result i32)))
        (import \"shop/begin\" \"run\" (func $begin))
        (export \"run\" (func $add)) (export \"dice\" (func $random))
        (export \"_initialize\" (func $begin)))";
    // Without functions of its own, the module ends before the place of the start function.
    let binary = wat::parse_str(module).unwrap();
    let unpacked = with_constructor(&binary).unwrap();
    let mut space = vec![0; 10_000];
    let loaded = Instance::load(aligned(&mut space), &unpacked, &LoadOptions::default());
    assert!(loaded.unwrap().has_start());

    let packed = packed(
        module,
        "exports = { run = \"func(u32, u32) -> u32\", dice = \"func() -> u32\" }",
    );
    let code = Package::decode(&packed.file).unwrap().module;
    let mut space = vec![0; 10_000];
    let loaded = Instance::load(aligned(&mut space), code, &LoadOptions::default());
    let mut instance = loaded.unwrap();
    instance.invoke_start().unwrap();
    let Step::Call(call) = instance.run() else {
        panic!("the constructor is a call");
    };
    assert_eq!(call.import, 2);
    instance.resume(&[]).unwrap();
    assert_eq!(instance.run(), Step::Done);
    instance
        .invoke("run", &[Value::I32(2), Value::I32(3)])
        .unwrap();
    let Step::Call(call) = instance.run() else {
        panic!("the export is a call");
    };
    assert_eq!(call.import, 0);
    instance.resume(&[Value::I32(5)]).unwrap();
    assert_eq!(instance.run(), Step::Done);
}

#[test]
fn two_imports_may_be_what_runs_first() {
    let module =
        "(module (import \"shop/a\" \"run\" (func $a)) (import \"shop/b\" \"run\" (func $b))
        (export \"run\" (func $a)) (start $a) (export \"_initialize\" (func $b)))";
    let packed = packed(module, "");
    let code = Package::decode(&packed.file).unwrap().module;
    let mut space = vec![0; 100_000];
    let loaded = Instance::load(aligned(&mut space), code, &LoadOptions::default());
    let mut instance = loaded.unwrap();
    instance.set_fuel(1000);
    instance.invoke_start().unwrap();
    for import in [0, 1] {
        let step = instance.run();
        assert!(
            matches!(step, Step::Call(call) if call.import == import),
            "{step:?}"
        );
        instance.resume(&[]).unwrap();
    }
    assert_eq!(instance.run(), Step::Done);
}
