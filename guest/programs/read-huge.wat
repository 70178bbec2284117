;; Reads a byte less than 4 GiB at once.
;; ends: failed Trap read of 4294967295 bytes
;; prelude
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (call $read (i32.const 1) (i64.const 0) (i32.const -1) (i32.const 0))
  (call $done (i64.const 0)))
