;; Throws and catches without end: what an exception takes is given back with the job, so that its memory is used up.
;; ends: failed Memory the engine wanted
;; prelude
;; memory: 16 MiB
(tag $tag)
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (loop $again
    (block $caught
      (try_table (catch $tag $caught)
        (throw $tag)))
    (br $again))
  unreachable)
