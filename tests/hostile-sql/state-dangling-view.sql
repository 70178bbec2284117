-- Leaves a view behind under an input's name.
-- ends: harmless
-- result: 666
CREATE OR REPLACE VIEW leaves AS SELECT 666 AS tree; FROM leaves
