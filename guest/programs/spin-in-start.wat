;; Spins without end in the start function, before there is a job.
;; ends: killed
;; prelude
(func $start (loop $again (br $again)))
(start $start)
