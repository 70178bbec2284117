-- Hides a statement behind a zero-width space and a change of direction.
-- ends: denied installs and loads no extensions
SELECT 1 \u{200b}\u{202e}; LOAD x
