;; Traps when the host asks it for memory, for the job that it is to run.
;; ends: failed Trap unreachable
;; prelude
(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
