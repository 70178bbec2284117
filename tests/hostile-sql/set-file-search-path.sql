-- Looks for files in another folder.
-- ends: denied configuration has been locked
SET file_search_path = '/etc'
