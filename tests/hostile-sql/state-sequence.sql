-- Counts in a sequence.
-- ends: harmless
-- result: 3
CREATE SEQUENCE s; SELECT nextval('s') + nextval('s')
