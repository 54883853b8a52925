"""What a hostile or clumsy HTTP client gets: 4xx problems, never 5xx, never somebody else's time."""

import contextlib
import json
import socket
import ssl
import time

import pytest

from server import request, request_on


@pytest.fixture(scope="module")
def server(shared):
    return shared


@pytest.fixture(scope="module")
def device(shared_device):
    return shared_device


@pytest.fixture(scope="module")
def token(shared):
    return shared.admin_token("http-tests")


def raw(server, data, port=None, certificate=None, half_close=False, timeout=60):
    """Sends bytes over TLS and gives everything that comes back until the peer closes."""
    context = ssl.create_default_context(cafile=str(server.ca))
    if certificate:
        context.load_cert_chain(str(certificate.cert), str(certificate.key))
    with socket.create_connection((server.host, port or server.port), timeout=timeout) as plain, \
            context.wrap_socket(plain, server_hostname="127.0.0.1") as s:
        with contextlib.suppress(OSError):
            for part in data if isinstance(data, list) else [data]:
                s.sendall(part)
        out = b""
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            while True:
                part = s.recv(65536)
                if not part:
                    break
                out += part
        return out


def status_of(answer):
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.") else None


def still_well(server):
    assert request(ssl.create_default_context(cafile=str(server.ca)), server.host, server.port, "GET", "/healthz")[0] == 200
    assert server.process.poll() is None


def post(path, body, *headers, host="x"):
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


JSON = "Content-Type: application/json"


def test_length_and_chunked_together_are_refused(server):
    body = b"5\r\nhello\r\n0\r\n\r\n"
    answer = raw(server, post("/v1/enroll", body, JSON, f"Content-Length: {len(body)}", "Transfer-Encoding: chunked"))
    assert status_of(answer) == 400 and answer.count(b"HTTP/1.1") == 1
    for extra in (("Content-Length: 4", "Content-Length: 6"), ("Transfer-Encoding: gzip",),
                  ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), ("Transfer-Encoding: chunked, chunked",)):
        answer = raw(server, post("/v1/enroll", b"{}{}{}", JSON, *extra))
        assert status_of(answer) in (400, None) and answer.count(b"HTTP/1.1") <= 1, extra
    still_well(server)


@pytest.mark.parametrize("request_bytes", [
    b"GET\r\n\r\n", b"GET  / HTTP/1.1\r\n\r\n", b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    b"POST /v1/enroll HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"POST /v1/enroll HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    b"POST /v1/enroll HTTP/1.1\r\nHost: x\r\nContent-Length: 1x\r\n\r\n{",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n", b"GET /healthz HTTP/1.1\r\nHost : x\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\n\r\n", b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20000 + b"\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\n" + b"A: b\r\n" * 3000 + b"\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"POST /v1/enroll HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /v1/enroll HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"ffffffffffffffffffff\r\n",
])
def test_broken_requests(server, request_bytes):
    answer = raw(server, [request_bytes.replace(b"Host: x\r\n", b"Host: x\r\nConnection: close\r\n", 1)], timeout=40)
    status = status_of(answer)
    assert status is None or 400 <= status < 500 or status == 505, answer[:200]
    still_well(server)


def test_plain_text_to_the_tls_port(server):
    with socket.create_connection((server.host, server.port), timeout=40) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 10)
        with contextlib.suppress(ConnectionError):
            while s.recv(4096):
                pass
    still_well(server)


BODIES = {
    "syntax": b"{", "empty": b"", "array": b"[]", "number": b"7", "null": b"null", "trailing": b"{} {}", "text": b"hello",
    "deep": b'{"a":' * 2000 + b"1" + b"}" * 2000, "deep array": b"[" * 8000, "twice": b'{"code":"a","code":"b"}',
    "nul": b'{"code":"a\\u0000b"}', "raw nul": b'{"a\0":1}', "control": b'{"a":"\x01"}', "latin1": b'{"a":"\xff\xfe"}',
    "huge number": b'{"code":' + b"9" * 5000 + b"}", "wrong types": b'{"code":{},"csr":[],"device":7}',
    "many members": b"{" + b",".join(b'"%d":0' % i for i in range(1500)) + b"}",
}


