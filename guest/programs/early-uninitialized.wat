;; Calls an import from the start function before the component has filled it in.
;; ends: refused uninitialized element
;; prelude
(func $start (call $write (i32.const 0) (i32.const 8)))
(start $start)
