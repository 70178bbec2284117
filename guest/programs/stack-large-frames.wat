;; Recurses with frames of many kilobytes, larger than the page that guards the stack.
;; ends: lacks Stack native stack
;; prelude
(func $deeper (param $n i64) (result i64)
  (local {{3000|i64 }})
  {{3000|(local.set # (i64.mul (local.get $n) (i64.const #)))
  }}
  (local.set 1 (call $deeper (local.get 2)))
  {{3000|(i64.xor (local.get #) }} (i64.const 0) {{3000|)}})
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (call $done (call $deeper (i64.const 1))))
