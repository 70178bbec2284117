;; Wants the longest array of collected memory that there can be.
;; ends: failed Trap allocation size too large
;; prelude
(type $array (array (mut i64)))
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (drop (array.new $array (i64.const 1) (i32.const -1)))
  (call $done (i64.const 0)))
