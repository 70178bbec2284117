;; Fails with a message of 3 GB.
;; ends: failed Trap out of bounds
;; prelude
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (call $fail (i32.const 0) (i32.const 64) (i32.const 3000000000)))
