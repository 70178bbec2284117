;; Throws what nobody catches.
;; ends: failed Trap exception
;; prelude
(tag $tag)
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (throw $tag))
