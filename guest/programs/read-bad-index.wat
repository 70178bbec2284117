;; Reads an input that it does not have.
;; ends: failed Trap there is no input 3
;; prelude
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (call $done (i64.extend_i32_u (call $byte (i32.const 3) (i64.const 0)))))
