-- Does not end a dollar-quoted string.
-- ends: query syntax error at or near
SELECT $a$ x $b$
