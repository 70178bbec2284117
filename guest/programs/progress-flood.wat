;; Reports progress ten million times.
;; ends: completed
;; prelude
;; check: reports
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (local $i i32)
  (loop $again
    (call $report (local.get $i))
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br_if $again (i32.lt_u (local.get $i) (i32.const 10000000))))
  (call $done (i64.const 0)))
