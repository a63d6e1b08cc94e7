//! Programs that go wrong, for all tests that hold one machine against another.

/// Programs that go wrong, or come close to it; `run` takes a number, which is 7. The packer refuses
/// modules whose addresses it sees past the end of their data, so those are computed.
pub(crate) const AWKWARD: [(&str, &str); 16] = [
    (
        "att-05-deep",
        "(block (block (block (block (br 3))))) (local.get 0)",
    ),
    ("att-06-recursion", "(call 0 (local.get 0))"),
    ("att-08-grow", "(memory.grow (i32.const 1))"),
    ("att-08-grow-much", "(memory.grow (i32.const 65535))"),
    (
        "att-09-wrap",
        "(i32.load offset=0xffffffff (i32.sub (local.get 0) (i32.const 8)))",
    ),
    (
        "att-09-end",
        "(i32.load (i32.add (local.get 0) (i32.const 65526)))",
    ),
    (
        "att-09-store",
        "(i64.store (i32.sub (local.get 0) (i32.const 15)) (i64.const 1)) (i32.const 1)",
    ),
    (
        "att-09-fill",
        "(memory.fill (i32.const 0) (i32.const 1) (i32.sub (local.get 0) (i32.const 8))) (i32.const 1)",
    ),
    (
        "att-09-copy",
        "(memory.copy (i32.const 1) (i32.const 0) (i32.sub (local.get 0) (i32.const 8))) (i32.const 1)",
    ),
    ("att-10-zero", "(i32.div_s (local.get 0) (i32.const 0))"),
    (
        "att-10-overflow",
        "(i32.div_s (i32.const 0x80000000) (i32.const -1))",
    ),
    ("att-10-nan", "(i32.trunc_f32_s (f32.const nan))"),
    (
        "att-10-unaligned",
        "(i64.store (i32.const 3) (i64.const 0x1122334455667788)) (i32.load (i32.const 5))",
    ),
    (
        "att-11-floats",
        "(i32.reinterpret_f32 (f32.div (f32.sqrt (f32.convert_i32_s (local.get 0))) (f32.const 3)))",
    ),
    (
        "att-11-doubles",
        "(i32.wrap_i64 (i64.reinterpret_f64 (f64.div (f64.const 1) (f64.convert_i32_s (local.get 0)))))",
    ),
    (
        "att-11-nans",
        "(i32.reinterpret_f32 (f32.add (f32.const -nan:0x12345) (f32.const 0)))",
    ),
];