@pytest.mark.parametrize("name", BODIES)
def test_bad_bodies(server, device, token, name):
    body = BODIES[name]
    for method, path in (("POST", "/v1/device/report"), ("POST", "/v1/device/receipts"), ("POST", "/v1/device/certificate"),
                         ("POST", "/v1/enroll")):
        status, headers, answer = device.call(method, path, body)
        assert status == 400, (path, status, answer)
        assert headers.get_content_type() == "application/problem+json" and answer["type"].startswith("urn:satchel:problem:")
    for path in ("/v1/admin/users", "/v1/admin/profiles", "/v1/admin/enrollment-codes", "/v1/admin/tokens",
                 f"/v1/admin/devices/{device.id}/orders"):
        status, _, answer = server.admin("POST", path, body, token=token)
        assert status in (400, 422), (path, status, answer)
    still_well(server)


@pytest.mark.parametrize("content_type", ["text/plain", "application/jsonx", "application/x-www-form-urlencoded",
                                          "multipart/form-data; boundary=x", "", "json"])
def test_wrong_content_type(server, device, token, content_type):
    assert device.call("POST", "/v1/device/report", b"{}", content_type=content_type)[0] == 415
    assert server.admin("POST", "/v1/admin/profiles", b"{}", token=token, content_type=content_type)[0] == 415
    assert device.call("POST", "/v1/device/report", b"{}", content_type="application/json; charset=utf-8")[0] == 400


@pytest.mark.parametrize("path,cap", [("/v1/enroll", 16), ("/v1/device/report", 16), ("/v1/device/receipts", 96),
                                      ("/v1/device/certificate", 16)])
def test_body_caps(server, device, path, cap):
    exact = b'{"a":"' + b"x" * (cap * 1024 - 8) + b'"}'
    assert device.call("POST", path, exact)[0] == 400  # read and understood
    for n in (1, 1000, 300000):
        assert device.call("POST", path, exact + b" " * n)[0] == 413
    # without a length beforehand
    chunk = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
    chunked = post(path, chunk * 12 + b"0\r\n\r\n", JSON, "Transfer-Encoding: chunked")
    assert status_of(raw(server, chunked, certificate=device)) == 413
    # far more than anybody reads
    answer = raw(server, [post(path, b"", JSON, "Content-Length: 1000000000000"), b" " * 100000], certificate=device)
    assert status_of(answer) == 413
    endless = raw(server, [post(path, b"", JSON, "Transfer-Encoding: chunked"), chunk * 200], certificate=device)
    assert status_of(endless) in (413, None)
    still_well(server)


def test_bodies_where_none_belongs(server, device):
    assert device.call("GET", "/v1/device/state", b"{}")[0] == 413


def test_unknown_addresses_and_methods(server, device, token):
    for path in ("/", "/v1", "/v1/device", "/v1/device/state/", "/v1/device/state/x", "//healthz", "/v1/admin/users",
                 "/enroll/", "/enroll/a/b", "/../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/metrics", "/enroll/" + "a" * 65):
        assert device.call("GET", path)[0] == 404, path
    for method, path, allow in (("PUT", "/v1/enroll", "POST"), ("DELETE", "/v1/device/state", "GET"),
                                ("HEAD", "/healthz", "GET"), ("OPTIONS", "/v1/device/report", "POST")):
        status, headers, _ = device.call(method, path)
        assert status == 405 and headers["Allow"] == allow
    status, headers, _ = server.admin("PUT", "/v1/admin/users", token=token)
    assert status == 405 and headers["Allow"] == "GET, POST"
    assert server.admin("GET", "/v1/device/state", token=token)[0] == 404


def test_keep_alive_survives_refusals(device):
    connection = device.connect()
    for _ in range(3):
        assert request_on(connection, "POST", "/v1/device/report", b"{")[0] == 400
        assert request_on(connection, "POST", "/v1/device/report", b"x" * 20000)[0] == 413
        assert request_on(connection, "GET", "/nothing")[0] == 404
        assert request_on(connection, "GET", "/v1/device/state")[0] == 200
    connection.close()


