;; Wants a version of our interface that is yet to come.
;; ends: refused eider:engine/progress@2.0.0
;; prelude: component
(import "eider:engine/progress@2.0.0" (instance (export "report" (func (param "done" u32)))))
(core instance $i (instantiate $plain))
