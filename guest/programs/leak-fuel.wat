;; Gives a secret away in the fuel that it uses.
;; ends: completed
;; prelude
;; variant: metered
;; check: leaks_by_fuel
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (local $i i32)
  (local.set $i (i32.add (call $byte (i32.const 2) (i64.const 0)) (i32.const 1)))
  (loop $again
    (local.set $i (i32.sub (local.get $i) (i32.const 1)))
    (br_if $again (local.get $i)))
  (call $done (i64.const 0)))
