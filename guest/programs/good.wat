;; Behaves: copies the small input to the result in two parts and reports progress between them.
;; ends: completed
;; prelude
;; check: good
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (call $read (i32.const 0) (i64.const 0) (i32.const 600) (i32.const 0))
  (call $write (i32.load (i32.const 0)) (i32.load (i32.const 4)))
  (call $report (i32.const 5000))
  (call $read (i32.const 0) (i64.const 600) (i32.const 400) (i32.const 0))
  (call $write (i32.load (i32.const 0)) (i32.load (i32.const 4)))
  (call $done (i64.const 1000)))
