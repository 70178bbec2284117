-- Asks for numbers of connection and transaction, which must not count other people's jobs.
-- ends: harmless
-- rows: 1
SELECT current_connection_id(), current_query_id(), current_transaction_id()
