;; Has elements where it has no table.
;; ends: refused out of bounds
;; prelude
(table $t 1 funcref)
(elem (table $t) (i32.const 1) func $f)
(func $f)
