;; Has components inside each other, ten deep, and does not use them.
;; ends: completed
;; prelude: component
;; make: nest 10
(core instance $i (instantiate $plain))
