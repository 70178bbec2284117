;; Reads no bytes, at the beginning and at the end of an input.
;; ends: completed
;; prelude
;; check: reads_of_nothing
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (call $read (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0))
  (call $read (i32.const 0) (i64.const 1000) (i32.const 0) (i32.const 8))
  (call $done (i64.extend_i32_u (i32.add (i32.load (i32.const 4)) (i32.load (i32.const 12))))))
