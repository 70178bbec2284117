;; Divides by zero.
;; ends: failed Trap divide by zero
;; prelude
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (call $done (i64.div_u (i64.const 1) (i64.load (i32.const 64)))))
