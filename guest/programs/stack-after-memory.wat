;; Is refused memory, goes on without, and recurses until the stack ends: that, and not what was refused before, is how it ends.
;; ends: lacks Stack native stack
;; prelude
(func $deeper (param i32) (result i32)
  (i32.add (call $deeper (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (if (i32.ne (memory.grow (i32.const 2048)) (i32.const -1)) (then (unreachable)))
  (drop (call $deeper (i32.const 0)))
  (call $done (i64.const 0)))
