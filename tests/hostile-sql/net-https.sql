-- Reads over HTTPS.
-- ends: denied no network
FROM read_csv('https://example.com/x.csv')
