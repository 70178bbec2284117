;; Has a byte at the end of a large memory, so that the image of the memory is large and the program small.
;; ends: completed
;; memory: 300 MiB
;; prelude
(memory (export "memory") 4096)
(data (i32.const 0) "a")
(data (i32.const 0xffffffe) "z")
