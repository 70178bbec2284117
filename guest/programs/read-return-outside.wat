;; Wants the answer to a read where there is no memory.
;; ends: failed Trap pointer
;; prelude
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (call $read (i32.const 0) (i64.const 0) (i32.const 10) (i32.const -4))
  (call $done (i64.const 0)))
