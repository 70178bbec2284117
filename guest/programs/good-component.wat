;; Behaves, and is written as a component: the frame of the programs that do not.
;; ends: completed
;; prelude: component
(core instance $i (instantiate $plain))
