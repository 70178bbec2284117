;; Has types each of which holds the one before it twice, so that the last one is larger than anything.
;; ends: refused type size
;; prelude: component
(component (type (list u8)) {{64|(type (tuple # #)) }})
(core instance $i (instantiate $plain))
