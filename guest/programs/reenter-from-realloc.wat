;; Calls the host when the host asks for memory, in the middle of another call.
;; ends: failed Trap cannot leave component instance
;; prelude
;; check: nothing_arrives
(global $armed (mut i32) (i32.const 0))
(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
  (if (global.get $armed) (then (call $report (i32.const 1))))
  (global.set $heap (i32.add (global.get $heap) (i32.const 256)))
  (global.get $heap))
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (global.set $armed (i32.const 1))
  (call $list (i32.const 0))
  (call $done (i64.const 0)))
