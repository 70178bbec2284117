-- Uses the home folder's sign.
-- ends: denied not an input of this job
FROM read_text('~/.ssh/id_ed25519')
