-- Turns on checks that change how queries run.
-- ends: harmless
-- result: 42
PRAGMA enable_verification; SELECT 42
