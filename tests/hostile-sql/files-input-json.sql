-- Gives JSON that is cut off.
-- ends: input Malformed JSON
-- input: broken.json {"a": [1, {
FROM broken
