;; Wants a function of our interface, with a name longer than a cell may say at once.
;; ends: refused aaaa
;; prelude: component
(import "eider:engine/inputs@1.0.0" (instance (export "{{99000|a}}" (func))))
(core instance $i (instantiate $plain))
