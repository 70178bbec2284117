-- Names a file where a time zone belongs, which some systems look up as one.
-- ends: query Unknown TimeZone
SELECT TIMESTAMP '2020-01-01' AT TIME ZONE '../../../etc/passwd'
