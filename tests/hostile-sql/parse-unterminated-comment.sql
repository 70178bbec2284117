-- Does not end a comment.
-- ends: query unterminated /* comment
SELECT 1 /* x
