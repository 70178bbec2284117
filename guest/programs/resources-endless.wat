;; Makes handles of its own resource without end, which takes memory of the host.
;; ends: failed Trap handle
;; prelude: component
(type $thing (resource (rep i32)))
(core func $new (canon resource.new $thing))
(core module $main
  (import "" "new" (func $new (param i32) (result i32)))
  (memory (export "memory") 2)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
  (func (export "init"))
  (func (export "describe") (result i32) (i32.const 64))
  (func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
    (loop $again (drop (call $new (i32.const 0))) (br $again))
    unreachable))
(core instance $i (instantiate $main (with "" (instance (export "new" (func $new))))))
