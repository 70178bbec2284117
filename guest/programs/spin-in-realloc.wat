;; Spins without end when the host asks it for memory.
;; ends: killed
;; prelude
(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
  (loop $again (br $again))
  unreachable)
