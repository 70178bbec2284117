;; Is a core module that imports what it likes.
;; ends: refused component
;; make: core
(module
  (import "env" "system" (func (param i32) (result i32)))
  (func (export "run")))
