;; Declares a function with more variables than a function may have.
;; ends: refused locals
;; prelude
(func (local {{50001|i64 }}))
