;; Offers odd addresses for what must not be there.
;; ends: failed Trap realloc
;; prelude
(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
  (i32.const 0x10001))
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (call $list (i32.const 0))
  (call $done (i64.const 0)))
