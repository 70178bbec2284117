;; Offers one and the same place for all that it is given, which is the place of the answer as well.
;; ends: completed
;; prelude
;; check: same_twice
(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
  (i32.const 0))
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (call $list (i32.const 0))
  (call $write (i32.const 0) (i32.const 256))
  (call $read (i32.const 0) (i64.const 0) (i32.const 100) (i32.const 0))
  (call $write (i32.const 0) (i32.const 256))
  (call $done (i64.const 0)))
