  (func (export "run") (param i32 i32 i64 i32 i32 i64) (result i32)
    (call $done (i64.const 0)))
