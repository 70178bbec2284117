;; Makes what is not a number in ways in which processors give it a sign or a payload of their own, and traps unless it has the one form.
;; ends: completed
;; prelude
(func $same64 (param f64)
  (if (i64.ne (i64.reinterpret_f64 (local.get 0)) (i64.const 0x7ff8000000000000)) (then (unreachable))))
(func $same32 (param f32)
  (if (i32.ne (i32.reinterpret_f32 (local.get 0)) (i32.const 0x7fc00000)) (then (unreachable))))
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (local $zero f64) (local $odd f64)
  ;; Memory has pages, which the compiler does not know: it would make these by itself.
  (local.set $zero (f64.convert_i32_u (i32.eqz (memory.size))))
  (local.set $odd (f64.reinterpret_i64 (i64.or (i64.const 0xfff4000000000123) (i64.extend_i32_u (i32.eqz (memory.size))))))
  (call $same64 (f64.div (local.get $zero) (local.get $zero)))
  (call $same64 (f64.sqrt (f64.sub (local.get $zero) (f64.const 1))))
  (call $same64 (f64.add (local.get $odd) (f64.const 1)))
  (call $same64 (f64.mul (local.get $zero) (f64.div (f64.const 1) (local.get $zero))))
  (call $same64 (f64.min (local.get $odd) (f64.const 1)))
  (call $same64 (f64.floor (local.get $odd)))
  (call $same32 (f32.demote_f64 (local.get $odd)))
  (call $same32 (f32.div (f32.demote_f64 (local.get $zero)) (f32.demote_f64 (local.get $zero))))
  (call $same64 (f64x2.extract_lane 1 (f64x2.div (f64x2.splat (local.get $zero)) (f64x2.splat (local.get $zero)))))
  (call $done (i64.const 0)))
