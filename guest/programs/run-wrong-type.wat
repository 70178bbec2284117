;; Exports a `run` that takes nothing and gives nothing.
;; ends: refused run
;; prelude: component
;; without: run
(core instance $i (instantiate $plain))
(func (export "run") (canon lift (core func $i "init")))
