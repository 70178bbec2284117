-- Makes a number of a hundred thousand digits.
-- ends: harmless
-- result: 100000
SELECT length(repeat('9', 100000)::BIGNUM::VARCHAR)
