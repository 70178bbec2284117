-- Parts its words with unusual spaces.
-- ends: harmless
-- result: 2
SELECT\u{a0}1\u{2003}+\u{3000}1
