;; Grows by more pages than a memory can have, is refused, and goes on without.
;; ends: completed
;; prelude
;; check: refused_memory_is_not_used
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (call $done (i64.extend_i32_s (memory.grow (i32.const -1)))))
