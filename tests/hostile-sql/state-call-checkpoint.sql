-- Asks for a checkpoint by CALL.
-- ends: query Cannot FORCE CHECKPOINT
CALL force_checkpoint()
