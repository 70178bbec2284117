-- Asks for secrets in clear text.
-- ends: query unredacted secrets is disabled
FROM duckdb_secrets(redact = false)
