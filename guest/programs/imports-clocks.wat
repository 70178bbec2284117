;; Wants a clock.
;; ends: refused wasi:clocks/monotonic-clock@0.2.0
;; prelude: component
(import "wasi:clocks/monotonic-clock@0.2.0" (instance (export "now" (func (result u64)))))
(core instance $i (instantiate $plain))
