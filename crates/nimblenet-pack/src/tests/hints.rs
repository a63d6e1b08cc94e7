//! What an author is told to do.

use super::*;

#[test]
fn what_needs_an_operating_system_is_said_to() {
    let module = "(module (import \"wasi_snapshot_preview1\" \"fd_write\"
        (func (param i32 i32 i32 i32) (result i32))) (func (export \"run\")))";
    let said = refused(module, "").to_string();
    assert!(
        said.contains("fd_write") && said.contains("printf"),
        "{said}"
    );
}

#[test]
fn parameters_that_are_addresses_are_said_to_be_lists_perhaps() {
    let head = "(module (memory 1) (global (export \"__data_end\") i32 (i32.const 0))";
    for (function, expected) in [
        (
            "(func (export \"run\") (param i32 i32) (result f32) (local f32)
                (loop $more
                    (local.set 2 (f32.add (local.get 2) (f32.load (local.get 0))))
                    (local.set 0 (i32.add (local.get 0) (i32.const 4)))
                    (br_if $more
                        (local.tee 1 (i32.sub (local.get 1) (i32.const 1)))))
                (local.get 2))",
            "func(list<f32>) -> f32",
        ),
        (
            "(func (export \"run\") (param i32 i32 f64 i32 i32) (result i32)
                (i32.store8
                    (i32.add (local.get 3) (local.get 4))
                    (i32.load16_s (i32.add (local.get 0) (i32.shl (local.get 1) (i32.const 1)))))
                (local.get 4))",
            "func(list<s16>, f64) -> list<u8>",
        ),
    ] {
        let notes = packed(&format!("{head} {function})"), "")
            .report
            .notes
            .join("\n");
        assert!(
            notes.contains(&format!("exports = {{ run = \"{expected}\" }}")),
            "{notes}"
        );
    }
    let sum = "(func (export \"run\") (param i32 i32) (result i32)
        (i32.add (local.get 0) (local.get 1)))";
    let notes = packed(&format!("{head} {sum})"), "").report.notes;
    assert!(!notes.join("\n").contains("list"), "{notes:?}");
}

#[test]
fn names_of_parameters_reach_the_package() {
    let module = "(module (func (export \"run\") (param i32 i32) (result i32) (local.get 1)))";
    let signature = "func(limit: u32, u32) -> u32";
    let packed = packed(module, &format!("exports = {{ run = \"{signature}\" }}"));
    assert_eq!(packed.report.exports["run"], signature);
    let names = param_names(&packed.file).unwrap();
    assert_eq!(names, [["limit".to_owned(), String::new()]]);
    let package = Package::decode(&packed.file).unwrap();
    let run = package.terms.export("run").unwrap();
    assert_eq!(run.signature.to_string(), "func(u32, u32) -> u32");
    let odd = Manifest::parse("exports = { run = \"func(a b: u32)\" }").unwrap_err();
    assert_eq!(odd, PackError::ParameterName("a b".to_owned()));
}

#[test]
fn refused_types_are_named_one_by_one_with_what_to_write() {
    let text = "exports = { run = \"func(a: i32, list<list<f32>>, c: char) -> tuple<usize, u8>\" }";
    let error = Manifest::parse(text).unwrap_err().to_string();
    for expected in [
        "the signature of `run`, parameter `a`: tasklets have no `i32`; write s32",
        "parameter 2: tasklets have no `list<list<f32>>`; pass one list",
        "parameter `c`: tasklets have no `char`",
        "the result: tasklets have no `usize`; write u32",
    ] {
        assert!(error.contains(expected), "{error}");
    }
    assert!(!error.contains("`u8`"), "{error}");
    let module = "(module (func (export \"run\") (param f32 externref v128)))";
    let error = refused(module, "").to_string();
    assert!(error.contains("SIMD"), "{error}");
    let module = "(module (func (export \"run\") (param f32 externref) (result funcref)
        (ref.null func)))";
    let error = refused(module, "").to_string();
    assert!(
        error.contains("parameter 2 of `run` is externref"),
        "{error}"
    );
    assert!(error.contains("result 1 of `run` is funcref"), "{error}");
}

#[test]
fn features_that_tasklets_have_not_are_named_with_the_flag_that_avoids_them() {
    for (module, expected) in [
        (
            "(module (func (export \"run\") (result i32)
                (i32x4.extract_lane 0 (v128.const i32x4 1 2 3 4))))",
            &["SIMD", "-mno-simd128"][..],
        ),
        (
            "(module (memory i64 1) (func (export \"run\")))",
            &["memory64", "wasm32"],
        ),
        (
            "(module (memory 1 1 shared) (func (export \"run\") (result i32)
                (i32.atomic.load (i32.const 0))))",
            &["threads", "-pthread"],
        ),
        (
            "(module (tag $t) (func (export \"run\") (throw $t)))",
            &["exceptions", "-fno-exceptions"],
        ),
        (
            "(module (func $f (export \"run\") (return_call $f)))",
            &["tail calls", "-mno-tail-call"],
        ),
        (
            "(module (memory 1) (memory 1) (func (export \"run\")))",
            &["more than one memory"],
        ),
        (
            "(module (memory i64 1) (func $f (export \"run\") (return_call $f)))",
            &["memory64", "tail calls"],
        ),
        ("(component)", &["component", "wasm32-unknown-unknown"]),
    ] {
        let error = refused(module, "").to_string();
        for expected in expected {
            assert!(error.contains(expected), "{error}");
        }
        assert!(!error.contains("offset"), "{error}");
    }
}

#[test]
fn a_key_of_the_manifest_says_what_it_may_be() {
    for (line, range) in [
        ("fuel = 0", "from 1 to 9223372036854775807"),
        ("fuel = -1", "from 1 to 9223372036854775807"),
        ("fuel = \"much\"", "a whole number from 1"),
        ("cost = -1", "from 0 to 9223372036854775807"),
        ("memory = 4294967296", "from 0 to 4294967295"),
        ("heap = 1.5", "a whole number from 0"),
        ("area = true", "from 0 to 4294967295"),
        ("stack = -16", "from 0 to 4294967295"),
    ] {
        let said = Manifest::parse(line).unwrap_err().to_string();
        assert!(said.contains(range), "{line}: {said}");
        let key = line.split(' ').next().unwrap();
        assert!(said.contains(key), "{line}: {said}");
    }
}

#[test]
fn what_no_node_takes_is_said_in_the_terms_of_an_author() {
    let run = "(func (export \"run\") (param i32) (result i32)
        (memory.fill (local.get 0) (local.get 0) (local.get 0)) (memory.size))";
    let large = |pages: u32| refused(&format!("(module (memory {pages}) {run})"), "").to_string();
    assert!(large(65_536).contains("4 GiB"), "{}", large(65_536));
    let said = large(16_384);
    assert!(
        said.contains("no node runs it: linear memory takes 1073741824 of"),
        "{said}"
    );

    let stores = "(i32.store (local.get 0) (local.get 0))".repeat(20_000);
    let long = format!("(module (memory 1) (func (export \"run\") (param i32) {stores}))");
    let said = refused(&long, "").to_string();
    assert!(
        said.contains("a function is too long for the interpreter"),
        "{said}"
    );

    let empty = refused("", "").to_string();
    assert!(empty.contains("the file is empty"), "{empty}");
}
