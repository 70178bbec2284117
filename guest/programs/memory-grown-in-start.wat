;; Grows its memory in the start function to more than its job may have.
;; ends: failed Memory Out of Memory
;; prelude
(func $start (if (i32.eq (memory.grow (i32.const 2000)) (i32.const -1)) (then unreachable)))
(start $start)
