"""Looking into a JWS (general JSON serialization, ES256) with the openssl command. Making one: server.sign()."""

import base64
import json
import subprocess
import tempfile


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def payload(jws):
    return json.loads(unb64(jws["payload"]))


def _der(raw):
    """The DER signature of r || s."""
    def integer(b):
        b = b.lstrip(b"\0") or b"\0"
        b = b"\0" + b if b[0] & 0x80 else b
        return bytes([2, len(b)]) + b
    body = integer(raw[:32]) + integer(raw[32:])
    return bytes([0x30, len(body)]) + body


def verifies(jws, certificate):
    """Whether the first signature is by the key of the certificate (PEM text)."""
    one = jws["signatures"][0]
    key = subprocess.run(["openssl", "x509", "-pubkey", "-noout"], input=certificate.encode(), capture_output=True, check=True)
    with tempfile.NamedTemporaryFile() as public, tempfile.NamedTemporaryFile() as signature:
        public.write(key.stdout)
        signature.write(_der(unb64(one["signature"])))
        public.flush()
        signature.flush()
        done = subprocess.run(["openssl", "dgst", "-sha256", "-verify", public.name, "-signature", signature.name],
                              input=(one["protected"] + "." + jws["payload"]).encode(), capture_output=True, check=False)
    return done.returncode == 0
