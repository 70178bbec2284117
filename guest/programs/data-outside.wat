;; Has data where it has no memory.
;; ends: refused out of bounds
;; prelude
(data (i32.const 0x3fffe) "abcd")
