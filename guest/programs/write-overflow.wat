;; Writes a result whose end is past the largest address.
;; ends: failed Trap out of bounds
;; prelude
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (call $write (i32.const 64) (i32.const -1))
  (call $done (i64.const 0)))
