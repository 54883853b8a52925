"""satchelctl receipt: evidence that needs nothing but the organization's CA certificate, and what it refuses."""

import base64
import copy
import json

import pytest

from server import Device, Server, openssl, sign


def verify(server, document, ca=None, *more):
    """receipt verify, from standard input, with no server to ask."""
    text = document if isinstance(document, str) else json.dumps(document)
    return server.ctl_raw(*more, "receipt", "verify", "-", stdin=text, where=["--ca", str(ca or server.ca)])


@pytest.fixture(scope="module")
def wiped(shared):
    """A server, a device that it wiped, and the evidence."""
    device = Device(shared)
    device.enroll(shared.enroll_code("anna"))
    order = shared.ctl("wipe", device.id, "--reason", "lost")["id"]
    receipt = device.receipt(order, unreadable_at="2026-11-25T10:00:01.000Z", finished_at="2026-11-25T10:00:02.000Z",
                             steps=[{"name": "destroy-key", "outcome": "done", "started_at": "2026-11-25T10:00:01.000Z",
                                     "detail": "\x1b[31mred"}], vault={"driver": "gocryptfs"})
    assert device.deliver(receipt)[0] == 200
    return shared, device, order, shared.ctl("receipt", "show", order)


def test_what_is_proved_is_said(wiped, tmp_path):
    server, device, order, evidence = wiped
    assert set(evidence) == {"receipt", "certificate", "order", "device"} and evidence["order"] == order
    done = verify(server, evidence)
    assert done.returncode == 0, done.stderr
    for words in ("genuine", device.id, order, "Acme GmbH", "off the device at 2026-11-25T10:00:02.000Z",
                  "could be read since 2026-11-25T10:00:01.000Z", "destroy-key", "3 files, 1000 bytes", "gocryptfs", "nothing found",
                  "0.1.0"):
        assert words in done.stdout, words
    assert "\x1b" not in done.stdout
    as_json = json.loads(verify(server, evidence, None, "--json").stdout)
    assert as_json["valid"] is True and as_json["result"] == "done" and as_json["device"] == device.id
    assert as_json["receipt"]["order"] == order and as_json["root"] == server.enroll_code("anna").rsplit("#", 1)[1]
    # into a file; with --dir; and with the server gone
    path = tmp_path / "evidence.json"
    assert json.loads(server.ctl_raw("--json", "receipt", "show", order, "--output", path).stdout) == {"file": str(path)}
    assert json.loads(path.read_text()) == evidence
    server.terminate()
    try:
        assert server.ctl_raw("receipt", "verify", path).returncode == 0
        assert server.ctl_raw("receipt", "verify", path, where=["--ca", str(server.ca)]).returncode == 0
    finally:
        server.start()


def test_an_order_as_json_is_evidence_too(wiped):
    server, _, order, _ = wiped
    shown = server.ctl("order", "show", order)
    assert shown["certificate"].startswith("-----BEGIN CERTIFICATE-----") and verify(server, shown).returncode == 0
    for key, value in (("id", "another"), ("device", "another"), ("kind", "lock")):
        refused = verify(server, {**shown, key: value})
        assert refused.returncode == 4 and value in refused.stderr, key


def edited(evidence, **members):
    """The same with other content under the old signature."""
    changed = copy.deepcopy(evidence)
    payload = json.loads(base64.urlsafe_b64decode(changed["receipt"]["payload"] + "=="))
    payload.update(members)
    changed["receipt"]["payload"] = base64.urlsafe_b64encode(json.dumps(payload).encode()).decode().rstrip("=")
    return changed


@pytest.mark.parametrize("members", [{"result": "failed"}, {"removed": {"files": 4, "bytes": 1000}}, {"order": "x"}, {"kind": "lock"},
                                     {"device": "x"}, {"finished_at": "2026-11-26T10:00:02.000Z"}, {"checked": []}])
def test_a_changed_receipt(wiped, members):
    server, _, _, evidence = wiped
    refused = verify(server, edited(evidence, **members))
    assert refused.returncode == 4 and "NOT valid" in refused.stderr and "was changed" in refused.stderr


def test_a_changed_signature(wiped):
    server, _, _, evidence = wiped
    for at in (0, 40, 85):
        changed = copy.deepcopy(evidence)
        text = changed["receipt"]["signatures"][0]["signature"]
        changed["receipt"]["signatures"][0]["signature"] = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1:]
        assert verify(server, changed).returncode == 4


def test_another_organizations_ca(wiped):
    server, _, _, evidence = wiped
    with Server(start=False) as other:  # of the same name
        refused = verify(server, evidence, other.ca)
    assert refused.returncode == 4 and "not issued by this organization's CA" in refused.stderr


def test_another_device(wiped):
    """The receipt of one device under the certificate of another, and signed by the other in the name of the first."""
    server, device, order, evidence = wiped
    other = Device(server)
    other.enroll(server.enroll_code("anna"))
    swapped = verify(server, {**evidence, "certificate": other.cert.read_text()})
    assert swapped.returncode == 4
    forged = {**evidence, "receipt": other.receipt(order, device=device.id), "certificate": other.cert.read_text()}
    refused = verify(server, forged)
    assert refused.returncode == 4, refused.stdout
    own = {**evidence, "receipt": other.receipt(order), "certificate": other.cert.read_text()}
    refused = verify(server, own)
    assert refused.returncode == 4 and device.id in refused.stderr


