-- Stores a secret in a file's storage.
-- ends: denied nothing to write to
CREATE SECRET p IN local_file (TYPE http, BEARER_TOKEN 'x')
