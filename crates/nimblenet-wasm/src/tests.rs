//! Tests of how many bytes of a module are read, repeated reads included: the work of every
//! operation is proportional to the module and its memory, or within the budget of validation. They
//! count, and do not measure time.
#![allow(
    clippy::unwrap_used,
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc
)]

extern crate std;

use std::cell::Cell;
use std::fmt::Write as _;
use std::string::String;
use std::vec::Vec;
use std::{format, println, vec};

use crate::{
    Fault, Instance, InvokeError, Limits, LoadError, LoadOptions, Step, Trap, Value, aligned,
    validate,
};

std::thread_local! {
    /// Bytes of modules and images that this thread has read one by one.
    pub(crate) static BYTES_READ: Cell<u64> = const { Cell::new(0) };
}

/// How many bytes are read while `operation` runs.
fn reads<T>(operation: impl FnOnce() -> T) -> (T, u64) {
    let before = BYTES_READ.get();
    let result = operation();
    (result, BYTES_READ.get() - before)
}

/// A constant expression of about this many bytes that yields `value`.
fn long_constant(value: u32, bytes: usize) -> String {
    let mut flat = format!("i32.const {value} ");
    for _ in 0..bytes / 3 {
        flat.push_str("i32.const 0 i32.add ");
    }
    flat
}

/// Modules in which as much as possible is read more than once.
fn greedy() -> Vec<(&'static str, String)> {
    let call = r#"(import "h" "h" (func $h)) (func (export "run") (call $h))"#;
    let mut tables = String::from(call);
    for _ in 0..200 {
        tables.push_str("(table 1 funcref)");
    }
    for table in 0..200 {
        let offset = long_constant(0, 40);
        write!(tables, "(elem (table {table}) (offset {offset}) func $h)").unwrap();
    }
    write!(tables, "(elem func {})", "$h ".repeat(3000)).unwrap();
    let mut segments = format!("{call} (memory 1)");
    for segment in 0..32 {
        let offset = long_constant(segment * 64, 400);
        write!(segments, "(data (offset {offset}) \"ab\")").unwrap();
    }
    let globals = format!("{call} {}", "(global i32 (i32.const 7))".repeat(250));
    vec![
        ("tables", format!("(module {tables})")),
        ("segments", format!("(module {segments})")),
        ("globals", format!("(module {globals})")),
        (
            "an empty active segment",
            format!("(module {call} (memory 1) (data (i32.const 8) \"\"))"),
        ),
    ]
}

#[test]
fn freezing_and_thawing_read_a_module_a_few_times_at_most() {
    for (what, text) in greedy() {
        let code = wat::parse_str(text).unwrap();
        let options = LoadOptions {
            limits: Limits::small(),
            ..LoadOptions::default()
        };
        let mut bytes = vec![0; 200_000];
        let (loaded, load) = reads(|| Instance::load(aligned(&mut bytes), &code, &options));
        let mut instance = loaded.unwrap();
        instance.set_fuel(1000);
        instance.invoke("run", &[]).unwrap();
        assert!(matches!(instance.run(), Step::Call(_)));
        let (len, measure) = reads(|| instance.image_len().unwrap());
        let mut image = vec![0; len];
        let (_, freeze) = reads(|| instance.freeze(&mut image).unwrap());
        let mut other = vec![0; 200_000];
        let (thawed, thaw) =
            reads(|| Instance::thaw(aligned(&mut other), &code, &image, &options).map(drop));
        thawed.unwrap();
        let (_, reset) = reads(|| instance.reset().unwrap());
        let len = code.len() as u64;
        println!("{what}: {len} bytes; {load} {measure} {freeze} {thaw} {reset} read");
        assert!(
            measure <= 2 * len && freeze <= 2 * len && reset <= 2 * len,
            "{what}"
        );
        assert!(
            load <= 4 * len && thaw <= 8 * len + image.len() as u64,
            "{what}"
        );
    }
}

#[test]
fn what_validation_compares_it_pays_for() {
    let mut exports = String::new();
    for index in 0..2000 {
        let name = format!("{:0>500}", index);
        write!(exports, "(export \"{name}\" (func 0))").unwrap();
    }
    let mut drops = format!(
        "(table 1 funcref) (elem (offset {}) func 0) (func",
        long_constant(0, 30_000)
    );
    drops.push_str(&"(elem.drop 0)".repeat(10_000));
    drops.push(')');
    let mut types = String::new();
    for index in 0..4000 {
        let (ones, others) = ("i32 ".repeat(100), "i64 ".repeat(1 + index % 100));
        write!(types, "(type (func (param {ones} {others})))").unwrap();
    }
    let wide = "i32 ".repeat(250);
    let mut labels = format!("(type $w (func (result {wide}))) (func (type $w) unreachable");
    for _ in 0..40 {
        write!(labels, "(br_table {} 0)", "0 ".repeat(2000)).unwrap();
    }
    labels.push(')');
    for (what, body) in [
        ("exports", format!("(func){exports}")),
        ("segments", format!("(func){drops}")),
        ("types", types),
        ("labels", labels),
    ] {
        let code = wat::parse_str(format!("(module {body})")).unwrap();
        let limits = Limits {
            validation_work: 2_000_000,
            ..Limits::default()
        };
        let options = LoadOptions {
            limits,
            ..LoadOptions::default()
        };
        let mut bytes = vec![0; 4 << 20];
        let (loaded, read) =
            reads(|| Instance::load(aligned(&mut bytes), &code, &options).map(drop));
        let Err(LoadError::Invalid(invalid)) = loaded else {
            panic!("{what}: {loaded:?}")
        };
        assert_eq!(invalid.fault, Fault::ValidationBudget, "{what}");
        let (validated, _) = reads(|| validate(&code, &limits, &mut bytes));
        assert_eq!(
            validated.unwrap_err().fault,
            Fault::ValidationBudget,
            "{what}"
        );
        println!("{what}: {} bytes; {read} read", code.len());
        assert!(
            read <= 16 * u64::from(limits.validation_work),
            "{what}: {read}"
        );
    }
}

