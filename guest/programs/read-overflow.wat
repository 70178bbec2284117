;; Reads a range whose end is past the largest number.
;; ends: failed Trap read of 16 bytes at 18446744073709551615
;; prelude
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (call $read (i32.const 0) (i64.const -1) (i32.const 16) (i32.const 0))
  (call $done (i64.const 0)))
