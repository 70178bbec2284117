;; Exports no `run`.
;; ends: refused no export `run` found
;; prelude: component
;; without: run
(core instance $i (instantiate $plain))
