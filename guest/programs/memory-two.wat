;; Declares two memories and grows each to the limit, which is for both.
;; ends: failed Memory Out of Memory
;; prelude
(memory $memory (export "memory") 4)
(memory $other 0)
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (if (i32.eq (memory.grow $memory (i32.const 1000)) (i32.const -1)) (then unreachable))
  (if (i32.eq (memory.grow $other (i32.const 1000)) (i32.const -1)) (then unreachable))
  (memory.fill $memory (i32.const 65536) (i32.const 1) (i32.const 60000000))
  (memory.fill $other (i32.const 0) (i32.const 1) (i32.const 60000000))
  (call $done (i64.const 0)))
