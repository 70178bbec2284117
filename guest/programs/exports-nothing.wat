;; Is a component, and has nothing in it.
;; ends: refused export
(component)
