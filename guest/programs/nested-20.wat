;; Has components inside each other, twenty deep.
;; ends: refused levels deep
;; prelude: component
;; make: nest 20
(core instance $i (instantiate $plain))
