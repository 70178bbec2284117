-- Has the CSV sniffer open a file.
-- ends: denied not an input of this job
FROM sniff_csv('/etc/passwd')
