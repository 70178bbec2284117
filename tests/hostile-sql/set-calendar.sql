-- Changes the calendar.
-- ends: denied configuration has been locked
SET Calendar = 'japanese'
