;; Reports more progress than there is.
;; ends: completed
;; prelude
;; check: progress_is_cut
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (call $report (i32.const -1))
  (call $done (i64.const 0)))
