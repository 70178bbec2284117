;; Instantiates a module nine hundred times, with a memory each.
;; ends: refused instance
;; prelude: component
{{900|(core instance (instantiate $plain))
}}
(core instance $i (instantiate $plain))
