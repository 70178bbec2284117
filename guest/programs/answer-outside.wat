;; Answers with a place that is not in memory.
;; ends: failed Trap pointer
;; prelude
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (i32.const -16))
