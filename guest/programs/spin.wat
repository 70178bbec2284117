;; Spins without end.
;; ends: killed
;; prelude
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (loop $again (br $again))
  unreachable)
