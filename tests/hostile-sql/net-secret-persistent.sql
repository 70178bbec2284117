-- Writes a secret into the home folder.
-- ends: denied nothing to write to
CREATE PERSISTENT SECRET p (TYPE http, BEARER_TOKEN 'x')
