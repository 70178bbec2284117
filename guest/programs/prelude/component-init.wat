  (func (export "init") (canon lift (core func $i "init")))
