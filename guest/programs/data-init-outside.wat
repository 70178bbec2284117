;; Copies more out of a data segment than it has.
;; ends: failed Trap out of bounds
;; prelude
(data $passive "abcd")
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (memory.init $passive (i32.const 64) (i32.const 2) (i32.const 4))
  (call $done (i64.const 0)))
