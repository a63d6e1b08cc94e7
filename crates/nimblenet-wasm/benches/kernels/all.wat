(module
  (import "host" "add" (func $host (param i32 i32) (result i32)))
  (memory (export "memory") 2)
  ;; 0..: table of the crc; 4096..: sieve, vectors; 32768..: matrices

  (func $fib (export "fib") (param $n i32) (result i32)
    (if (result i32) (i32.lt_u (local.get $n) (i32.const 2))
      (then (local.get $n))
      (else (i32.add
        (call $fib (i32.sub (local.get $n) (i32.const 1)))
        (call $fib (i32.sub (local.get $n) (i32.const 2)))))))

  (func (export "sieve") (param $n i32) (result i32)
    (local $i i32) (local $j i32) (local $count i32)
    (memory.fill (i32.const 4096) (i32.const 1) (local.get $n))
    (local.set $i (i32.const 2))
    (block $done (loop $outer
      (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
      (if (i32.load8_u offset=4096 (local.get $i)) (then
        (local.set $count (i32.add (local.get $count) (i32.const 1)))
        (local.set $j (i32.shl (local.get $i) (i32.const 1)))
        (block $end (loop $inner
          (br_if $end (i32.ge_u (local.get $j) (local.get $n)))
          (i32.store8 offset=4096 (local.get $j) (i32.const 0))
          (local.set $j (i32.add (local.get $j) (local.get $i)))
          (br $inner)))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $outer)))
    (local.get $count))

  (func $crc_table
    (local $i i32) (local $j i32) (local $c i32)
    (loop $outer
      (local.set $c (local.get $i))
      (local.set $j (i32.const 8))
      (loop $inner
        (local.set $c (i32.xor (i32.shr_u (local.get $c) (i32.const 1))
          (i32.and (i32.const 0xedb88320) (i32.sub (i32.const 0) (i32.and (local.get $c) (i32.const 1))))))
        (br_if $inner (local.tee $j (i32.sub (local.get $j) (i32.const 1)))))
      (i32.store (i32.shl (local.get $i) (i32.const 2)) (local.get $c))
      (br_if $outer (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 256)))))

  (func (export "crc32") (param $n i32) (result i32)
    (local $p i32) (local $c i32)
    (call $crc_table)
    (local.set $p (i32.const 4096))
    (local.set $c (i32.const -1))
    (loop $next
      (local.set $c (i32.xor
        (i32.load (i32.shl (i32.and (i32.xor (local.get $c) (i32.load8_u (local.get $p))) (i32.const 255)) (i32.const 2)))
        (i32.shr_u (local.get $c) (i32.const 8))))
      (local.set $p (i32.add (local.get $p) (i32.const 1)))
      (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (i32.xor (local.get $c) (i32.const -1)))

  (func (export "matmul") (param $n i32) (result i32)
    (local $i i32) (local $j i32) (local $k i32) (local $sum f32) (local $a i32) (local $b i32)
    (local $stride i32)
    (local.set $stride (i32.shl (local.get $n) (i32.const 2)))
    (loop $rows
      (local.set $j (i32.const 0))
      (loop $columns
        (local.set $sum (f32.const 0))
        (local.set $a (i32.add (i32.const 32768) (i32.mul (local.get $i) (local.get $stride))))
        (local.set $b (i32.add (i32.const 49152) (i32.shl (local.get $j) (i32.const 2))))
        (local.set $k (local.get $n))
        (loop $dot
          (local.set $sum (f32.add (local.get $sum)
            (f32.mul (f32.load (local.get $a)) (f32.load (local.get $b)))))
          (local.set $a (i32.add (local.get $a) (i32.const 4)))
          (local.set $b (i32.add (local.get $b) (local.get $stride)))
          (br_if $dot (local.tee $k (i32.sub (local.get $k) (i32.const 1)))))
        (f32.store offset=65536
          (i32.add (i32.mul (local.get $i) (local.get $stride)) (i32.shl (local.get $j) (i32.const 2)))
          (local.get $sum))
        (br_if $columns (i32.lt_u (local.tee $j (i32.add (local.get $j) (i32.const 1))) (local.get $n))))
      (br_if $rows (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (i32.reinterpret_f32 (local.get $sum)))

  (func (export "biquad") (param $n i32) (result i32)
    (local $x f32) (local $y f32) (local $x1 f32) (local $x2 f32) (local $y1 f32) (local $y2 f32)
    (local $p i32)
    (local.set $p (i32.const 4096))
    (loop $next
      (local.set $x (f32.load (local.get $p)))
      (local.set $y (f32.sub (f32.sub (f32.add (f32.add
        (f32.mul (f32.const 0.2) (local.get $x))
        (f32.mul (f32.const 0.4) (local.get $x1)))
        (f32.mul (f32.const 0.2) (local.get $x2)))
        (f32.mul (f32.const -0.37) (local.get $y1)))
        (f32.mul (f32.const 0.2) (local.get $y2))))
      (local.set $x2 (local.get $x1))
      (local.set $x1 (local.get $x))
      (local.set $y2 (local.get $y1))
      (local.set $y1 (local.get $y))
      (f32.store (local.get $p) (local.get $y))
      (local.set $p (i32.add (local.get $p) (i32.const 4)))
      (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (i32.reinterpret_f32 (local.get $y)))

  (func (export "sort") (param $n i32) (result i32)
    (local $i i32) (local $j i32) (local $key i32) (local $x i32) (local $p i32)
    ;; pseudo-random numbers, then insertion sort
    (local.set $x (i32.const 12345))
    (loop $fill
      (local.set $x (i32.add (i32.mul (local.get $x) (i32.const 1103515245)) (i32.const 12345)))
      (i32.store offset=4096 (i32.shl (local.get $i) (i32.const 2)) (local.get $x))
      (br_if $fill (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (local.set $i (i32.const 1))
    (loop $outer
      (local.set $key (i32.load offset=4096 (i32.shl (local.get $i) (i32.const 2))))
      (local.set $j (local.get $i))
      (block $placed
        (loop $inner
          (br_if $placed (i32.eqz (local.get $j)))
          (local.set $x (i32.load offset=4092 (local.tee $p (i32.shl (local.get $j) (i32.const 2)))))
          (br_if $placed (i32.le_s (local.get $x) (local.get $key)))
          (i32.store offset=4096 (local.get $p) (local.get $x))
          (local.set $j (i32.sub (local.get $j) (i32.const 1)))
          (br $inner)))
      (i32.store offset=4096 (i32.shl (local.get $j) (i32.const 2)) (local.get $key))
      (br_if $outer (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (i32.load offset=4096 (i32.shl (i32.shr_u (local.get $n) (i32.const 1)) (i32.const 2))))

  (func (export "hostcalls") (param $n i32) (result i32)
    (local $sum i32)
    (loop $next
      (local.set $sum (call $host (local.get $sum) (local.get $n)))
      (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum))
)