#[test]
fn a_start_function_that_is_an_import_is_called_suspended_and_moved() {
    let code = wat::parse_str(
        r#"(module (import "h" "a" (func)) (import "h" "start" (func $start)) (memory 1)
           (start $start)
           (func (export "run") (result i32) (i32.load (i32.const 0))))"#,
    )
    .unwrap();
    let only = wat::parse_str(r#"(module (import "h" "h" (func $h)) (start $h))"#).unwrap();
    let options = LoadOptions::default();
    for (code, import, exports) in [(&code, 1, true), (&only, 0, false)] {
        let mut here = vec![0; 400_000];
        let mut there = vec![0; 400_000];
        let mut instance = Instance::load(aligned(&mut here), code, &options).unwrap();
        instance.invoke_start().unwrap();
        // It is called without fuel, and again and again until it is answered.
        let expected = Step::Call(crate::HostCall { import });
        assert_eq!(instance.run(), expected);
        let mut image = vec![0; instance.image_len().unwrap()];
        instance.freeze(&mut image).unwrap();
        for at in 5 + 16..image.len() - 4 {
            let mut forged = image.clone();
            forged[at] ^= 1;
            let end = forged.len() - 4;
            let check = crate::checksum::checksum(&forged[..end]);
            forged[end..].copy_from_slice(&check.to_le_bytes());
            let thawed = Instance::thaw(aligned(&mut there), code, &forged, &options);
            if let Ok(mut instance) = thawed {
                instance.run();
            }
        }
        let mut instance = Instance::thaw(aligned(&mut there), code, &image, &options).unwrap();
        assert_eq!(instance.run(), expected);
        if exports {
            instance.memory_mut()[0] = 42;
        }
        instance.resume(&[]).unwrap();
        let mut image = vec![0; instance.image_len().unwrap()];
        instance.freeze(&mut image).unwrap();
        let mut instance = Instance::thaw(aligned(&mut here), code, &image, &options).unwrap();
        assert_eq!(instance.run(), Step::Done);
        assert_eq!(instance.results(&mut []), 0);
        if exports {
            instance.set_fuel(100);
            instance.invoke("run", &[]).unwrap();
            assert_eq!(instance.run(), Step::Done);
            let mut out = [Value::I32(0)];
            instance.results(&mut out);
            assert_eq!(out, [Value::I32(42)]);
        }
    }
}

#[test]
fn an_exported_import_is_called_suspended_and_moved() {
    // No function of its own, so that only the import needs stack.
    let code = wat::parse_str(
        r#"(module
           (import "h" "a" (func)) (import "h" "f" (func $f (param i32 i64) (result i64 f32 i32)))
           (import "h" "wide" (func (param i64 i64 i64 i64 i64 i64)))
           (export "run" (func $f)))"#,
    )
    .unwrap();
    let options = LoadOptions::default();
    let args = [Value::I32(7), Value::I64(-8)];
    let answer = [Value::I64(-9), Value::F32(0x3f80_0000), Value::I32(3)];
    let call = Step::Call(crate::HostCall { import: 1 });
    let (mut here, mut there) = (vec![0; 10_000], vec![0; 10_000]);
    let mut instance = Instance::load(aligned(&mut here), &code, &options).unwrap();
    assert_eq!(
        instance.invoke("run", &args[..1]),
        Err(InvokeError::WrongArguments {
            expected: 2,
            mismatch: None
        })
    );
    // It is not exported, so nothing was set aside for it.
    let wide = [Value::I64(1); 6];
    assert_eq!(
        instance.invoke_function(2, &wide),
        Err(InvokeError::StackExhausted)
    );
    instance.invoke("run", &args).unwrap();
    assert_eq!(instance.run(), call);
    let mut image = vec![0; instance.image_len().unwrap()];
    instance.freeze(&mut image).unwrap();
    for at in 5 + 16..image.len() - 4 {
        for bit in 0..8 {
            let mut forged = image.clone();
            forged[at] ^= 1 << bit;
            let end = forged.len() - 4;
            let check = crate::checksum::checksum(&forged[..end]);
            forged[end..].copy_from_slice(&check.to_le_bytes());
            let thawed = Instance::thaw(aligned(&mut there), &code, &forged, &options);
            if let Ok(mut instance) = thawed {
                instance.run();
                let _ = instance.resume(&answer);
                instance.run();
            }
        }
    }
    let mut instance = Instance::thaw(aligned(&mut there), &code, &image, &options).unwrap();
    assert_eq!(instance.run(), call);
    let mut asked = [Value::I32(0); 2];
    assert_eq!(instance.call_args(&mut asked), 2);
    assert_eq!(asked, args);
    instance.resume(&answer).unwrap();
    let mut image = vec![0; instance.image_len().unwrap()];
    instance.freeze(&mut image).unwrap();
    let mut instance = Instance::thaw(aligned(&mut here), &code, &image, &options).unwrap();
    assert_eq!(instance.run(), Step::Done);
    let mut results = [Value::I32(0); 3];
    assert_eq!(instance.results(&mut results), 3);
    assert_eq!(results, answer);
    // A call that fails ends the run, and the next may begin.
    instance.invoke("run", &args).unwrap();
    instance.fail(Trap::Unreachable);
    assert_eq!(instance.run(), Step::Trapped(Trap::Unreachable));
    instance.invoke("run", &args).unwrap();
    assert_eq!(instance.run(), call);
}
