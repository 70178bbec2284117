;; Declares a memory of as many bytes as there are addresses, and one more.
;; ends: refused bytes of memory
;; prelude
(memory $memory (export "memory") 4)
(memory i64 0x1000000000000)
