;; Has no fuel at all.
;; ends: failed Fuel 0 units of fuel
;; variant: metered
;; fuel: 0
;; prelude
