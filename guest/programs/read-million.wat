;; Reads one byte a million times.
;; ends: killed
;; prelude
;; check: reads
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (local $i i32)
  (loop $again
    (global.set $heap (i32.const 65536))
    (drop (call $byte (i32.const 0) (i64.const 999)))
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br_if $again (i32.lt_u (local.get $i) (i32.const 1000000))))
  (call $done (i64.const 0)))
