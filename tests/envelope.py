"""What securesystemslib, in-toto's own reader of DSSE envelopes, says of a bundle's manifest.

Usage: envelope.py BUNDLE KEY     the publisher's key as NAME+ID+BASE64
"""
import base64
import json
import sys

from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

with open(sys.argv[1], encoding="utf-8") as f:
    bundle = json.load(f)
name, identity, bytes_ = sys.argv[2].split("+", 2)
keyid = f"{name}+{identity}"
key = SSlibKey(keyid, "ed25519", "ed25519", {"public": base64.b64decode(bytes_)[-32:].hex()})
envelope = Envelope.from_dict(bundle["manifest"])
assert list(envelope.verify([key], 1)) == [keyid]
statement = json.loads(envelope.payload)
assert statement["_type"] == "https://in-toto.io/Statement/v1"
print(statement["subject"][0]["name"])
envelope.payload = envelope.payload.replace(b"1.0.0", b"1.0.1")
try:
    envelope.verify([key], 1)
except VerificationError:
    sys.exit(0)
sys.exit("a changed envelope was verified")
