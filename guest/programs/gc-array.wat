;; Wants an array of 48 MiB in collected memory, of the 32 that its job may have.
;; ends: failed Memory Out of Memory
;; memory: 32 MiB
;; prelude
(type $array (array (mut i64)))
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (drop (array.new $array (i64.const 1) (i32.const 0x600000)))
  (call $done (i64.const 0)))
