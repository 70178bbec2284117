;; Grows its memory page by page, touches each, and traps when there is no more.
;; ends: failed Memory Out of Memory
;; prelude
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (local $at i32)
  (loop $again
    (local.set $at (i32.shl (memory.size) (i32.const 16)))
    (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))
    (i32.store (local.get $at) (i32.const 1))
    (br $again))
  unreachable)
