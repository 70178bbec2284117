  (func (export "run") (param "job" $job) (result (result $summary (error $failure)))
    (canon lift (core func $i "run") (memory (core memory $i "memory"))
      (realloc (core func $i "cabi_realloc"))))
