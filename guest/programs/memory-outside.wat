;; Loads from the end of its memory, and past it.
;; ends: failed Trap out of bounds memory access
;; prelude
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (call $done (i64.load (i32.const 0x3fffd))))
