-- Seeds the generator; the numbers must follow from it on every machine.
-- ends: harmless
-- result: 0.8511131886287325,0.002978387269385594
SELECT setseed(0.5); SELECT random() AS a, random() AS b
