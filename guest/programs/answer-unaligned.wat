;; Answers with an odd address.
;; ends: failed Trap pointer not aligned
;; prelude
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (i32.const 17))
