;; Imports a hundred thousand functions.
;; ends: refused f0
;; prelude: component
(type $f (func))
{{100000|(import "f#" (func (type $f)))
}}
(core instance $i (instantiate $plain))
