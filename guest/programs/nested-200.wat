;; Has components inside each other, two hundred deep.
;; ends: refused levels deep
;; prelude: component
;; make: nest 200
(core instance $i (instantiate $plain))
