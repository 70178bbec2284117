-- Asks for network addresses.
-- ends: harmless
-- result: ,,,
SELECT inet_client_addr(), inet_client_port(), inet_server_addr(), inet_server_port()
