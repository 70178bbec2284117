-- Sets what an extension would bring.
-- ends: denied configuration has been locked
SET s3_region = 'eu-north-1'
