-- Asks all settings that could tell of the machine.
-- ends: harmless
-- result: TimeZone=UTC custom_user_agent= duckdb_api=cpp extension_directories=[] external_threads=1 file_search_path= home_directory= http_proxy= log_query_path= max_temp_directory_size=90% of available disk space memory_limit=204.7 MiB password= secret_directory=.duckdb/stored_secrets temp_directory= threads=1 user= worker_threads=1
SELECT string_agg(name || '=' || value, ' ' ORDER BY name) AS settings FROM duckdb_settings()
WHERE name IN ('home_directory', 'memory_limit', 'threads', 'worker_threads', 'external_threads', 'extension_directories',
               'temp_directory', 'max_temp_directory_size', 'file_search_path', 'TimeZone', 'user', 'password',
               'http_proxy', 'custom_user_agent', 'duckdb_api', 'secret_directory', 'log_query_path')
