;; Traps in the start function.
;; ends: refused unreachable
;; prelude
(func $start unreachable)
(start $start)
