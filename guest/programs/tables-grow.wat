;; Grows a table until it is refused, and answers with the size that it reached.
;; ends: completed
;; prelude
;; check: table_is_bounded
(table $table 0 funcref)
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (loop $again
    (br_if $again (i32.ne (table.grow $table (ref.null func) (i32.const 1000)) (i32.const -1))))
  (call $done (i64.extend_i32_u (table.size $table))))
