;; Grows by half of what its job may have, and goes on without if it is refused.
;; ends: completed
;; prelude
;; check: growth_is_granted
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (call $done (i64.extend_i32_s (memory.grow (i32.const 512)))))
