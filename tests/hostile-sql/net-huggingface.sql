-- Reads a dataset from Hugging Face.
-- ends: denied no network
FROM 'hf://datasets/a/b/c.parquet'
