;; Makes a stream of the component model's asynchronous part.
;; ends: refused async
;; prelude: component
(type $stream (stream u8))
(core func (canon stream.new $stream))
(core instance $i (instantiate $plain))
