"""JWS as the contract has it (general JSON serialization, ES256), made with the openssl command: for forging and for checking."""

import base64
import json
import subprocess
import tempfile


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _openssl(*args, data=b""):
    return subprocess.run(["openssl", *map(str, args)], input=data, capture_output=True, check=True).stdout


def fingerprint(key):
    """The kid: base64url of SHA-256 of the SubjectPublicKeyInfo. `key`: path of a private key."""
    return b64(_openssl("dgst", "-sha256", "-binary", data=_openssl("pkey", "-in", key, "-pubout", "-outform", "DER")))


def _raw(der):
    """r || s of a DER signature."""
    at = 2 if der[1] < 0x80 else 3
    out = b""
    for _ in range(2):
        size = der[at + 1]
        out += der[at + 2:at + 2 + size].lstrip(b"\0").rjust(32, b"\0")
        at += 2 + size
    return out


def _der(raw):
    def integer(b):
        b = b.lstrip(b"\0") or b"\0"
        b = b"\0" + b if b[0] & 0x80 else b
        return bytes([2, len(b)]) + b
    body = integer(raw[:32]) + integer(raw[32:])
    return bytes([0x30, len(body)]) + body


def sign(payload, kind, *keys):
    """A JWS of the type "satchel-KIND" over `payload` by each key (paths)."""
    text = b64(json.dumps(payload).encode())
    signatures = []
    for key in keys:
        protected = b64(json.dumps({"alg": "ES256", "kid": fingerprint(key), "typ": "satchel-" + kind}).encode())
        der = _openssl("dgst", "-sha256", "-sign", key, data=(protected + "." + text).encode())
        signatures.append({"protected": protected, "signature": b64(_raw(der))})
    return {"payload": text, "signatures": signatures}


def payload(jws):
    return json.loads(unb64(jws["payload"]))


def verifies(jws, certificate):
    """Whether the first signature is by the key of the certificate (PEM text)."""
    one = jws["signatures"][0]
    with tempfile.NamedTemporaryFile() as key, tempfile.NamedTemporaryFile() as signature:
        key.write(_openssl("x509", "-pubkey", "-noout", data=certificate.encode()))
        signature.write(_der(unb64(one["signature"])))
        key.flush(), signature.flush()
        done = subprocess.run(["openssl", "dgst", "-sha256", "-verify", key.name, "-signature", signature.name],
                              input=(one["protected"] + "." + jws["payload"]).encode(), capture_output=True, check=False)
    return done.returncode == 0


def local_token(key):
    """A token as satchelctl --dir makes it."""
    import datetime
    until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=50)
    return "local." + b64(json.dumps(sign({"aud": "satchel-admin", "exp": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
                                           "sub": "local:0"}, "token", key)).encode())
