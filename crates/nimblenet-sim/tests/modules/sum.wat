;; The sum of a list of floats: its first byte and its length are the arguments.
(module (memory 1) (func (export "run") (param i32 i32) (result f32)
    (local f32)
    (block (loop
        (br_if 1 (i32.eqz (local.get 1)))
        (local.set 2 (f32.add (local.get 2) (f32.load (local.get 0))))
        (local.set 0 (i32.add (local.get 0) (i32.const 4)))
        (local.set 1 (i32.sub (local.get 1) (i32.const 1)))
        (br 0)))
    (local.get 2)))