def test_slow_and_silent_clients_block_nobody_and_are_cut(server, device, token):
    """A drop now and then keeps no connection beyond the deadline of its whole body."""
    context = device.context()
    slow = []
    for _ in range(200):
        s = context.wrap_socket(socket.create_connection((server.host, server.port)), server_hostname=server.host)
        slow.append(s)
    for s in slow[:100]:
        s.sendall(post("/v1/device/report", b"{", JSON, "Content-Length: 10000"))
    for s in slow[100:140]:
        s.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ")
    for s in slow[140:150]:
        s.sendall(b"\0\0\0\0\r\n\r\n")
    plain = [socket.create_connection((server.host, server.port)) for _ in range(100)]  # not even a handshake
    began = time.monotonic()
    for _ in range(20):
        one = time.monotonic()
        assert device.report()[0] == 204
        assert time.monotonic() - one < 2
    alive = set(slow + plain)
    while alive and time.monotonic() - began < 50:
        for s in list(alive):
            s.settimeout(0.01)
            try:
                if s in slow[:140]:
                    s.sendall(b"x")
                if s.recv(10000) == b"":
                    alive.discard(s)
            except (socket.timeout, ssl.SSLWantReadError):
                pass
            except OSError:
                alive.discard(s)
    assert not alive, f"{len(alive)} are still connected"
    text = server.admin("GET", "/metrics", token=token)[2].decode()
    cut = int(text.split('satchel_http_cut_total{listener="device"} ')[1].split()[0])
    assert cut >= 150
    for s in slow + plain:
        s.close()


def test_random_bytes_in_every_field(server, device):
    """Whatever stands in a document, the answer is an answer."""
    import random
    rng = random.Random(7)
    values = [None, True, 0, -1, 1e308, "", "x", "\u202e", "x" * 3000, [], {}, [[]], {"a": {}}, "\ud83d\ude00", "1' OR '1'='1",
              "../../x", "<script>"]
    connection = device.connect()
    for _ in range(150):
        keys = rng.sample(["agent_version", "os", "profile", "profile_problem", "account", "vault", "keyring", "orders",
                           "receipt", "csr", "code", "device"], rng.randint(0, 8))
        body = {k: rng.choice(values + [[{"id": rng.choice(values), "state": rng.choice(values)}],
                                        {"id": rng.choice(values), "version": rng.choice(values),
                                         "payload": rng.choice(values), "signatures": rng.choice(values)}]) for k in keys}
        path = rng.choice(["/v1/device/report", "/v1/device/receipts", "/v1/device/certificate", "/v1/enroll"])
        status, _, answer = request_on(connection, "POST", path, json.dumps(body))
        assert status in (204, 400, 404, 422, 429), (path, body, status, answer)
    connection.close()
    still_well(server)


def test_disconnect_in_the_middle(server, device):
    for i in range(30):
        s = device.context().wrap_socket(socket.create_connection((server.host, server.port)), server_hostname=server.host)
        s.sendall(post("/v1/device/report", b'{"agent_version"', JSON, "Content-Length: 500")[: 20 + i * 7])
        s.close()
    tag = device.state()[2]["tag"]
    for _ in range(30):  # parked, and gone
        s = device.context().wrap_socket(socket.create_connection((server.host, server.port)), server_hostname=server.host)
        s.sendall(f"GET /v1/device/state?have={tag}&wait=60 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        s.close()
    server.publish(server.profile())
    assert device.state(tag, 0)[0] == 200


def test_client_that_reads_nothing(server, device):
    """Its answers wait in its own connection; others are served."""
    s = device.context().wrap_socket(socket.create_connection((server.host, server.port)), server_hostname=server.host)
    s.setblocking(False)
    with contextlib.suppress(ssl.SSLWantWriteError, ssl.SSLWantReadError, OSError):
        for _ in range(20000):
            s.send(b"GET /openapi.yaml HTTP/1.1\r\nHost: x\r\n\r\n")
    for _ in range(5):
        assert device.state()[0] == 200
    s.close()
