  (func (export "describe") (result $description)
    (canon lift (core func $i "describe") (memory (core memory $i "memory"))
      (realloc (core func $i "cabi_realloc"))))
