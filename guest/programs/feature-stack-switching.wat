;; Uses a type of stack switching.
;; ends: refused stack switching
;; prelude
(type $f (func))
(type $c (cont $f))
