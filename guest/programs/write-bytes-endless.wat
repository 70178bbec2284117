;; Writes a result without end, a byte at a time.
;; ends: killed
;; prelude
;; check: writes
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (loop $again
    (call $write (i32.const 0) (i32.const 1))
    (br $again))
  unreachable)
