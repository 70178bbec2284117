;; Grows fifty tables as far as it may and fills them, which takes memory of the host.
;; ends: completed
;; prelude
{{50|(table $t# 0 funcref)
}}
(elem declare func $target)
(func $target)
(func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
  {{50|(drop (table.grow $t# (ref.func $target) (i32.const 1000000)))
  }}
  (call $done (i64.const 0)))
