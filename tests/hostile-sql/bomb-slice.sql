-- Slices a list at the ends of 64 bits.
-- ends: harmless
-- result: [1]
SELECT array_slice([1, 2, 3], 1, 9223372036854775807, 9223372036854775807)::VARCHAR
