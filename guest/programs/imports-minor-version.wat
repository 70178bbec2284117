;; Wants a version of our interface that is a little newer.
;; ends: refused eider:engine/progress@1.9.0
;; prelude: component
(import "eider:engine/progress@1.9.0" (instance (export "report" (func (param "done" u32)))))
(core instance $i (instantiate $plain))
