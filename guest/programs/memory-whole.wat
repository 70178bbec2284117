;; Uses its memory to the last byte, and asks for no more.
;; ends: completed
;; prelude
;; check: all_memory_is_used
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (drop (memory.grow (i32.sub (i32.const 1024) (memory.size))))
  (memory.fill (i32.const 65536) (i32.const 1) (i32.const 0x3ff0000))
  (call $done (i64.load8_u (i32.const 0x3ffffff))))
