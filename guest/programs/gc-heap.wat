;; Keeps a list in collected memory that grows without end.
;; ends: failed Memory Out of Memory
;; prelude
(type $cell (struct (field (ref null $cell)) (field i64)))
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (local $list (ref null $cell))
  (loop $again
    (local.set $list (struct.new $cell (local.get $list) (i64.const 1)))
    (br $again))
  unreachable)
