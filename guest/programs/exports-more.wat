;; Exports more than the world has.
;; ends: completed
;; prelude: component
(core instance $i (instantiate $plain))
(func (export "fire-and-forget") (canon lift (core func $i "init")))
