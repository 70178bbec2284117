-- Asks for the platform, which must be the same on every machine.
-- ends: harmless
-- result: linux_i686_musl
PRAGMA platform
