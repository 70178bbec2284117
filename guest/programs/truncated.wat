;; Ends in the middle.
;; ends: refused unexpected end
;; prelude
;; make: truncate 300
