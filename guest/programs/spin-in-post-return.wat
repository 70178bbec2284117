;; Spins without end after it has given its answer.
;; ends: killed
;; prelude
(func (export "cabi_post_run") (param i32)
  (loop $again (br $again)))
