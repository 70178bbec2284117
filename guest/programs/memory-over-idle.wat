;; Declares a page more than any engine may have before it knows its job.
;; ends: refused bytes of memory
;; prelude
(memory (export "memory") 4097)
