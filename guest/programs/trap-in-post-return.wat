;; Traps after it has given its answer.
;; ends: failed Trap unreachable
;; prelude
(func (export "cabi_post_run") (param i32) unreachable)
