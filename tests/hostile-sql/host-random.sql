-- Asks for randomness, which must come from the job's seed.
-- ends: harmless
-- result: false,36,false
SELECT random() = random(), length(uuid()::VARCHAR), gen_random_uuid() = gen_random_uuid()
