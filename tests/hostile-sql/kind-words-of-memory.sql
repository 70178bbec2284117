-- Fails with the words of a memory that did not suffice, for which the worker's owner would be asked.
-- ends: query memory allocation failed
SELECT error('Malformed JSON at byte 1 of input: memory allocation failed. Out of Memory Error: failed to allocate')
