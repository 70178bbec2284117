;; Declares a memory with pages of one byte.
;; ends: refused custom page sizes
;; prelude
(memory $small 1 (pagesize 1))
