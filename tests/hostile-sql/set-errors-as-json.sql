-- Changes the form of errors, on which workers agree.
-- ends: denied configuration has been locked
SET errors_as_json = true
