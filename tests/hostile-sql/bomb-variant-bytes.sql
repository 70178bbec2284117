-- Has bytes decoded as a VARIANT that they are not.
-- ends: query Corrupted VARIANT
SELECT variant_bytes_to_variant('\x01\xFF\xFF\xFF\xFF\xFF\xFF\xFF'::BLOB)
