-- Hides the path in a query that is serialised as JSON.
-- ends: denied not an input of this job
FROM json_execute_serialized_sql(json_serialize_sql('FROM read_text(''/etc/passwd'')'))
