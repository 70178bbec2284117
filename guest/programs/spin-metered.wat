;; Spins without end on a metered image, and has more fuel than it can burn.
;; ends: killed
;; variant: metered
;; prelude
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (loop $again (br $again))
  unreachable)
