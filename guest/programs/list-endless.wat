;; Asks for the list of inputs without end.
;; ends: killed
;; prelude
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (loop $again
    (global.set $heap (i32.const 65536))
    (call $list (i32.const 0))
    (br $again))
  unreachable)
