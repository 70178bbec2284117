-- Looks for the variable of the job before.
-- ends: harmless
-- result: gone
-- after: state-variable
SELECT coalesce(getvariable('left_behind')::VARCHAR, 'gone')
