-- Climbs out of a folder that does not exist.
-- ends: denied not an input of this job
FROM '../../../../etc/hostname.csv'
