  ;; Frees nothing; grows memory when it must.
  (func $cabi_realloc (export "cabi_realloc") (param $old i32) (param $old_length i32) (param $align i32) (param $length i32)
    (result i32) (local $at i32) (local $lacks i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 15)) (i32.const -16)))
    (global.set $heap (i32.add (local.get $at) (local.get $length)))
    (local.set $lacks (i32.sub
      (i32.shr_u (i32.add (global.get $heap) (i32.const 65535)) (i32.const 16))
      (memory.size)))
    (if (i32.gt_s (local.get $lacks) (i32.const 0))
      (then (if (i32.eq (memory.grow (local.get $lacks)) (i32.const -1)) (then unreachable))))
    (local.get $at))
