;; Calls itself without end and without stack.
;; ends: killed
;; prelude
(func $again (return_call $again))
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (call $again)
  unreachable)
