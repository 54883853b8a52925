"""Enrollment: links, codes, certificates, and who gets in with which."""

import concurrent.futures
import json
import re
import ssl
import subprocess
import threading
import time

import pytest

from server import Device, Server, fingerprint, openssl, request
from waiting import wait_for


def problem(body):
    return body["type"].removeprefix("urn:satchel:problem:")


def enroll(device, body):
    return request(device.context(False), device.server.host, device.server.port, "POST", "/v1/enroll", body)


def test_link_pins_the_root_key(server):
    link = server.enroll_code("anna")
    match = re.fullmatch(re.escape(server.url) + r"/enroll/([A-Za-z0-9_-]{32})#([A-Za-z0-9_-]{43})", link)
    assert match and match[2] == fingerprint(server.dir / "keys/root.pem")
    # the device finds the pinned root in the chain that the server presents
    shown = openssl("s_client", "-connect", f"{server.host}:{server.port}", "-showcerts", input=b"").decode()
    certs = re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", shown, re.S)
    assert len(certs) >= 2 and certs[1] in server.ca.read_text()


def test_enroll_and_first_state(server, device):
    status, headers, body = device.state()
    assert status == 200 and headers["Cache-Control"] == "no-store"
    assert body["device"] == {"id": device.id, "state": "enrolled"}
    assert body["profile"] is None and body["orders"] == [] and body["trust"]["signatures"]
    shown = server.ctl("device", "show", device.id)
    assert shown["login"] == "anna" and shown["state"] == "enrolled" and shown["certificate"] == device.cert.read_text()


@pytest.mark.parametrize("code,status,kind", [
    ("x" * 32, 404, "code-unknown"), ("short", 400, "code-malformed"), ("x" * 31 + "!", 400, "code-malformed"),
    ("x" * 5000, 400, "code-malformed"), (None, 400, "code-malformed"), (7, 400, "code-malformed")])
def test_bad_codes(server, code, status, kind):
    d = Device(server)
    body = {**d.enroll_body("https://h/enroll/" + "x" * 32), "code": code}
    got, headers, answer = enroll(d, body)
    assert (got, problem(answer)) == (status, kind)
    assert headers.get_content_type() == "application/problem+json" and answer["status"] == status


def test_code_is_used_once(server):
    link = server.enroll_code("anna")
    first = Device(server)
    first.enroll(link)
    status, _, body = enroll(Device(server), Device(server).enroll_body(link))
    assert (status, problem(body)) == (410, "code-used")
    assert len(server.ctl("device", "list")["devices"]) == 1


def test_code_raced_by_twenty(server):
    link = server.enroll_code("anna")
    bodies = [Device(server).enroll_body(link) for _ in range(20)]
    d = Device(server)
    gate = threading.Barrier(20)

    def one(body):
        gate.wait()
        return enroll(d, body)

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(one, bodies))
    assert sorted(a[0] for a in answers) == [201] + [410] * 19
    assert {problem(a[2]) for a in answers if a[0] == 410} == {"code-used"}
    assert len(server.ctl("device", "list")["devices"]) == 1
    assert [e["action"] for e in server.ctl("audit", "list")["entries"]].count("device.enrolled") == 1


def test_code_expires(server):
    link = server.enroll_code("anna", expires="60s")
    server.terminate()
    openssl("version")  # the machine's clock stays as it is: the row is moved instead
    import sqlite3
    with sqlite3.connect(server.dir / "satchel.db") as db:
        db.execute("UPDATE codes SET expires_at = ?", (int(time.time() * 1000) - 1,))
    db.close()
    server.start()
    status, _, body = enroll(Device(server), Device(server).enroll_body(link))
    assert (status, problem(body)) == (410, "code-expired")


