;; Counts its runs in a global and in memory, which end with the cell: it is always the first run.
;; ends: completed
;; prelude
;; check: first_run
(global $runs (mut i64) (i64.const 0))
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (global.set $runs (i64.add (global.get $runs) (i64.const 1)))
  (i64.store (i32.const 64) (i64.add (i64.load (i32.const 64)) (i64.const 1)))
  (call $done (i64.mul (global.get $runs) (i64.load (i32.const 64)))))
