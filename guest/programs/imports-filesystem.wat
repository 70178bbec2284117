;; Wants folders.
;; ends: refused wasi:filesystem/preopens@0.2.0
;; prelude: component
(import "wasi:filesystem/preopens@0.2.0" (instance
  (export "descriptor" (type $descriptor (sub resource)))
  (export "get-directories" (func (result (list (tuple (own $descriptor) string)))))))
(core instance $i (instantiate $plain))