@pytest.mark.parametrize("make", ["garbage", "rsa", "tampered", "other-curve"])
def test_bad_csr_keeps_the_code(server, make):
    link = server.enroll_code("anna")
    d = Device(server)
    body = d.enroll_body(link)
    if make == "garbage":
        body["csr"] = "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"
    elif make == "rsa":
        body["csr"] = openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", d.dir / "rsa.pem", "-subj",
                              "/CN=x").decode()
    elif make == "other-curve":
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384", "-out", d.dir / "p384.pem")
        body["csr"] = openssl("req", "-new", "-key", d.dir / "p384.pem", "-subj", "/CN=x").decode()
    else:
        lines = body["csr"].splitlines()
        lines[-2] = "A" * (len(lines[-2]) - 4) + lines[-2][-4:]
        body["csr"] = "\n".join(lines) + "\n"
    status, _, answer = enroll(d, body)
    assert (status, problem(answer)) == (400, "csr-invalid")
    d.enroll(link)


def test_what_a_csr_says_is_not_taken_over(server):
    d = Device(server)
    body = d.enroll_body(server.enroll_code("anna"))
    body["csr"] = openssl("req", "-new", "-key", d.key, "-subj", "/CN=root/O=Evil", "-addext",
                          "basicConstraints=critical,CA:TRUE", "-addext", "subjectAltName=DNS:localhost").decode()
    status, _, answer = enroll(d, body)
    assert status == 201
    d.cert.write_text(answer["certificate"])
    text = openssl("x509", "-in", d.cert, "-noout", "-text").decode()
    assert "CA:FALSE" in text and "Evil" not in text and "DNS:localhost" not in text
    assert "TLS Web Client Authentication" in text and "Server Authentication" not in text


def test_strange_names_are_refused(server):
    link = server.enroll_code("anna")
    for name in ("", "x" * 129, "a\nb", "a\x1b[2J", "a\u202eb", 7, None):
        d = Device(server)
        body = d.enroll_body(link)
        body["device"]["name"] = name
        status, _, answer = enroll(d, body)
        assert status == 400 and problem(answer) == "invalid", name
    d = Device(server, name="Annas <script>alert(1)</script> Übungs'\"-Laptop; DROP TABLE devices")
    d.enroll(link)
    assert server.ctl("device", "show", d.id)["name"] == d.name


def test_page_for_people(server):
    link = server.enroll_code("anna")
    path = link[len(server.url):].split("#")[0]
    d = Device(server)
    pages = []
    for p in (path, "/enroll/" + "A" * 32, "/enroll/%3Cscript%3E"):
        status, headers, body = d.call("GET", p, certificate=False)
        assert status == 200 and headers.get_content_type() == "text/html"
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        pages.append(body)
    assert pages[0] == pages[1] == pages[2]
    import base64
    import hashlib
    script = re.search(rb"<script>(.*?)</script>", pages[0], re.S)[1]
    assert base64.b64encode(hashlib.sha256(script).digest()).decode() in policy
    d.enroll(link)  # looking did not use it up


def test_failures_are_limited_by_address(server):
    d = Device(server)
    body = d.enroll_body("https://h/enroll/" + "x" * 32)
    context = d.context(False)
    seen = [request(context, server.host, server.port, "POST", "/v1/enroll", body,
                    {"X-Forwarded-For": f"10.0.0.{i}"}) for i in range(31)]
    assert [s for s, _, _ in seen] == [404] * 30 + [429]
    assert 1 <= int(seen[-1][1]["Retry-After"]) <= 61


# -- who gets in ------------------------------------------------------------------------------------------------

ROUTES = [("GET", "/v1/device/state", None), ("POST", "/v1/device/report", {"agent_version": "1", "os": "x"}),
          ("POST", "/v1/device/receipts", {"receipt": {}}), ("POST", "/v1/device/certificate", {"csr": "x"})]


def refused_everywhere(server, context, statuses):
    for method, path, body in ROUTES:
        status, _, answer = request(context, server.host, server.port, method, path, body)
        assert status in statuses, (method, path, status, answer)
        assert set(answer) == {"type", "title", "status", "detail"}
    # ... and nothing but enrollment is open
    assert request(context, server.host, server.port, "GET", "/healthz")[0] == 200


