;; Fails with a kind that there is not.
;; ends: failed Trap discriminant
;; prelude
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (call $fail (i32.const 200) (i32.const 64) (i32.const 0)))
