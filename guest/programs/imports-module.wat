;; Wants code of the host.
;; ends: refused library
;; prelude: component
(import "library" (core module (export "f" (func))))
(core instance $i (instantiate $plain))
