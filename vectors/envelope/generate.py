"""Makes envelopes.json with libraries that share no code with Wayleave: cbor2 and cryptography (PyPI).

Run: pip install cbor2 cryptography && python3 generate.py > envelopes.json
"""
import hashlib
import json

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def canonical(value):
    return cbor2.dumps(value, canonical=True)


ed_secret = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ed_public = ed_secret.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
ed_kid = hashlib.sha256(canonical({1: 1, -1: 6, -2: ed_public})).digest()
ec_secret = ec.derive_private_key(int.from_bytes(bytes(range(1, 33)), "big"), ec.SECP256R1())
ec_numbers = ec_secret.public_key().public_numbers()
ec_x, ec_y = ec_numbers.x.to_bytes(32, "big"), ec_numbers.y.to_bytes(32, "big")
ec_kid = hashlib.sha256(canonical({1: 2, -1: 1, -2: ec_x, -3: ec_y})).digest()

# network 1, epoch 7, sequence 42, a time in 2026, a common report (kind 0): [0, [[used, free, at height]]]
PAYLOAD = {1: 1, 2: 7, 3: 42, 4: 1795000000000, 5: [0, [0, [[1048576, 4096, 215]]]]}


def sign_ed(data):
    return ed_secret.sign(data)


def sign_ec(data, high=False):
    # ECDSA signatures are random; one is drawn until its s has the wanted half.
    while True:
        r, s = decode_dss_signature(ec_secret.sign(data, ec.ECDSA(hashes.SHA256())))
        if (s > P256_ORDER // 2) == high:
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def envelope(payload=PAYLOAD, alg=-8, kid=ed_kid, sign=sign_ed, payload_bytes=None,
             protected=None, unprotected=None, tag=None):
    protected = canonical({1: alg, 4: kid}) if protected is None else protected
    payload_bytes = canonical(payload) if payload_bytes is None else payload_bytes
    signature = sign(canonical(["Signature1", protected, b"", payload_bytes]))
    parts = [protected, unprotected or {}, payload_bytes, signature]
    return canonical(parts if tag is None else cbor2.CBORTag(tag, parts))


def flip_last(data):
    return data[:-1] + bytes([data[-1] ^ 1])


ed_key = {"alg": -8, "x": ed_public.hex(), "kid": ed_kid.hex()}
ec_key = {"alg": -7, "x": ec_x.hex(), "y": ec_y.hex(), "kid": ec_kid.hex()}
long_head = canonical(PAYLOAD).replace(bytes([0x03, 0x18, 42]), bytes([0x03, 0x19, 0, 42]))
swapped = b"\xa5" + canonical({2: 7})[1:] + canonical({1: 1})[1:] + b"".join(
    canonical({k: PAYLOAD[k]})[1:] for k in (3, 4, 5))

vectors = [
    ("ed25519 report", ed_key, envelope(), "valid"),
    ("es256 report, low s", ec_key, envelope(alg=-7, kid=ec_kid, sign=sign_ec), "valid"),
    ("signature altered", ed_key, flip_last(envelope()), "signature"),
    ("payload altered", ed_key, envelope().replace(bytes([0x18, 42]), bytes([0x18, 43])), "signature"),
    ("es256, high s", ec_key,
     envelope(alg=-7, kid=ec_kid, sign=lambda data: sign_ec(data, high=True)), "signature"),
    ("unprotected header not empty", ed_key, envelope(unprotected={5: b"iv"}), "form"),
    ("tagged (18)", ed_key, envelope(tag=18), "form"),
    ("third member in the protected header", ed_key,
     envelope(protected=canonical({1: -8, 3: 0, 4: ed_kid})), "form"),
    ("sequence in a longer head than needed", ed_key, envelope(payload_bytes=long_head), "form"),
    ("payload keys out of order", ed_key, envelope(payload_bytes=swapped), "form"),
]
print(json.dumps({
    "source": "made by generate.py beside this file with cbor2 and cryptography from PyPI",
    "payload": {"network": 1, "epoch": 7, "sequence": 42, "time_ms": 1795000000000,
                "kind": 0, "used": 1048576, "free": 4096, "at": 215},
    "expected": "valid: parses and verifies; signature: parses, does not verify; form: does not parse",
    "vectors": [{"name": n, "key": k, "envelope": e.hex(), "expected": x} for n, k, e, x in vectors],
}, indent=1))
