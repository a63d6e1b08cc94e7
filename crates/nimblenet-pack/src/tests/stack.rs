//! How deep the stack gets, whether it fits, and where it goes.

use nimblenet_wasm::Value;

use super::start::run;
use super::*;

/// What compilers make of a function with an array of `frame` bytes, which it fills with its
/// parameter, and whose sum it adds to what `inner` leaves.
fn framed(name: &str, frame: u32, inner: &str) -> String {
    format!(
        "(func ${name} (param i32) (result i32) (local $frame i32) (local $at i32)
            (global.set $sp
                (local.tee $frame (i32.sub (global.get $sp) (i32.const {frame}))))
            (loop $more
                (i32.store (i32.add (local.get $frame) (local.get $at)) (local.get 0))
                (local.set $at (i32.add (local.get $at) (i32.const 4)))
                (br_if $more (i32.lt_u (local.get $at) (i32.const {frame}))))
            (local.set 0 (i32.add (i32.load (local.get $frame)) {inner}))
            (global.set $sp (i32.add (local.get $frame) (i32.const {frame})))
            (local.get 0))"
    )
}

/// A module whose stack pointer starts at `top`, whose data ends at `end`, and begins, if it has
/// any, with the number 7 at `data`.
fn module(top: u32, data: Option<u32>, end: u32, functions: &str) -> String {
    let data = data.map_or(String::new(), |at| {
        format!("(data (i32.const {at}) \"\\07\\00\\00\\00\")")
    });
    format!(
        "(module (memory 2) (table funcref (elem))
         (global $sp (mut i32) (i32.const {top}))
         (global (export \"__data_end\") i32 (i32.const {end}))
         {data} {functions})"
    )
}

/// `run`, 80 bytes, calls `inner`, 80 bytes, which adds the number at address `data`.
fn nested(data: u32) -> String {
    let outer = framed("outer", 80, "(call $inner (local.get 0))");
    let inner = framed("inner", 80, &format!("(i32.load (i32.const {data}))"));
    format!("{outer} {inner} (export \"run\" (func $outer))")
}

fn stack_of(packed: &Packed) -> String {
    let text = packed.report.to_string();
    let line = text.lines().find(|line| line.contains("stack "));
    line.unwrap_or_default().trim().to_owned()
}

/// The result of `run(9)`.
fn result(packed: &Packed) -> Value {
    run(packed, "run", &[Value::I32(9)])[0]
}

#[test]
fn the_frames_of_nested_calls_add_up_and_must_fit() {
    // First in memory: the data begins where the stack ends.
    let enough = packed(&module(160, Some(160), 164, &nested(160)), "");
    assert_eq!(stack_of(&enough), "stack   160 of 160 B needed");
    assert_eq!(result(&enough), Value::I32(9 + 9 + 7));
    let short = refused(&module(144, Some(144), 148, &nested(144)), "");
    let (needed, stack) = (160, 144);
    assert!(
        matches!(&short, PackError::StackTooSmall { needed: n, stack: s, .. }
            if (*n, *s) == (needed, stack)),
        "{short}"
    );
    assert!(short.to_string().contains("`outer` > `inner`"), "{short}");
    assert!(short.to_string().contains("-zstack-size=160"), "{short}");
}

#[test]
fn a_stack_behind_the_data_never_reaches_into_it() {
    // 128 bytes from 1040 on, where 160 are needed: they would overwrite the data.
    let short = refused(&module(1168, Some(1024), 1028, &nested(1024)), "");
    assert!(matches!(short, PackError::StackTooSmall { .. }), "{short}");
    let enough = packed(&module(1040 + 65536, Some(1024), 1028, &nested(1024)), "");
    assert_eq!(stack_of(&enough), "stack   160 of 65536 B needed");
    assert_eq!(enough.report.memory_bytes, 1040 + 160);
    assert_eq!(result(&enough), Value::I32(9 + 9 + 7));
    let notes = enough.report.notes.join("\n");
    assert!(notes.contains("not first in memory"), "{notes}");
    assert!(notes.contains("first 1024 bytes"), "{notes}");
}

#[test]
fn a_module_that_was_linked_without_a_stack_gets_what_it_needs() {
    for (top, data, end) in [(0, 16, 20), (32, 16, 20), (32, 16, 32)] {
        let packed = packed(&module(top, Some(data), end, &nested(data)), "");
        assert_eq!(packed.report.memory_bytes, 32 + 160, "{top} {data}");
        assert_eq!(result(&packed), Value::I32(9 + 9 + 7));
        assert_eq!(
            stack_of(&packed),
            "stack   160 of 0 B needed, placed behind the data"
        );
    }
    // The same without data: nothing but the stack.
    let lone = format!(
        "{} (export \"run\" (func $lone))",
        framed("lone", 48, "(i32.const 1)")
    );
    let packed = packed(&module(0, None, 0, &lone), "stack = 0");
    assert_eq!(packed.report.memory_bytes, 48);
    assert_eq!(result(&packed), Value::I32(10));
}

#[test]
fn stack_that_is_not_needed_is_cut() {
    let lone = format!(
        "{} (export \"run\" (func $lone))",
        framed("lone", 48, "(i32.const 1)")
    );
    // No data follows: the stack alone is the memory.
    let alone = packed(&module(1024, None, 1024, &lone), "");
    assert_eq!(alone.report.memory_bytes, 48);
    assert_eq!(result(&alone), Value::I32(10));
    // Data follows, and stays where it is: the flag is named.
    let before = packed(&module(1024, Some(1024), 1028, &nested(1024)), "");
    assert_eq!(before.report.memory_bytes, 1028);
    assert_eq!(result(&before), Value::I32(9 + 9 + 7));
    let notes = before.report.notes.join("\n");
    assert!(notes.contains("-zstack-size=160"), "{notes}");
}

#[test]
fn lists_cross_in_stack_that_is_not_needed() {
    let functions = "(func (export \"run\") (param i32 i32) (result i32)
        (i32.add (i32.load (i32.sub (global.get $sp) (i32.const 16))) (i32.load (local.get 0))))";
    let signature = "exports = { run = \"func(list<u32>) -> u32\" }";
    let packed = packed(&module(1024, Some(1024), 1028, functions), signature);
    assert_eq!(
        (packed.report.area.offset, packed.report.area.len),
        (8, 512)
    );
    assert_eq!(packed.report.memory_bytes, 1028);
    // One that is longer than the stretch stands behind everything else.
    let long = super::packed(
        &module(1024, Some(1024), 1028, functions),
        &format!("{signature}\narea = 1008"),
    );
    assert_eq!(long.report.area.offset, 1032);
}

