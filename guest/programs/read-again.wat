;; Reads the same input again and again, until it has read too much of it.
;; ends: failed Reads it may read 1000000 bytes
;; inputs: 1
;; prelude
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (loop $again
    (global.set $heap (i32.const 65536))
    (call $read (i32.const 0) (i64.const 0) (i32.const 1000) (i32.const 0))
    (br $again))
  unreachable)
