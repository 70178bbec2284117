-- Has the JSON lines reader open a file with a filename column.
-- ends: denied not an input of this job
FROM read_ndjson_auto('/root/.config/*.json', filename = true)
