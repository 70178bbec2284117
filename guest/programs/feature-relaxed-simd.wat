;; Uses an instruction whose result depends on the processor.
;; ends: refused relaxed SIMD
;; prelude
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (drop (f32x4.relaxed_madd (v128.const i64x2 1 2) (v128.const i64x2 3 4) (v128.const i64x2 5 6)))
  (call $done (i64.const 0)))
