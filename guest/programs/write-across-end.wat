;; Writes a result that begins in memory and ends outside.
;; ends: failed Trap out of bounds
;; prelude
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (call $write (i32.const 0x3fff0) (i32.const 17))
  (call $done (i64.const 0)))
