-- Multiplies beyond 128 bits.
-- ends: query Overflow in multiplication of INT128
SELECT product(i::HUGEINT), 170141183460469231731687303715884105727 * 2 FROM range(1, 60) t(i)