def client_context(server, cert, key):
    context = ssl.create_default_context(cafile=str(server.ca))
    context.load_cert_chain(str(cert), str(key))
    return context


def test_no_certificate(server, device):
    refused_everywhere(server, device.context(False), {401})


def test_self_signed_certificate(server, device):
    d = Device(server)
    openssl("req", "-x509", "-new", "-key", d.key, "-subj", f"/O=Acme GmbH/CN={device.id}", "-days", "2", "-out", d.cert,
            "-addext", "extendedKeyUsage=clientAuth")
    refused_everywhere(server, d.context(), {403})


def test_certificate_of_another_organization(server, device):
    with Server(organization="Acme GmbH") as other:
        other.add_user("anna")
        d = Device(other)
        d.enroll(other.enroll_code("anna"))
        refused_everywhere(server, client_context(server, d.cert, d.key), {403})


def sign_with_root(server, d, usage="clientAuth", days="2"):
    ext = d.dir / "ext.cnf"
    ext.write_text(f"basicConstraints=critical,CA:FALSE\nextendedKeyUsage={usage}\n")
    csr = d.dir / "csr.pem"
    csr.write_text(d.csr())
    openssl("x509", "-req", "-in", csr, "-CA", server.ca, "-CAkey", server.dir / "keys/root.pem", "-days", days,
            "-extfile", ext, "-out", d.cert, "-set_serial", "77")


def test_certificate_by_our_root_that_no_device_has(server, device):
    d = Device(server)
    sign_with_root(server, d)
    refused_everywhere(server, d.context(), {403})


def test_server_certificate_is_no_client(server, device):
    refused_everywhere(server, client_context(server, server.dir / "tls.pem", server.dir / "keys/tls.pem"), {403})


def test_certificate_below_a_device_certificate(server, device):
    """A device must not be able to issue."""
    d = Device(server)
    csr = d.dir / "csr.pem"
    csr.write_text(d.csr())
    openssl("x509", "-req", "-in", csr, "-CA", device.cert, "-CAkey", device.key, "-days", "2", "-out", d.cert,
            "-set_serial", "78")
    refused_everywhere(server, d.context(), {403})


def test_expired_certificate():
    with Server(settings={"device_certificate_seconds": 2}) as server:
        server.add_user("anna")
        d = Device(server)
        d.enroll(server.enroll_code("anna"))
        context, until = d.context(), time.time() + 2.5
        assert d.state()[0] == 200
        threading.Event().wait(until - time.time())  # the end of its validity is the event
        refused_everywhere(server, context, {403})
        # a wipe reaches it all the same, and nothing else does
        order = server.ctl("wipe", d.id, "--reason", "lost")
        status, _, body = d.state()
        assert status == 200 and len(body["orders"]) == 1 and body["profile"] is None
        assert d.call("POST", "/v1/device/certificate", {"csr": d.csr()})[0] == 403
        assert d.report(orders=[{"id": order["id"], "state": "delivered"}])[0] == 204
        assert d.deliver(d.receipt(order["id"]))[0] == 200
        assert server.ctl("order", "show", order["id"])["state"] == "done"


def test_renewal_revokes_the_old_one_at_first_use(server, device):
    old_cert, old_key = device.cert.read_text(), device.key.read_text()
    old = device.context()
    new = Device(server)
    status, _, body = device.call("POST", "/v1/device/certificate", {"csr": new.csr()})
    assert status == 200
    assert device.state()[0] == 200  # until the new one was used
    kept = device.connect()
    new.cert.write_text(body["certificate"])
    new.id = device.id
    status, _, body = new.state()
    assert status == 200 and body["device"]["id"] == device.id
    refused_everywhere(server, old, {403})
    from server import request_on
    assert request_on(kept, "GET", "/v1/device/state")[0] == 403  # also on a connection that was open
    kept.close()
    assert new.state()[0] == 200
    assert old_cert and old_key


