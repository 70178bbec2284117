;; Exports a hundred thousand functions.
;; ends: completed
;; prelude
{{100000|(export "f#" (func $cabi_realloc))
}}
