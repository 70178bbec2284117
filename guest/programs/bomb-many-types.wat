;; Has a hundred thousand types.
;; ends: completed
;; prelude
{{100000|(type (func (param i32) (result i32)))
}}