#[test]
fn recursion_is_settled_by_the_manifest() {
    let again = framed("again", 32, "(call $again (local.get 0))");
    let again = format!("{again} (export \"run\" (func $again))");
    let again = module(256, Some(256), 260, &again);
    let why = refused(&again, "").to_string();
    assert!(
        why.contains("`again` calls itself, and takes 32 bytes each time"),
        "{why}"
    );
    assert!(why.contains("`stack = 256`"), "{why}");
    let given = packed(&again, "stack = 256");
    assert_eq!(given.report.memory_bytes, 260);
    assert_eq!(stack_of(&given), "stack   256 B, by the manifest's word");
    // Recursion that holds no stack needs none.
    let loops = "(func $down (export \"run\") (param i32) (result i32)
        (if (result i32) (local.get 0)
            (then (call $down (i32.sub (local.get 0) (i32.const 1))))
            (else (i32.load (i32.const 256)))))";
    let loops = module(256, Some(256), 260, loops);
    assert_eq!(stack_of(&packed(&loops, "")), "");
}

#[test]
fn a_call_through_a_table_reaches_every_function_of_its_type() {
    let functions = |element: &str| {
        format!(
            "{} {} {} (elem (i32.const 0) {element}) (export \"run\" (func $outer))",
            framed(
                "outer",
                16,
                "(call_indirect (param i32) (result i32) (local.get 0) (i32.const 0))"
            ),
            framed("small", 32, "(i32.const 0)"),
            framed("large", 64, "(i32.const 0)"),
        )
    };
    let module = |functions: &str| {
        module(1024, Some(1024), 1028, functions).replace("(elem)", "(elem $small $small)")
    };
    let small = packed(&module(&functions("$small")), "");
    assert_eq!(stack_of(&small), "stack   at most 48 of 1024 B needed");
    let both = packed(&module(&functions("$small $large")), "");
    assert_eq!(stack_of(&both), "stack   at most 80 of 1024 B needed");
    // A table that may hold the caller closes a circle.
    let circle = refused(&module(&functions("$outer")), "").to_string();
    assert!(circle.contains("through a table"), "{circle}");
}

