;; Gives a secret away in the result, which is bounded and is what the requester asked for.
;; ends: completed
;; prelude
;; check: leaks_by_result
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (i32.store8 (i32.const 64) (call $byte (i32.const 2) (i64.const 0)))
  (call $write (i32.const 64) (i32.const 1))
  (call $done (i64.const 0)))
