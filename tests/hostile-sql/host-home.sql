-- Asks for the home folder.
-- ends: harmless
-- result: none
SELECT coalesce(nullif(current_setting('home_directory'), ''), 'none')
