;; Writes a result without end.
;; ends: failed Result larger than the 41943040 bytes
;; prelude
(memory (export "memory") 300)
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (loop $again
    (call $write (i32.const 0) (i32.const 0x1000000))
    (br $again))
  unreachable)
