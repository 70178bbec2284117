;; Reads 16 MiB again and again, without end.
;; ends: killed
;; prelude
;; check: reads
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (loop $again
    (global.set $heap (i32.const 65536))
    (call $read (i32.const 1) (i64.const 0) (i32.const 0x1000000) (i32.const 0))
    (br $again))
  unreachable)
