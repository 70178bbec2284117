-- Sets another source of extensions.
-- ends: denied configuration has been locked
SET custom_extension_repository = 'http://example.com'
