-- Reads a cloud machine's credentials.
-- ends: denied no network
FROM read_text('http://169.254.169.254/latest/meta-data/iam/security-credentials/')
