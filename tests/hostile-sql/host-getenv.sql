-- Asks for a variable of the environment.
-- ends: query getenv does not exist
SELECT getenv('PATH')
