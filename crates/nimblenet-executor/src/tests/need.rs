//! What a run needs, and that it is exactly what an arena must have.

use nimblenet_wasm::validate;

use super::*;
use crate::arena_bytes;

#[repr(align(16))]
struct Aligned([u8; 64 << 10]);

#[test]
fn an_arena_of_the_bytes_that_a_run_needs_is_enough_and_none_less() {
    let grows = "(module (memory 8 5000 (pagesize 1)) (func (export \"run\") (param i32)
        (result i32) (memory.grow (local.get 0))))";
    let calls = "(module (func $down (export \"run\") (param i32) (result i32)
        (if (result i32) (local.get 0)
            (then (call $down (i32.sub (local.get 0) (i32.const 1))))
            (else (i32.const 3)))))";
    let senses = "(module (import \"nimblenet:clock\" \"now-us\" (func (result i64)))
        (func (export \"run\") (param i32) (result i32) (local.get 0)))";
    for (text, memory_bytes) in [(grows, 1000), (grows, 0), (calls, 0), (senses, 0)] {
        let tasklet = Tasklet::new(
            text,
            Says {
                memory_bytes,
                ..SAYS
            },
        );
        let mut scratch = vec![0; 64 << 10];
        let limits = Limits::small();
        let facts = validate(&tasklet.code, &limits, &mut scratch).unwrap();
        let bytes = arena_bytes(&facts, memory_bytes);
        let tasklets = [tasklet];
        let run = |bytes: usize| {
            let mut arena = Aligned([0; 64 << 10]);
            let options = ExecutorOptions {
                limits,
                ..options()
            };
            World::new(&tasklets, &mut arena.0[..bytes], options).run(0, 2, 1000)
        };
        assert!(matches!(run(bytes), End::Done(..)), "{text}: {bytes}");
        assert_eq!(
            run(bytes - 16),
            End::Failed(Fault::NoMemory, None),
            "{text}"
        );
    }
}
