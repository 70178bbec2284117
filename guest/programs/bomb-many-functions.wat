;; Has many functions: a compile bomb.
;; ends: completed
;; prelude
{{20000|(func (param i32) (result i32) (i32.load (i32.mul (local.get 0) (i32.const #))))
}}
