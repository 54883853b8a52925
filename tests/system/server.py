"""A private satchel-server on loopback for the system tests, and a device that speaks to it.

    with Server() as server:                      # init and serve in a new directory below /tmp
        server.ctl("user", "add", "anna", "--address", "anna@acme.example", "--name", "Anna Ott")
        link = server.enroll_code("anna")          # the link, for `satchel enroll`
        server.publish(server.profile(version=1, host="127.0.0.1", port=10993))
        ... server.ctl("device", "list")["devices"] ...

The programs are looked for in $SATCHEL_BUILD (the build directory), else in build/.
Device() is the device API by hand, for tests of the server alone. stop() leaves no process and no file.
"""

import base64
import contextlib
import functools
import hashlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.parse

from dovecot import free_port

ROOT = pathlib.Path(__file__).resolve().parents[2]


def build_dir():
    """The build directory that has the server."""
    named = os.environ.get("SATCHEL_BUILD")
    for candidate in filter(None, (named, ROOT / "build")):
        if (pathlib.Path(candidate) / "server-api/server/satchel-server").exists():
            return pathlib.Path(candidate)
    raise RuntimeError("satchel-server is not built; set SATCHEL_BUILD to the build directory")


class CtlError(Exception):
    """satchelctl ended with another status than 0."""

    def __init__(self, args, status, stdout, stderr):
        super().__init__(f"satchelctl {' '.join(args)}: status {status}: {stderr.strip()}")
        self.status, self.stdout, self.stderr = status, stdout, stderr

    @property
    def json(self):
        return json.loads(self.stdout)


class Server:
    """`settings` replaces members of server.json before the first start."""

    def __init__(self, organization="Acme GmbH", domain="acme.example", host="127.0.0.1", start=True,
                 settings=None):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="satchel-server-"))
        self.dir = self.home / "org"
        self.host, self.port, self.admin_port = host, free_port(), free_port()
        self.url = f"https://{host}:{self.port}"
        self.process = None
        self.log_path = self.home / "server.log"
        try:
            self._run("satchel-server", "init", self.dir, "--organization", organization, "--domain", domain,
                      "--public-url", self.url, "--listen", f"127.0.0.1:{self.port}",
                      "--admin-listen", f"127.0.0.1:{self.admin_port}")
            if settings:
                path = self.dir / "server.json"
                path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
            if start:
                self.start()
        except BaseException:
            self.stop()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()

    @property
    def ca(self):
        return self.dir / "ca.pem"

    def binary(self, name):
        build = build_dir()
        return build / "server-api" / ("server" if name == "satchel-server" else "satchelctl") / name

    def _run(self, name, *args):
        return subprocess.run([self.binary(name), *map(str, args)], check=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=60)

    def start(self, env=None):
        """Starts the server and returns once it listens."""
        log = open(self.log_path, "ab")
        self.process = subprocess.Popen([self.binary("satchel-server"), "serve", self.dir], stdout=subprocess.PIPE,
                                        stderr=log, env=env)
        log.close()
        line = self.process.stdout.readline().decode()
        if not line.startswith("listening on "):
            self.process.wait(timeout=30)
            raise RuntimeError(f"satchel-server did not start: {self.log()}")

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def terminate(self, sig=signal.SIGTERM, timeout=60):
        """Ends the process and returns its status; the directory stays, for start()."""
        if not self.process:
            return None
        if self.process.poll() is None:
            self.process.send_signal(sig)
        status = self.process.wait(timeout=timeout)
        self.process.stdout.close()
        self.process = None
        return status

    def stop(self):
        """Ends the process and removes everything."""
        try:
            if self.process and self.process.poll() is None:
                self.terminate()
        except subprocess.TimeoutExpired:
            self.terminate(signal.SIGKILL)
        shutil.rmtree(self.home, ignore_errors=True)

    def ctl_raw(self, *args, stdin=None, where=None):
        """Runs satchelctl and gives the finished process, whatever its status."""
        where = ["--dir", str(self.dir)] if where is None else where
        return subprocess.run([self.binary("satchelctl"), *where, *map(str, args)], input=stdin,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=400)

    def ctl(self, *args, stdin=None):
        """Runs satchelctl --json and gives the parsed document; CtlError for another status than 0."""
        done = self.ctl_raw("--json", *args, stdin=stdin)
        if done.returncode != 0:
            raise CtlError(list(map(str, args)), done.returncode, done.stdout, done.stderr)
        return json.loads(done.stdout)

    def add_user(self, login, address=None, name=None):
        return self.ctl("user", "add", login, "--address", address or f"{login}@acme.example",
                        "--name", name or login.capitalize())

    def enroll_code(self, login, expires="24h"):
        return self.ctl("enroll-code", "create", login, "--expires", expires)["link"]

    def profile(self, version=1, host="127.0.0.1", port=993, **changes):
        """A complete profile; `changes` replace top-level members."""
        return {"type": "profile", "id": "acme-mail", "version": version,
                "organization": {"name": "Acme GmbH", "support": "it@acme.example"},
                "account": {"id": "work", "address": "{user.address}", "name": "{user.name}",
                            "login": "{user.login}",
                            "incoming": {"protocol": "imap", "host": host, "port": port, "security": "tls"},
                            "outgoing": {"protocol": "smtp", "host": host, "port": 465, "security": "tls"},
                            "authentication": "password"},
                "cache": {"keep_days": 0, "encryption": "required"},
                "clients": ["thunderbird"],
                "policy": {"check_in_seconds": 900, "offline_lock_days": 14, "offline_wipe_days": 0}, **changes}

    def publish(self, profile):
        return self.ctl("profile", "publish", "-", stdin=json.dumps(profile))

    def admin(self, method, path, body=None, token=None, headers=None, content_type="application/json"):
        """One request to the admin API over HTTPS: (status, headers, parsed or raw body)."""
        context = ssl.create_default_context(cafile=str(self.ca))
        headers = dict(headers or {})
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return request(context, "127.0.0.1", self.admin_port, method, path, body, headers, content_type)

    def admin_token(self, name="test"):
        return self.ctl("token", "create", name)["token"]


