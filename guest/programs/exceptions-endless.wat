;; Throws and catches without end.
;; ends: killed
;; prelude
(tag $tag)
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (loop $again
    (block $caught
      (try_table (catch $tag $caught)
        (throw $tag)))
    (br $again))
  unreachable)
