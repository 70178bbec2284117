;; Wants something whose name is longer than a cell may say at once.
;; ends: refused it imports aaaa
;; prelude: component
(import "{{99000|a}}" (func))
(core instance $i (instantiate $plain))
