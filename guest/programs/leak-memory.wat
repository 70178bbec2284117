;; Gives a secret away in the memory that it uses.
;; ends: completed
;; prelude
;; check: leaks_by_memory
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (drop (memory.grow (call $byte (i32.const 2) (i64.const 0))))
  (call $done (i64.const 0)))