def request(context, host, port, method, path, body=None, headers=None, content_type="application/json",
            timeout=330):
    """One HTTPS request on a connection of its own: (status, headers, parsed JSON or bytes)."""
    connection = http.client.HTTPSConnection(host, port, context=context, timeout=timeout)
    try:
        return request_on(connection, method, path, body, headers, content_type)
    finally:
        connection.close()


def request_on(connection, method, path, body=None, headers=None, content_type="application/json"):
    headers = dict(headers or {})
    if body is not None and not isinstance(body, (bytes, str)):
        body = json.dumps(body)
    if body is not None and content_type:
        headers.setdefault("Content-Type", content_type)
    connection.request(method, path, body=body, headers=headers)
    answer = connection.getresponse()
    data = answer.read()
    if answer.headers.get_content_type() in ("application/json", "application/problem+json") and data:
        data = json.loads(data)
    return answer.status, answer.headers, data


def openssl(*args, **kwargs):
    return subprocess.run(["openssl", *map(str, args)], check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          **kwargs).stdout


class Device:
    """A device that only speaks the device API: key, CSR, certificate, and JWS receipts."""

    def __init__(self, server, name="laptop"):
        self.server, self.name = server, name
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="device-", dir=server.home))
        self.key, self.cert = self.dir / "key.pem", self.dir / "cert.pem"
        self.id = None
        self.new_key()

    def new_key(self):
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", self.key)

    def csr(self):
        return openssl("req", "-new", "-key", self.key, "-subj", "/CN=device").decode()

    def context(self, certificate=True):
        context = ssl.create_default_context(cafile=str(self.server.ca))
        if certificate:
            context.load_cert_chain(str(self.cert), str(self.key))
        return context

    def enroll_body(self, link):
        code = urllib.parse.urlsplit(link).path.rsplit("/", 1)[1]
        return {"code": code, "csr": self.csr(),
                "device": {"name": self.name, "os": "Debian GNU/Linux 12", "agent_version": "0.1.0"}}

    def enroll(self, link):
        """Redeems the link; gives the answer's body, or raises with the problem."""
        status, _, body = request(self.context(False), self.server.host, self.server.port, "POST", "/v1/enroll",
                                  self.enroll_body(link))
        if status != 201:
            raise RuntimeError(f"enrollment: {status} {body}")
        self.cert.write_text(body["certificate"])
        self.id = body["device"]
        return body

    def call(self, method, path, body=None, certificate=True, **kwargs):
        return request(self.context(certificate), self.server.host, self.server.port, method, path, body, **kwargs)

    def connect(self, timeout=330):
        connection = http.client.HTTPSConnection(self.server.host, self.server.port, context=self.context(),
                                                 timeout=timeout)
        connection.connect()
        return connection

    def state(self, have=None, wait=0):
        query = urllib.parse.urlencode({k: v for k, v in (("have", have), ("wait", wait)) if v is not None})
        return self.call("GET", f"/v1/device/state?{query}")

    def report(self, **members):
        return self.call("POST", "/v1/device/report", {"agent_version": "0.1.0", "os": "Debian GNU/Linux 12",
                                                       "profile": None, **members})

    def receipt(self, order, result="done", receipt_id=None, key=None, device=None, **members):
        """A signed receipt, as the agent makes it."""
        payload = {"type": "receipt", "id": receipt_id or f"receipt-{time.monotonic_ns()}", "order": order,
                   "cause": "order" if order else "leave", "kind": "wipe", "device": device or self.id, "result": result,
                   "steps": [{"name": "key", "outcome": "done"}], "checked": [{"what": "files", "found": 0}],
                   "removed": {"files": 3, "bytes": 1000}, "agent_version": "0.1.0", **members}
        return sign(payload, "satchel-receipt", key or self.key)

    def deliver(self, receipt):
        return self.call("POST", "/v1/device/receipts", {"receipt": receipt})


def b64(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@functools.lru_cache(maxsize=None)
def _fingerprint(pem):
    return b64(hashlib.sha256(openssl("pkey", "-pubout", "-outform", "DER", input=pem)).digest())


def fingerprint(key):
    """The kid of a private key in a PEM file."""
    return _fingerprint(pathlib.Path(key).read_bytes())


def sign(payload, kind, key):
    """A JWS in general JSON serialization (RFC 7515), ES256, with the openssl command."""
    header = b64(json.dumps({"alg": "ES256", "kid": fingerprint(key), "typ": kind}).encode())
    body = b64(json.dumps(payload).encode())
    der = openssl("dgst", "-sha256", "-sign", key, input=f"{header}.{body}".encode())
    raw, at = b"", 2  # SEQUENCE { INTEGER r, INTEGER s }, each shorter than 128 bytes
    for _ in range(2):
        size = der[at + 1]
        raw += der[at + 2:at + 2 + size].lstrip(b"\0").rjust(32, b"\0")
        at += 2 + size
    return {"payload": body, "signatures": [{"protected": header, "signature": b64(raw)}]}
