#!/usr/bin/env python3
"""Fails if a rule of PROTOCOL.md is cited by no test, or a citation names no rule.

A test cites a rule as [P-NAME-1] in a comment. Tests are files in a folder `tests`, and what stands after `#[cfg(test)]`.
"""

import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parents[2]
rules = re.findall(r"^- \*\*(P-[A-Z]+-\d+)\*\*", (root / "host/protocol/PROTOCOL.md").read_text(), re.M)
cited, known = set(), set(rules)
wrong = [f"{rule}: numbered twice" for rule in sorted(known) if rules.count(rule) > 1]
for folder in ("host", "attest", "tests"):
    for file in sorted((root / folder).rglob("*.rs")):
        if "target" in file.parts:
            continue
        text = file.read_text()
        found = set(re.findall(r"\[(P-[A-Z]+-\d+)\]", text))
        wrong += [f"{file.relative_to(root)}: cites {rule}, which is no rule" for rule in sorted(found - known)]
        tests = text if "tests" in file.relative_to(root).parts else text.partition("#[cfg(test)]")[2]
        cited |= set(re.findall(r"\[(P-[A-Z]+-\d+)\]", tests))
wrong += [f"{rule}: no test cites it" for rule in rules if rule not in cited]
print("\n".join(f"check: {line}" for line in wrong) or f"check: {len(rules)} rules of the protocol, each cited by a test")
sys.exit(bool(wrong))
