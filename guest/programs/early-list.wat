;; Lists its inputs from the start function, before there is a job: there are none.
;; ends: completed
;; prelude: component
(import "eider:engine/inputs@1.0.0" (instance $inputs
  (type $input' (record (field "table" string) (field "file" string) (field "format" string) (field "size" u64)))
  (export "input" (type $input (eq $input')))
  (export "list" (func (result (list $input))))))
(core instance $p (instantiate $plain))
(core func $list (canon lower (func $inputs "list") (memory (core memory $p "memory"))
  (realloc (core func $p "cabi_realloc"))))
(core module $early
  (import "" "list" (func $list (param i32)))
  (import "" "memory" (memory 1))
  (func $start
    (call $list (i32.const 0))
    (if (i32.load (i32.const 4)) (then unreachable)))
  (start $start))
(core instance (instantiate $early (with "" (instance (export "list" (func $list))
  (export "memory" (memory $p "memory"))))))
(core instance $i (instantiate $plain))