#[test]
fn an_array_of_variable_length_is_settled_by_the_manifest() {
    let varies = "(func $varies (export \"run\") (param i32) (result i32) (local $old i32)
        (local.set $old (global.get $sp))
        (global.set $sp (i32.sub (global.get $sp) (local.get 0)))
        (i32.store (global.get $sp) (i32.const 1))
        (global.set $sp (local.get $old))
        (i32.const 1))";
    let module = module(256, Some(256), 260, varies);
    let why = refused(&module, "").to_string();
    assert!(why.contains("known at run time only"), "{why}");
    packed(&module, "stack = 256");
}

#[test]
fn frames_are_seen_however_the_optimiser_writes_them() {
    // Inlined into a branch and a loop, added instead of subtracted, aligned, read without being
    // taken.
    for (body, needed) in [
        (
            "(if (local.get 0) (then
                (global.set $sp (local.tee 1 (i32.add (global.get $sp) (i32.const -64))))
                (i32.store (local.get 1) (local.get 0))
                (global.set $sp (i32.sub (local.get 1) (i32.const -64)))))",
            64,
        ),
        (
            "(loop $more
                (global.set $sp (local.tee 1 (i32.sub (global.get $sp) (i32.const 32))))
                (i32.store (local.get 1) (local.get 0))
                (global.set $sp (i32.add (local.get 1) (i32.const 32)))
                (br_if $more (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))",
            32,
        ),
        (
            "(i32.store offset=12 (i32.sub (global.get $sp) (i32.const 16)) (local.get 0))",
            16,
        ),
        (
            "(local.set 2 (global.get $sp))
             (global.set $sp (local.tee 1
                (i32.and (i32.sub (global.get $sp) (i32.const 64)) (i32.const -32))))
             (i32.store (local.get 1) (local.get 0))
             (global.set $sp (local.get 2))",
            64 + 31,
        ),
    ] {
        let function = format!(
            "(func (export \"run\") (param i32) (result i32) (local i32 i32) {body} (i32.const 1))"
        );
        let packed = packed(&module(1024, Some(1024), 1028, &function), "");
        let expected = format!("stack   {needed} of 1024 B needed");
        assert_eq!(stack_of(&packed), expected, "{body}");
    }
    // A loop that takes more in each round has no bound.
    let leak = "(func (export \"run\") (param i32) (result i32)
        (loop $more
            (global.set $sp (i32.sub (global.get $sp) (i32.const 16)))
            (br_if $more (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (i32.load (global.get $sp)))";
    let leak = refused(&module(1024, Some(1024), 1028, leak), "");
    assert!(matches!(leak, PackError::StackUnbounded { .. }), "{leak}");
}

#[test]
fn an_unknown_layout_keeps_what_it_declares() {
    let silent = |module: String| module.replace("(export \"__data_end\")", "");
    // Linked plainly: data, stack behind it, and nothing exported.
    let plain = packed(
        &silent(module(1040 + 65536, Some(1024), 1028, &nested(1024))),
        "",
    );
    assert_eq!(plain.report.memory_bytes, 131_072);
    assert_eq!(result(&plain), Value::I32(9 + 9 + 7));
    let notes = plain.report.notes.join("\n");
    assert!(notes.contains("--export=__data_end"), "{notes}");
    let given = packed(
        &silent(module(1040 + 65536, Some(1024), 1028, &nested(1024))),
        "stack = 65536\nmemory = 66576",
    );
    assert_eq!(given.report.memory_bytes, 66_576);
    // No stack, and addresses that come from outside: data without initial values may be anywhere.
    let bare = "(module (memory 1) (func (export \"run\") (param i32) (result i32)
        (i32.load8_u offset=1024 (local.get 0))))";
    assert_eq!(packed(bare, "").report.memory_bytes, 65_536);
    // A stack of no bytes, and no end of the data: there is no place for it.
    let error = refused(&silent(module(0, Some(16), 20, &nested(16))), "");
    assert_eq!(error, PackError::NoDataEnd { needed: 160 });
}

