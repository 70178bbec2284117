;; Spins until its fuel is used up.
;; ends: failed Fuel 1000000 units of fuel
;; variant: metered
;; fuel: 1000000
;; prelude
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (loop $again (br $again))
  unreachable)
