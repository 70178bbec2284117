-- Changes the default order by pragma.
-- ends: denied configuration has been locked
PRAGMA default_order = 'DESC'
