;; Declares a memory that threads could share.
;; ends: refused threads
;; prelude
(memory $shared 1 2 shared)
