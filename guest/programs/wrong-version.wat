;; Is of a version of the format that is not known.
;; ends: refused version
;; prelude
;; make: version 99
