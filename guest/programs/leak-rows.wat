;; Gives a secret away in the number of rows.
;; ends: completed
;; prelude
;; check: leaks_by_rows
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (call $done (i64.extend_i32_u (call $byte (i32.const 2) (i64.const 0)))))
