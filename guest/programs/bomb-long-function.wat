;; Has one long function: a compile bomb.
;; ends: completed
;; prelude
(func $long (param i32) (result i32)
  {{100000|(local.set 0 (i32.add (i32.mul (local.get 0) (i32.const #)) (i32.load (local.get 0))))
  }} (local.get 0))
