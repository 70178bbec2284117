;; Wants the answer to a read at an odd address.
;; ends: failed Trap pointer not aligned
;; prelude
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (call $read (i32.const 0) (i64.const 0) (i32.const 10) (i32.const 1))
  (call $done (i64.const 0)))
