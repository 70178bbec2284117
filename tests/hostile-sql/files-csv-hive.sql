-- Has hive partitions looked for in folders.
-- ends: denied not an input of this job
FROM read_csv('/var/*/*.csv', hive_partitioning = true, union_by_name = true, filename = true)
