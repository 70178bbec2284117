-- Takes all memory under the setting's other name.
-- ends: denied configuration has been locked
SET GLOBAL max_memory = '100%'
