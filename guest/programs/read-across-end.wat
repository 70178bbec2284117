;; Reads a range that begins in an input and ends outside.
;; ends: failed Trap read of 2 bytes at 999 of an input of 1000 bytes
;; prelude
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (call $read (i32.const 0) (i64.const 999) (i32.const 2) (i32.const 0))
  (call $done (i64.const 0)))
