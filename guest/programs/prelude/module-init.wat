  (func (export "init"))
