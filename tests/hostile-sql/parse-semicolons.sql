-- Has only semicolons.
-- ends: query there is no statement
-- repeat: 100000
{{;}}
