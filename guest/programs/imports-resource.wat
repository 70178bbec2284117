;; Wants a thing of the host, without a function on it.
;; ends: refused secret-thing
;; prelude: component
(import "secret-thing" (type (sub resource)))
(core instance $i (instantiate $plain))
