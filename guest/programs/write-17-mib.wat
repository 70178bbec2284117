;; Writes more than one call takes.
;; ends: failed Trap write of 17825792 bytes at once
;; prelude
(memory (export "memory") 300)
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (call $write (i32.const 0) (i32.const 0x1100000))
  (call $done (i64.const 0)))