def test_unused_renewals_are_capped(server, device):
    answers = [device.call("POST", "/v1/device/certificate", {"csr": Device(server).csr()})[0] for _ in range(5)]
    assert answers == [200] * 4 + [409]


def test_a_certificate_that_is_fresh_is_not_made_again(server, device):
    """A lost answer, or a device whose clock is wrong, asks again and again: it collects nothing."""
    answers = [device.call("POST", "/v1/device/certificate", {"csr": device.csr()}) for _ in range(10)]
    assert {(status, body["certificate"]) for status, _, body in answers} == {(200, device.cert.read_text())}
    assert len(server.ctl("device", "show", device.id)["certificates"]) == 1


def test_renewal_with_the_same_key():
    with Server(settings={"device_certificate_seconds": 24}) as server:
        server.add_user("anna")
        device = Device(server)
        device.enroll(server.enroll_code("anna"))
        old = device.context()

        def renew():
            return device.call("POST", "/v1/device/certificate", {"csr": device.csr()})[2]["certificate"]
        fresh = wait_for(lambda: (lambda pem: pem if pem != device.cert.read_text() else None)(renew()), 24)
        assert {renew() for _ in range(5)} == {fresh}  # the same one until it is used
        assert device.state()[0] == 200                # and until then the old one is good
        device.cert.write_text(fresh)
        assert device.state()[0] == 200
        refused_everywhere(server, old, {403})
        order = server.ctl("wipe", device.id, "--reason", "lost")["id"]
        assert device.deliver(device.receipt(order))[0] == 200


def test_while_it_is_wiped_only_the_order_and_the_receipt_are_open(server, device):
    server.publish(server.profile())
    order = server.ctl("wipe", device.id, "--reason", "lost")["id"]
    state = device.state()[2]
    assert state["profile"] is None and len(state["orders"]) == 1
    before = server.ctl("device", "show", device.id)["report"]
    assert device.report(vault={"driver": "plain", "open": True})[0] == 403
    assert device.report(orders=[])[0] == 403
    assert device.call("POST", "/v1/device/certificate", {"csr": device.csr()})[0] == 403
    assert device.report(orders=[{"id": order, "state": "delivered"}], vault={"driver": "plain", "open": True})[0] == 204
    assert server.ctl("device", "show", device.id)["report"] == before
    assert device.deliver(device.receipt(order))[0] == 200


@pytest.mark.parametrize("days,seconds", [("1", 86400), ("3650", 315360000)])
def test_certificate_days(tmp_path, server, days, seconds):
    done = subprocess.run([server.binary("satchel-server"), "init", tmp_path / "org", "--organization", "X", "--domain", "x.example",
                           "--public-url", "https://localhost:1", "--certificate-days", days], check=True, capture_output=True)
    assert done.returncode == 0
    assert json.loads((tmp_path / "org/server.json").read_text())["device_certificate_seconds"] == seconds


@pytest.mark.parametrize("days", ["0", "-1", "x", "3651", ""])
def test_certificate_days_that_make_no_sense(tmp_path, server, days):
    done = subprocess.run([server.binary("satchel-server"), "init", tmp_path / "org", "--organization", "X", "--domain", "x.example",
                           "--public-url", "https://localhost:1", "--certificate-days", days], check=False, capture_output=True)
    assert done.returncode == 2 and not (tmp_path / "org").exists()


def test_secrets_are_not_in_the_database_or_the_log(server):
    link = server.enroll_code("anna")
    token = server.admin_token()
    code = link.rsplit("/", 1)[1].split("#")[0]
    Device(server).enroll(link)
    server.terminate()
    for path in [p for p in server.dir.rglob("*") if p.is_file()] + [server.log_path]:
        data = path.read_bytes()
        assert code.encode() not in data and token.encode() not in data, path
    for path in (server.dir / "keys").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    assert server.dir.stat().st_mode & 0o777 == 0o700
    assert (server.dir / "satchel.db").stat().st_mode & 0o777 == 0o600
    assert json.loads((server.dir / "server.json").read_text())["store"] == "sqlite:satchel.db"
