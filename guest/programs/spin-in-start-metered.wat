;; Spins in the start function of a metered image, before there is a job and fuel for it.
;; ends: refused fuel
;; variant: metered
;; prelude
(func $start (loop $again (br $again)))
(start $start)
