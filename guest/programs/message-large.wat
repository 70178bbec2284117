;; Fails with a message that is larger than anything a cell may say at once.
;; ends: failed Query aaaa
;; prelude
;; check: message_is_cut
(memory (export "memory") 600)
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (memory.fill (i32.const 64) (i32.const 0x61) (i32.const 30000000))
  (call $fail (i32.const 0) (i32.const 64) (i32.const 30000000)))
