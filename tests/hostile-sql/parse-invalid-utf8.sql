-- Decodes bytes that are no text.
-- ends: query invalid UTF8
SELECT decode('\xFF\xFE'::BLOB)
