;; Writes no bytes, without end.
;; ends: killed
;; prelude
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (loop $again
    (call $write (i32.const 0) (i32.const 0))
    (br $again))
  unreachable)
