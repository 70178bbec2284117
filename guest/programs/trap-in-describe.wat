;; Traps in `describe`, which no job calls.
;; ends: completed
;; prelude
(func (export "describe") (result i32) unreachable)
