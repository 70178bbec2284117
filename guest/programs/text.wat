;; Is text, and not WebAssembly in its binary form.
;; ends: refused magic
;; prelude
;; make: text
