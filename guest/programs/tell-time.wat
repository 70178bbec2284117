;; Tries to tell time or place: looks at fresh memory, odd numbers, addresses, growth, and counts without a clock.
;; ends: completed
;; prelude
;; check: same_twice
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (local $i i32) (local $nan f64)
  (loop $again
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br_if $again (i32.lt_u (local.get $i) (i32.const 10000000))))
  ;; The bits of a number that is none, in each way to get one.
  (local.set $nan (f64.div (f64.const 0) (f64.const 0)))
  (f64.store (i32.const 64) (local.get $nan))
  (f64.store (i32.const 72) (f64.add (f64.const nan:0x8000000000001) (f64.const 1)))
  (f64.store (i32.const 80) (f64.sqrt (f64.const -1)))
  (f32.store (i32.const 88) (f32.demote_f64 (local.get $nan)))
  (f64.store (i32.const 96) (f64.min (f64.const 1) (f64.neg (local.get $nan))))
  (v128.store (i32.const 128) (f32x4.div (v128.const i64x2 0 0) (v128.const i64x2 0 0)))
  (i32.store (i32.const 104) (memory.grow (i32.const 1)))
  (i32.store (i32.const 108) (memory.grow (i32.const 100000)))
  (i32.store (i32.const 112) (local.get $i))
  ;; What the host left there: the job, and the answers of its calls.
  (call $list (i32.const 0))
  (call $write (i32.const 0) (i32.const 0x50000))
  (call $done (i64.const 0)))
