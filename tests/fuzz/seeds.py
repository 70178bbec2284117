"""Seeds for the evidence targets out of genuine vectors: seeds.py VECTORS CORPUS [FOLDER of those that are not in the repository]."""

import re
import base64
import struct
import sys
from pathlib import Path

vectors, corpus = Path(sys.argv[1]), Path(sys.argv[2])


def seed(target, name, evidence, first=b"", second=b""):
    """As `eider_fuzz::evidence` takes it apart."""
    (corpus / target).mkdir(parents=True, exist_ok=True)
    lengths = struct.pack("<HH", min(len(evidence), 65535), min(len(first), 65535))
    (corpus / target / name).write_bytes(lengths + evidence + first + second)


def ders(path):
    found = re.findall(rb"-----BEGIN CERTIFICATE-----(.*?)-----END", path.read_bytes(), re.S)
    return [base64.b64decode(pem) for pem in found]


snp, tdx = vectors / "snp", vectors / "tdx"
ask, ark = ders(snp / "cert_chain_milan")
report = bytes.fromhex((snp / "report_milan.hex").read_text().strip())
seed("sev_snp", "milan", report, (snp / "vcek_milan.der").read_bytes(), ask)
for quote in ("tdx_quote", "tdx_quote_td15ex"):
    seed("tdx", quote, (tdx / quote).read_bytes(), (tdx / f"{quote}_collateral.json").read_bytes())
for document in (vectors / "nitro").glob("*.cose"):
    seed("nitro", document.name, document.read_bytes())
if len(sys.argv) > 3:
    beside = Path(sys.argv[3])
    vlek = beside / "snp" / "coco_test-vlek-report.bin"
    seed("sev_snp", "vlek", vlek.read_bytes(), (beside / "snp" / "coco_test-vlek.der").read_bytes(), ark)
    (corpus / "event_log").mkdir(parents=True, exist_ok=True)
    for log in (beside / "eventlog").iterdir():
        (corpus / "event_log" / log.name).write_bytes(log.read_bytes())
else:
    print("fuzz: no event logs at hand (EIDER_ATTEST_VECTORS names their folder): that target starts from nothing")
