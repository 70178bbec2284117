;; Offers memory that it does not have for what it reads.
;; ends: failed Trap realloc
;; prelude
(global $outside (mut i32) (i32.const 0))
(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
  (if (global.get $outside) (then (return (i32.const 0x3ffff))))
  (global.set $heap (i32.add (global.get $heap) (i32.const 256)))
  (global.get $heap))
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (global.set $outside (i32.const 1))
  (call $read (i32.const 0) (i64.const 0) (i32.const 1000) (i32.const 0))
  (call $done (i64.const 0)))
