;; Gives a secret away in a progress report.
;; ends: completed
;; prelude
;; check: leaks_by_progress
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (call $report (call $byte (i32.const 2) (i64.const 0)))
  (call $done (i64.const 0)))
