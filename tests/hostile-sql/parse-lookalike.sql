-- Names a function in letters that look alike.
-- ends: query Did you mean "repeat"
SELECT r\u{435}peat('x', 2)
