;; Declares sixty memories, each of which alone could be had.
;; ends: refused memory
;; prelude
{{60|(memory 1000)
}}
