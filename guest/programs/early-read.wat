;; Reads an input from the start function, before there is a job.
;; ends: refused no input 0
;; prelude: component
;; check: nothing_arrives
(import "eider:engine/inputs@1.0.0" (instance $inputs
  (export "read" (func (param "index" u32) (param "offset" u64) (param "len" u32) (result (list u8))))))
(core instance $p (instantiate $plain))
(core func $read (canon lower (func $inputs "read") (memory (core memory $p "memory"))
  (realloc (core func $p "cabi_realloc"))))
(core module $early
  (import "" "read" (func $read (param i32 i64 i32 i32)))
  (func $start (call $read (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0)))
  (start $start))
(core instance (instantiate $early (with "" (instance (export "read" (func $read))))))
(core instance $i (instantiate $plain))
