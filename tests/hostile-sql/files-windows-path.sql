-- Names a file as Windows does.
-- ends: denied not an input of this job
FROM read_text('\\?\C:\Windows\win.ini')
