;; Wants a function of our interface that our interface does not have.
;; ends: refused open
;; prelude: component
(import "eider:engine/inputs@1.0.0" (instance (export "open" (func (param "path" string) (result u32)))))
(core instance $i (instantiate $plain))