#[test]
fn a_segment_that_the_code_copies_counts_where_it_goes() {
    let module = "(module (memory 1) (data $text \"abcd\")
        (global (export \"__data_end\") i32 (i32.const 0))
        (func (export \"run\") (param i32) (result i32)
            (memory.init $text (i32.const 32) (i32.const 0) (i32.const 4))
            (memory.fill (i32.const 36) (i32.const 0) (i32.const 12))
            (i32.load8_u (i32.const 33))))";
    let packed = packed(module, "");
    assert_eq!(packed.report.memory_bytes, 48);
    assert_eq!(result(&packed), Value::I32(98));
}

#[test]
fn what_is_beyond_the_memory_traps_in_the_package_too() {
    let module = |to: u32, more: &str| {
        format!(
            "(module (memory 1) (data $text \"abcd\") {more}
            (func (export \"run\") (param i32) (result i32)
                (memory.fill (i32.const 36) (i32.const 0) (i32.const 12))
                (memory.init $text (i32.const {to}) (i32.const 0) (i32.const 4))
                (i32.load8_u (i32.const 33))))"
        )
    };
    assert_eq!(packed(&module(65_532, ""), "").report.memory_bytes, 65_536);
    assert_eq!(packed(&module(65_533, ""), "").report.memory_bytes, 65_536);
    let end = "(global (export \"__data_end\") i32 (i32.const 0))";
    assert_eq!(packed(&module(65_533, end), "").report.memory_bytes, 48);
}

#[test]
fn a_module_that_traps_before_it_starts_is_refused() {
    let run = "(func (export \"run\") (result i32) (i32.const 1))";
    let base = "(memory 1) (table 2 funcref)";
    for (segment, what) in [
        (
            "(data (i32.const 65537) \"\")",
            "data segment 0 ends at 65537",
        ),
        (
            "(data (i32.const 65533) \"abcd\")",
            "the memory has 65536 bytes",
        ),
        (
            "(data (i32.sub (i32.const 65530) (i32.const -7)) \"\")",
            "65537",
        ),
        (
            "(data (i32.mul (i32.const -1) (i32.const 2)) \"\")",
            "4294967294",
        ),
        ("(elem (i32.const 3) func)", "element segment 0 ends at 3"),
        ("(elem (i32.const 1) func 0 0)", "table 0 has 2 elements"),
    ] {
        let error = refused(&format!("(module {base} {segment} {run})"), "").to_string();
        assert!(error.contains(what), "{error}");
    }
    for segment in [
        "(data (i32.const 65536) \"\")",
        "(data (i32.add (i32.const 65530) (i32.const 2)) \"abcd\")",
        "(data \"passive\")",
        "(elem (i32.const 2) func) (elem (i32.const 0) func 0 0)",
    ] {
        packed(&format!("(module {base} {segment} {run})"), "");
    }
}

#[test]
fn a_stack_that_cannot_be_moved_must_fit_too() {
    let grows = format!(
        "{} (func (export \"grow\") (result i32) (memory.grow (i32.const 1)))",
        nested(1024)
    );
    packed(&module(1040 + 1024, Some(1024), 1028, &grows), "");
    let short = refused(&module(1168, Some(1024), 1028, &grows), "");
    assert!(matches!(short, PackError::StackTooSmall { .. }), "{short}");
    let none = refused(&module(0, Some(16), 20, &grows.replace("1024", "16")), "");
    assert!(matches!(none, PackError::StackTooSmall { .. }), "{none}");
}
