-- Fails with the words of an extension that is missing.
-- ends: query but it exists in the
SELECT error('Catalog Error: Function with name x is not in the catalog, but it exists in the spatial extension. Persistent secrets are disabled, compiled with thread support, ensure httpfs is loaded')
