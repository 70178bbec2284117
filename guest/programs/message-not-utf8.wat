;; Fails with a message that is no text.
;; ends: failed Trap utf-8
;; prelude
(data (i32.const 64) "a\ff\fe")
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (call $fail (i32.const 0) (i32.const 64) (i32.const 3)))
