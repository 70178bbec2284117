-- Stores a secret for HTTP, which stays within the job.
-- ends: harmless
-- result: true
CREATE SECRET h (TYPE http, BEARER_TOKEN 'x', EXTRA_HTTP_HEADERS MAP {'a': 'b'})
