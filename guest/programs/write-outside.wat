;; Writes a result from where there is no memory.
;; ends: failed Trap out of bounds
;; prelude
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (call $write (i32.const 0x7fff0000) (i32.const 1))
  (call $done (i64.const 0)))
