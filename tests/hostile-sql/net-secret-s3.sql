-- Stores a secret for S3.
-- ends: denied installs and loads no extensions
CREATE SECRET (TYPE s3, KEY_ID 'a', SECRET 'b')
