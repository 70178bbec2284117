;; Declares the largest memory that there can be.
;; ends: refused bytes of memory
;; prelude
(memory (export "memory") 65536)
