;; Writes a result from the start function, before there is a job.
;; ends: refused no job
;; prelude: component
;; check: nothing_arrives
(import "eider:engine/results@1.0.0" (instance $results (export "write" (func (param "bytes" (list u8))))))
(core instance $p (instantiate $plain))
(core func $write (canon lower (func $results "write") (memory (core memory $p "memory"))))
(core module $early
  (import "" "write" (func $write (param i32 i32)))
  (func $start (call $write (i32.const 0) (i32.const 8)))
  (start $start))
(core instance (instantiate $early (with "" (instance (export "write" (func $write))))))
(core instance $i (instantiate $plain))
