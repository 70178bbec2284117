;; Uses 128-bit arithmetic.
;; ends: refused wide arithmetic
;; prelude
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (i64.add128 (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4))
  (drop)
  (drop)
  (call $done (i64.const 0)))
