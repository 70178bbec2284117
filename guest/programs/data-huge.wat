;; Has 4 MB of data.
;; ends: completed
;; prelude
(memory (export "memory") 100)
(data (i32.const 65536) "{{400000|0123456789}}")
