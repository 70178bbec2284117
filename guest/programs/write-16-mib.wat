;; Writes as much as one call takes.
;; ends: completed
;; prelude
;; check: large_write
(memory (export "memory") 300)
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (call $write (i32.const 16) (i32.const 0x1000000))
  (call $done (i64.const 0)))
