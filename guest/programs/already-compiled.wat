;; Is machine code, as the cache has it, which nobody may bring.
;; ends: refused magic
;; prelude
;; make: compiled
