;; Writes ranges that overlap, each of which is taken as it is at the time.
;; ends: completed
;; prelude
;; check: overlapping_writes
(data (i32.const 64) "abcdef")
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (call $write (i32.const 64) (i32.const 4))
  (call $write (i32.const 66) (i32.const 4))
  (i32.store8 (i32.const 66) (i32.const 0x58))
  (call $write (i32.const 64) (i32.const 6))
  (call $done (i64.const 0)))
