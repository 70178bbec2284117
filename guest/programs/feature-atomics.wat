;; Uses an atomic instruction.
;; ends: refused threads
;; prelude
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (call $done (i64.atomic.load (i32.const 64))))
