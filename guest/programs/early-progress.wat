;; Reports progress from the start function, before there is a job.
;; ends: refused no job
;; prelude
;; check: nothing_arrives
(func $start (call $report (i32.const 1)))
(start $start)
