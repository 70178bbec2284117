;; Fails by its own word, with a kind and a message.
;; ends: failed Query no such table
;; prelude
(data (i32.const 64) "no such table")
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (call $fail (i32.const 0) (i32.const 64) (i32.const 13)))
