;; Reads the byte after an input's last one.
;; ends: failed Trap read of 1 bytes at 1000 of an input of 1000 bytes
;; prelude
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (call $done (i64.extend_i32_u (call $byte (i32.const 0) (i64.const 1000)))))
