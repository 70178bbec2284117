;; Wants a function that is in no interface.
;; ends: refused open-everything
;; prelude: component
(import "open-everything" (func))
(core instance $i (instantiate $plain))
