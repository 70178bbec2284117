;; Makes garbage in collected memory without end, which nobody collects.
;; ends: failed Memory Out of Memory
;; prelude
(type $array (array (mut i64)))
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (loop $again
    (drop (array.new $array (i64.const 1) (i32.const 1000)))
    (br $again))
  unreachable)
