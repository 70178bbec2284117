;; Calls a function through a table as one of another type.
;; ends: failed Trap indirect call type mismatch
;; prelude
(table funcref (elem $of-nothing))
(func $of-nothing)
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (call $done (call_indirect (result i64) (i32.const 0))))
