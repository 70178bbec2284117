;; Reads as much as one call gives, at an odd place, and writes it to the result.
;; ends: completed
;; prelude
;; check: large_read
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (call $read (i32.const 1) (i64.const 12345) (i32.const 0x1000000) (i32.const 0))
  (call $write (i32.load (i32.const 0)) (i32.load (i32.const 4)))
  (call $done (i64.const 0)))
