;; Traps in `init`, which no cell calls: it is for the maker of a snapshot.
;; ends: completed
;; prelude
(func (export "init") unreachable)
