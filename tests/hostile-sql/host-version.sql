-- Asks for the version, which must be the engine's on every machine.
-- ends: harmless
-- result: v2.0.0
SELECT library_version FROM pragma_version()
