-- Registers a resource outside, to have it opened or deleted later.
-- ends: query unknown resource type
CALL create_external_resource('shell')
