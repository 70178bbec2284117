;; Traps in `describe`, which no cell calls.
;; ends: completed
;; prelude
(func (export "describe") (result i32) unreachable)
