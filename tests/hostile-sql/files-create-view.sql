-- Hides the path in a view.
-- ends: denied not an input of this job
CREATE VIEW v AS FROM read_text('/etc/passwd'); FROM v
