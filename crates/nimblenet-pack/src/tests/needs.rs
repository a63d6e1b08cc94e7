//! The one figure of what a run needs.

use super::*;

fn needs(module: &str, manifest: &str) -> Needs {
    packed(module, manifest).report.needs.unwrap()
}

#[test]
fn what_is_too_large_for_a_board_is_said_in_a_sentence() {
    let add = "(module (func (export \"run\") (param i32 i32) (result i32)
        (i32.add (local.get 0) (local.get 1))))";
    let small = needs(add, "");
    assert_eq!((&small.linux_problem, &small.board_problem), (&None, &None));
    assert_eq!(small.linux_bytes, small.board_bytes);

    let text = "x".repeat(20_000);
    let long = format!(
        "(module (memory 1) (data (i32.const 8) \"{text}\")
        (func (export \"run\") (result i32) (i32.load (i32.const 8))))"
    );
    let packed = packed(&long, "memory = 20100");
    let said = packed
        .report
        .needs
        .as_ref()
        .unwrap()
        .board_problem
        .clone()
        .unwrap();
    let bytes = packed.report.module_bytes;
    assert_eq!(
        said,
        format!("Linux only: {bytes} of 16384 bytes of module")
    );
    assert!(packed.report.to_string().contains(&said));

    let wide = "(module (memory 1) (global (export \"__data_end\") i32 (i32.const 65536))
        (func (export \"run\") (param i32) (result i32) (i32.load (local.get 0))))";
    let said = needs(wide, "memory = 70000").board_problem.unwrap();
    assert_eq!(said, "Linux only: linear memory takes 70000 of 65536 bytes");
}

#[test]
fn what_is_too_large_for_the_default_arena_is_said() {
    let large = "(module (memory 17) (global (export \"__data_end\") i32 (i32.const 1048600))
        (func (export \"run\") (param i32) (result i32) (i32.load (local.get 0))))";
    let needs = needs(large, "");
    let said = needs.linux_problem.unwrap();
    let bytes = needs.linux_bytes.unwrap();
    assert!(bytes > 1_048_600);
    assert_eq!(
        said,
        format!("room to run in takes {bytes} of 1048576 bytes")
    );
}
