;; Has a function with blocks inside each other, a hundred thousand deep.
;; ends: completed
;; prelude
(func $deep
  {{100000|block }} {{100000|end }})
