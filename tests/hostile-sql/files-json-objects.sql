-- Has the JSON reader open a file.
-- ends: denied not an input of this job
FROM read_json_objects('/etc/docker/daemon.json')
