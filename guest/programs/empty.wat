;; Has no bytes.
;; ends: refused unexpected end
;; make: truncate 0
(component)
