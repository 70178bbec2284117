;; Has a group of ten thousand types each of which refers to the next.
;; ends: completed
;; prelude
(rec {{10000|(type $t# (struct (field (ref null $t#)))) }})
