;; Has many variables that live across many branches: a compile bomb.
;; ends: completed
;; prelude
(func $wide (param i32) (local {{1200|i32 }})
  (loop $again
    {{1200|(if (local.get 0) (then (local.set # (i32.add (local.get #) (local.get 1)))))
    }} (br_if $again (local.get 1199))))
