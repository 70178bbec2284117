;; Goes on after its end with bytes that mean nothing.
;; ends: refused offset
;; prelude
;; make: append 100
