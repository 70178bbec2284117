;; Traps in `run`.
;; ends: failed Trap unreachable
;; prelude
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  unreachable)
