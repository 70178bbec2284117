;; Gives a secret away in the message of a failure.
;; ends: failed Internal secret
;; prelude
;; check: leaks_by_message
(data (i32.const 64) "secret: ?")
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  (i32.store8 (i32.const 72) (i32.add (i32.const 0x30) (call $byte (i32.const 2) (i64.const 0))))
  (call $fail (i32.const 4) (i32.const 64) (i32.const 9)))
