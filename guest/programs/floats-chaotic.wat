;; Iterates a map that blows up any difference in a last bit, and folds roundings, roots, conversions and bit counts into its result.
;; ends: completed
;; prelude
;; variant: metered
;; fuel: 100000000
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (local $i i32) (local $x f64) (local $y f64) (local $h i64)
  (local.set $x (f64.const 0.37))
  (loop $again
    (local.set $x (f64.mul (f64.mul (f64.const 3.99) (local.get $x)) (f64.sub (f64.const 1) (local.get $x))))
    (local.set $y (f64.add
      (f64.div (f64.nearest (f64.mul (local.get $x) (f64.const 1e6))) (f64.sqrt (f64.add (local.get $x) (f64.const 1e-310))))
      (f64.sub
        (f64.promote_f32 (f32.mul (f32.demote_f64 (local.get $x)) (f32.const 1e-30)))
        (f64.convert_i64_u (i64.trunc_sat_f64_u (f64.mul (local.get $x) (f64.const 1.9e19)))))))
    (local.set $y (f64.copysign (f64.max (f64.trunc (local.get $y)) (f64.min (f64.ceil (local.get $y)) (f64.floor (local.get $x)))) (local.get $y)))
    (local.set $h (i64.xor
      (i64.rotl (local.get $h) (i64.const 7))
      (i64.add
        (i64.reinterpret_f64 (local.get $y))
        (i64.add
          (i64.popcnt (i64.reinterpret_f64 (local.get $x)))
          (i64.add (i64.clz (i64.reinterpret_f64 (local.get $y))) (i64.ctz (local.get $h)))))))
    ;; Not a number, in whatever form: it has one.
    (local.set $h (i64.add (local.get $h) (i64.reinterpret_f64 (f64.sqrt (f64.neg (local.get $x))))))
    (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 100000))))
  (call $done (local.get $h)))
