;; Recurses until the stack ends, and calls the host at each level.
;; ends: lacks Stack native stack
;; prelude
(func $deeper (param i32) (result i32)
  (global.set $heap (i32.const 65536))
  (call $list (i32.const 0))
  (i32.add (call $deeper (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (drop (call $deeper (i32.const 0)))
  (call $done (i64.const 0)))