def test_a_certificate_that_only_looks_right(wiped, tmp_path):
    """Self-signed in the device's name; and one that a device's certificate "issued"."""
    server, device, order, evidence = wiped
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key)
    openssl("req", "-new", "-x509", "-key", key, "-subj", f"/O=Acme GmbH/CN={device.id}", "-days", "30", "-out", cert)
    assert verify(server, {**evidence, "receipt": device.receipt(order, key=key), "certificate": cert.read_text()}).returncode == 4
    csr = tmp_path / "csr.pem"
    openssl("req", "-new", "-key", key, "-subj", f"/O=Acme GmbH/CN={device.id}", "-out", csr)
    openssl("x509", "-req", "-in", csr, "-CA", device.cert, "-CAkey", device.key, "-set_serial", "7", "-days", "30", "-out", cert)
    chain = cert.read_text() + device.cert.read_text()
    assert verify(server, {**evidence, "receipt": device.receipt(order, key=key), "certificate": chain}).returncode == 4
    # the server's own TLS certificate is of this CA and no device's
    tls = server.dir / "tls.pem"
    receipt = sign(json.loads(base64.urlsafe_b64decode(evidence["receipt"]["payload"] + "==")), "satchel-receipt",
                   server.dir / "keys/tls.pem")
    assert verify(server, {**evidence, "receipt": receipt, "certificate": tls.read_text()}).returncode == 4


@pytest.mark.parametrize("document", ["", "{", "[]", "{}", "null", '{"receipt": 7, "certificate": "x"}', '{"receipt": {}, "certificate": 7}'])
def test_what_is_no_evidence(wiped, document):
    refused = verify(wiped[0], document)
    assert refused.returncode == 4 and "NOT valid" in refused.stderr


def test_members_that_are_missing(wiped):
    server, _, _, evidence = wiped
    for key in ("receipt", "certificate"):
        assert verify(server, {k: v for k, v in evidence.items() if k != key}).returncode == 4
    assert verify(server, {**evidence, "receipt": {**evidence["receipt"], "signatures": []}}).returncode == 4


def test_a_failed_wipe_is_genuine_and_not_done(shared):
    device = Device(shared)
    device.enroll(shared.enroll_code("anna"))
    order = shared.ctl("wipe", device.id, "--reason", "lost")["id"]
    assert device.deliver(device.receipt(order, result="failed", reason="remove-secrets: the keyring is locked"))[0] == 200
    done = verify(shared, shared.ctl("receipt", "show", order))
    assert done.returncode == 0 and "NOT done" in done.stdout and "the keyring is locked" in done.stdout


def test_the_receipts_of_a_device(server, device):
    """Also those of no order: the employee left. Each is evidence; they outlive the device's record."""
    order = server.ctl("lock", device.id, "--reason", "x")["id"]
    assert device.deliver(device.receipt(order, kind="lock"))[0] == 200
    assert device.deliver(device.receipt(None))[0] == 200
    server.ctl("device", "delete", device.id)
    listed = server.ctl("receipt", "list", device.id)["receipts"]
    assert [(r["order"], r["kind"], r["cause"]) for r in sorted(listed, key=lambda r: r["kind"])] == [
        (order, "lock", "order"), (None, "wipe", "leave")]
    assert [verify(server, r).returncode for r in listed] == [0, 0]
    assert order in server.ctl_raw("receipt", "list", device.id).stdout
    assert server.ctl_raw("receipt", "list", "nothing").returncode == 1


def test_usage(shared, tmp_path):
    device = Device(shared)
    device.enroll(shared.enroll_code("anna"))
    order = shared.ctl("wipe", device.id, "--reason", "lost")["id"]
    none = shared.ctl_raw("receipt", "show", order)
    assert none.returncode == 1 and "no receipt yet" in none.stderr and "pending" in none.stderr
    assert shared.ctl_raw("receipt", "verify", "x", where=[]).returncode == 2
    assert shared.ctl_raw("receipt", "verify", "x", where=["--server", "https://localhost:1", "--ca", "x"]).returncode == 2
    assert shared.ctl_raw("receipt", "verify").returncode == 2
    assert shared.ctl_raw("receipt", "verify", tmp_path / "nothing").returncode == 1
    assert shared.ctl_raw("receipt", "verify", "-", stdin="{}", where=["--ca", str(tmp_path / "nothing")]).returncode == 1
    assert shared.ctl_raw("receipt", "show", "nothing").returncode == 1


def test_evidence_survives_a_renewal(server, device):
    """The certificate beside a receipt is the one whose key signed it, not the newest."""
    new = Device(server)
    new.cert.write_text(device.call("POST", "/v1/device/certificate", {"csr": new.csr()})[2]["certificate"])
    new.id = device.id
    assert new.state()[0] == 200
    order = server.ctl("wipe", device.id, "--reason", "lost")["id"]
    assert new.deliver(device.receipt(order))[0] == 200  # by the key before
    evidence = server.ctl("receipt", "show", order)
    assert evidence["certificate"] == device.cert.read_text() and verify(server, evidence).returncode == 0
