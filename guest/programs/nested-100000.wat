;; Has components inside each other, a hundred thousand deep: each takes the compiler a quarter of a megabyte.
;; ends: refused exceeds limit
;; prelude: component
;; make: nest 100000
(core instance $i (instantiate $plain))
