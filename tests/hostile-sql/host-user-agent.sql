-- Asks for the user agent, which could name the host's program.
-- ends: harmless
-- result: duckdb/v2.0.0(linux_i686_musl) cpp
PRAGMA user_agent
