;; Wants nearly 4 GiB in one step, and traps when that is refused.
;; ends: failed Memory Out of Memory
;; prelude
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (if (i32.eq (memory.grow (i32.const 65530)) (i32.const -1)) (then unreachable))
  (call $done (i64.const 0)))
