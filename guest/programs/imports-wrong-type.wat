;; Wants `read` to take a path.
;; ends: refused read
;; prelude: component
(import "eider:engine/inputs@1.0.0" (instance (export "read" (func (param "path" string) (result (list u8))))))
(core instance $i (instantiate $plain))
