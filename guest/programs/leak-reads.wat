;; Gives a secret away in the ranges that it reads, which whoever holds the inputs can see.
;; ends: completed
;; prelude
;; check: leaks_by_reads
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (drop (call $byte (i32.const 0) (i64.extend_i32_u (call $byte (i32.const 2) (i64.const 0)))))
  (call $done (i64.const 0)))
