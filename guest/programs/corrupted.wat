;; Has a byte in the middle that is another one.
;; ends: refused offset
;; prelude
;; make: flip 300
