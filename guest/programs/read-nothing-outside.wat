;; Reads no bytes from outside of an input.
;; ends: failed Trap read of 0 bytes at 1001
;; prelude
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (call $read (i32.const 0) (i64.const 1001) (i32.const 0) (i32.const 0))
  (call $done (i64.const 0)))
