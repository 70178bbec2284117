;; Declares more memory than its job may have, and less than it may have before it.
;; ends: failed Memory Out of Memory
;; prelude
(memory (export "memory") 2000)
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (memory.fill (i32.const 65536) (i32.const 1) (i32.const 100000000))
  (call $done (i64.const 0)))
