-- Makes a character outside of Unicode.
-- ends: query Invalid UTF8 Codepoint
SELECT chr(1114112)
