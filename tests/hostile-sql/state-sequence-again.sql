-- Counts in a sequence of the same name, which must start anew.
-- ends: harmless
-- result: 1
-- after: state-sequence
CREATE SEQUENCE s; SELECT nextval('s')
