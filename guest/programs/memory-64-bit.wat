;; Grows a memory with 64-bit addresses past the limit in one step.
;; ends: failed Memory Out of Memory
;; prelude
(memory $memory (export "memory") 4)
(memory $wide i64 0)
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (if (i64.eq (memory.grow $wide (i64.const 0x100000000)) (i64.const -1)) (then unreachable))
  (call $done (i64.const 0)))
