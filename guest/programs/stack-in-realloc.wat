;; Recurses until the stack ends, while the host waits for memory.
;; ends: lacks Stack native stack
;; prelude
(func $deeper (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
  (i32.add (call $deeper (local.get 0) (local.get 1) (local.get 2) (local.get 3)) (i32.const 1)))
