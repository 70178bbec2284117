;; Has types inside each other, two hundred deep.
;; ends: refused nesting is too deep
;; prelude: component
(component (type (list u8)) {{200|(type (list #)) }})
(core instance $i (instantiate $plain))
