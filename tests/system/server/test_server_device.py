"""The channel: long polls, profiles, orders, reports, receipts, and what survives."""

import concurrent.futures
import datetime
import json
import resource
import select
import signal
import socket
import ssl
import threading
import time

import pytest

import jws
from server import Device, openssl, request_on, sign


def parked(server, token, n, deadline=60):
    """Waits until `n` requests are parked."""
    until = time.monotonic() + deadline
    while time.monotonic() < until:
        text = server.admin("GET", "/metrics", token=token)[2].decode()
        if int(text.split("satchel_parked_requests ")[1].split()[0]) >= n:
            return
    raise AssertionError("the polls were not parked")


class Poll(threading.Thread):
    """One long poll in a thread; `answer` and `took` afterwards."""

    def __init__(self, device, have, wait=60):
        super().__init__()
        self.device, self.have, self.wait, self.answer, self.at = device, have, wait, None, None
        self.start()

    def run(self):
        self.answer = self.device.state(self.have, self.wait)
        self.at = time.monotonic()


def test_poll_answers_304_after_its_time(device):
    tag = device.state()[2]["tag"]
    began = time.monotonic()
    status, _, body = device.state(tag, 1)
    assert status == 304 and body == b"" and 0.9 < time.monotonic() - began < 5
    assert device.state(tag, 0)[0] == 304
    assert device.state("something-else", 100)[0] == 200


@pytest.mark.parametrize("wait", ["-1", "x", "1e3", "99999999999999999999"])
def test_poll_with_a_strange_wait(device, wait):
    assert device.call("GET", f"/v1/device/state?have=x&wait={wait}")[0] == 400


def test_publish_and_order_wake_at_once(server, device):
    token = server.admin_token()
    poll = Poll(device, device.state()[2]["tag"])
    parked(server, token, 1)
    status, _, _ = server.admin("POST", "/v1/admin/profiles", server.profile(), token=token)
    published = time.monotonic()
    assert status == 201
    poll.join(10)
    assert poll.answer[0] == 200 and poll.answer[2]["profile"] and poll.at - published < 1
    other = Device(server)
    other.enroll(server.enroll_code("anna"))
    tag = device.state()[2]["tag"]
    poll, bystander = Poll(device, tag), Poll(other, other.state()[2]["tag"], 3)
    parked(server, token, 2)
    order = server.admin("POST", f"/v1/admin/devices/{device.id}/orders", {"kind": "wipe", "reason": "lost"}, token=token)
    ordered = time.monotonic()
    assert order[0] == 201
    poll.join(10)
    assert poll.at - ordered < 0.2 and len(poll.answer[2]["orders"]) == 1
    bystander.join(10)
    assert bystander.answer[0] == 304  # the order was for one device


def test_two_thousand_parked_polls_are_woken_by_a_publish(server, device):
    """All on one loop of this process: sockets, no threads."""
    n = 2000
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    token, context = server.admin_token(), device.context()
    tag = device.state()[2]["tag"]
    wish = f"GET /v1/device/state?have={tag}&wait=120 HTTP/1.1\r\nHost: x\r\n\r\n".encode()

    def one(_):
        s = context.wrap_socket(socket.create_connection((server.host, server.port)), server_hostname=server.host)
        s.sendall(wish)
        return s

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        sockets = list(pool.map(one, range(n)))
    try:
        parked(server, token, n)
        assert server.admin("POST", "/v1/admin/profiles", server.profile(), token=token)[0] == 201
        began, poller, waiting = time.monotonic(), select.epoll(), {}
        for s in sockets:
            s.setblocking(False)
            waiting[s.fileno()] = (s, b"")
            poller.register(s.fileno(), select.EPOLLIN)
        while waiting and time.monotonic() - began < 60:
            for fd, _ in poller.poll(1):
                s, have = waiting[fd]
                try:
                    while True:
                        have += s.recv(65536)
                except ssl.SSLWantReadError:
                    waiting[fd] = (s, have)
                if b"\r\n\r\n" in have:
                    assert have.startswith(b"HTTP/1.1 200 ") and b"satchel" not in have[:15]
                    del waiting[fd]
                    poller.unregister(fd)
        assert not waiting
        assert time.monotonic() - began < 20
    finally:
        for s in sockets:
            s.close()


def test_a_poll_sees_what_happened_while_it_was_on_its_way(server, device):
    """No wake-up is lost between reading the state and parking: many polls against many changes."""
    token, n = server.admin_token(), 25
    done = threading.Event()

    def publish():
        for version in range(1, n + 1):
            assert server.admin("POST", "/v1/admin/profiles", server.profile(version=version), token=token)[0] == 201
        done.set()

    publisher = threading.Thread(target=publish)
    publisher.start()
    connection, tag, seen = device.connect(), None, 0
    while seen < n:
        began = time.monotonic()
        status, _, body = request_on(connection, "GET", f"/v1/device/state?have={tag}&wait=30")
        assert status == 200 and time.monotonic() - began < 20
        tag = body["tag"]
        import base64
        payload = body["profile"] and body["profile"]["payload"]
        seen = json.loads(base64.urlsafe_b64decode(payload + "=="))["version"] if payload else 0
    publisher.join()
    connection.close()


# -- orders and receipts -----------------------------------------------------------------------------------------

def test_the_life_of_a_wipe(server, device):
    token = server.admin_token()
    server.publish(server.profile())
    order = server.ctl("wipe", device.id, "--reason", "laptop lost")
    assert order["state"] == "pending" and order["kind"] == "wipe" and order["reason"] == "laptop lost"
    assert order["receipt"] is None and order["delivered_at"] is None
    again = server.ctl("wipe", device.id, "--reason", "really")
    assert again["id"] == order["id"]  # one at a time
    body = device.state()[2]
    assert body["profile"] is None and body["device"]["state"] == "wiping"
    assert device.report(orders=[{"id": order["id"], "state": "delivered"}])[0] == 204
    assert server.ctl("order", "show", order["id"])["state"] == "delivered"
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        wait = pool.submit(server.ctl, "wipe", device.id, "--reason", "x", "--wait", "60")
        parked(server, token, 1)
        receipt = device.receipt(order["id"])
        assert device.deliver(receipt)[2] == {"acknowledged": json.loads(_payload(receipt))["id"]}
        assert wait.result(timeout=30)["state"] == "done"
    shown = server.ctl("order", "show", order["id"])
    assert shown["state"] == "done" and shown["receipt"]["removed"]["files"] == 3 and shown["finished_at"]
    assert shown["receipt_jws"] == receipt
    assert server.ctl("device", "show", device.id)["state"] == "wiped"
    # repeated delivery is acknowledged again; nothing else is possible any more
    assert device.deliver(receipt)[0] == 200
    assert device.state()[2]["device"]["state"] == "wiped" and device.state()[2]["orders"] == []
    assert device.report()[0] == 403
    assert device.call("POST", "/v1/device/certificate", {"csr": device.csr()})[0] == 403
    refused = server.ctl_raw("wipe", device.id, "--reason", "again")
    assert refused.returncode == 4 and "wiped" in refused.stderr


def _payload(jws):
    import base64
    return base64.urlsafe_b64decode(jws["payload"] + "==")


def test_done_needs_a_receipt_that_holds(server, device):
    order = server.ctl("wipe", device.id, "--reason", "lost")["id"]
    other = Device(server)
    other.enroll(server.enroll_code("anna"))
    stranger = Device(server)
    tampered = device.receipt(order)
    tampered["payload"] = tampered["payload"][:-6] + "AAAAAA"
    bad = {
        "another key": device.receipt(order, key=stranger.key),
        "another device's key": device.receipt(order, key=other.key),
        "tampered": tampered,
        "another kind": sign(json.loads(_payload(device.receipt(order))), "satchel-order", device.key),
        "no signature": {**device.receipt(order), "signatures": []},
        "another device": device.receipt(order, device=other.id),
        "an order that is not there": device.receipt("nothing"),
        "done with a failed step": device.receipt(order, steps=[{"name": "key", "outcome": "failed"}]),
        "done with a finding": device.receipt(order, checked=[{"what": "files", "found": 2}]),
        "done without looking": device.receipt(order, checked=[]),
        "wrong cause": device.receipt(order, cause="leave"),
        "no object": [], "empty": {},
    }
    for name, receipt in bad.items():
        status, _, body = device.deliver(receipt)
        assert 400 <= status < 500, (name, status, body)
        assert server.ctl("order", "show", order)["state"] == "pending", name
    # another device cannot report or finish it either
    assert other.report(orders=[{"id": order, "state": "refused", "text": "no"}])[0] == 204
    assert other.deliver(other.receipt(order))[0] == 404
    assert server.ctl("order", "show", order)["state"] == "pending"
    # nor does saying so in a report make it done
    assert device.report(orders=[{"id": order, "state": "done"}])[0] == 400
    assert device.deliver(device.receipt(order))[0] == 200
    assert server.ctl("order", "show", order)["state"] == "done"


def test_refused_and_failed_are_shown_as_such(server, device):
    order = server.ctl("wipe", device.id, "--reason", "lost")["id"]
    assert device.report(orders=[{"id": order, "state": "refused", "text": "the signature does not verify"}])[0] == 204
    shown = server.ctl("order", "show", order)
    assert shown["state"] == "refused" and "signature" in shown["text"] and shown["receipt"] is None
    assert device.deliver(device.receipt(order))[0] == 200  # kept, but what is terminal stays
    assert server.ctl("order", "show", order)["state"] == "refused"
    assert server.ctl("device", "show", device.id)["state"] == "wiping"
    second = server.ctl("wipe", device.id, "--reason", "again")["id"]
    assert second != order
    assert device.deliver(device.receipt(second, result="failed", reason="disk"))[0] == 200
    assert server.ctl("order", "show", second)["state"] == "failed"
    done = server.ctl_raw("--json", "order", "show", second)
    assert json.loads(done.stdout)["text"] == "disk"
    assert device.deliver(device.receipt(second, result="refused"))[0] == 200
    assert server.ctl("order", "show", second)["state"] == "failed"
    assert device.deliver(device.receipt(second))[0] == 200  # it went on and made it
    assert server.ctl("order", "show", second)["state"] == "done"
    assert server.ctl("device", "show", device.id)["state"] == "wiped"


def test_the_employee_leaves(server, device):
    receipt = device.receipt(None)
    assert device.deliver(receipt)[0] == 200 and device.deliver(receipt)[0] == 200
    assert server.ctl("device", "show", device.id)["state"] == "left"
    assert device.report()[0] == 403
    assert "device.left" in [e["action"] for e in server.ctl("audit", "list")["entries"]]
    new = Device(server)
    new.enroll(server.enroll_code("anna"))  # a new identity, of which nothing old is true
    assert new.id != device.id and new.state()[2]["device"]["state"] == "enrolled"


def test_receipts_do_not_grow_without_bound(server, device):
    order = server.ctl("wipe", device.id, "--reason", "lost")["id"]
    statuses = [device.deliver(device.receipt(order, result="failed"))[0] for _ in range(66)]
    assert statuses == [200] * 64 + [413] * 2


def test_a_receipt_by_the_key_before_the_renewal(server, device):
    order = None
    new = Device(server)
    new.cert.write_text(device.call("POST", "/v1/device/certificate", {"csr": new.csr()})[2]["certificate"])
    new.id = device.id
    assert new.state()[0] == 200
    order = server.ctl("wipe", device.id, "--reason", "lost")["id"]
    assert new.deliver(device.receipt(order))[0] == 200
    assert server.ctl("order", "show", order)["state"] == "done"


def test_report(server, device):
    assert device.report(profile={"id": "acme-mail", "version": 3}, account={"imap": "ok", "text": "", "secret": "x"},
                         vault={"driver": "gocryptfs", "open": True}, keyring={"available": True, "locked": False},
                         unknown={"a": [1]}, profile_problem=None)[0] == 204
    report = server.ctl("device", "show", device.id)["report"]
    assert report["profile"] == {"id": "acme-mail", "version": 3} and report["vault"]["open"] is True
    assert "unknown" not in report and "secret" not in report["account"]
    for bad in ({"os": 7}, {"os": "a\nb"}, {"profile": 7}, {"vault": {"open": "yes"}}, {"orders": {}},
                {"orders": [{}]}, {"orders": [{"id": "x" * 200, "state": "delivered"}]}, {"account": {"imap": "x" * 600}},
                {"orders": [{"id": "x", "state": "delivered"}] * 65}, {"profile": {"version": 1e300}},
                {"profile": {"version": "1"}}, {"orders": [7]}):
        status, _, body = device.report(**bad)
        assert status == 400, (bad, status, body)
    assert device.report(orders=[{"id": "nothing", "state": "delivered"}])[0] == 204  # no order blocks a report


# -- what survives ------------------------------------------------------------------------------------------------

def test_kill_after_an_answer_loses_nothing(server, device):
    server.publish(server.profile(version=4))
    order = server.ctl("wipe", device.id, "--reason", "lost")
    server.terminate(signal.SIGKILL)
    server.start()
    assert server.ctl("order", "show", order["id"]) == order
    assert [p["version"] for p in server.ctl("profile", "list")["profiles"]] == [4]
    receipt = device.receipt(order["id"])
    assert device.deliver(receipt)[0] == 200
    server.terminate(signal.SIGKILL)
    server.start()
    assert server.ctl("order", "show", order["id"])["state"] == "done"
    assert server.ctl("audit", "verify")["ok"] is True


def test_kill_in_the_middle_of_many_writes(server):
    """Whatever was acknowledged before the kill is there after it, and the audit chain holds."""
    token, acknowledged, stop = server.admin_token(), [], threading.Event()

    def add(worker):
        for i in range(10000):
            login = f"u{worker}-{i}"
            try:
                status = server.admin("POST", "/v1/admin/users", {"login": login, "address": f"{login}@a.example",
                                                                  "name": "U"}, token=token)[0]
            except OSError:
                return
            if stop.is_set() and status != 201:
                return
            assert status == 201
            acknowledged.append(login)
            if len(acknowledged) >= 60:
                stop.set()

    threads = [threading.Thread(target=add, args=(w,)) for w in range(6)]
    for t in threads:
        t.start()
    assert stop.wait(60)
    server.terminate(signal.SIGKILL)
    for t in threads:
        t.join()
    server.start()
    there = {u["login"] for u in server.ctl("user", "list")["users"]}
    assert set(acknowledged) <= there
    assert server.ctl("audit", "verify")["ok"] is True


def test_graceful_stop_with_parked_polls(server, device):
    token = server.admin_token()
    tag = device.state()[2]["tag"]
    polls = [Poll(device, tag, 300) for _ in range(20)]
    parked(server, token, 20)
    began = time.monotonic()
    assert server.terminate() == 0
    assert time.monotonic() - began < 9
    for poll in polls:
        poll.join(10)
        status, headers, body = poll.answer
        assert status == 503 and body["type"].endswith(":going-away") and headers["Connection"].lower() == "close"
    assert len({poll.answer[1]["Retry-After"] for poll in polls}) > 3  # not all at once
    assert all(1 <= int(poll.answer[1]["Retry-After"]) <= 60 for poll in polls)
    assert "cut off" not in server.log()
    server.start()
    assert device.state(tag, 0)[0] == 304


def test_second_server_on_the_directory_refuses(server):
    import subprocess
    second = subprocess.run([server.binary("satchel-server"), "serve", server.dir], capture_output=True, text=True,
                            timeout=30)
    assert second.returncode == 1 and "another satchel-server" in second.stderr


def test_notify(server, tmp_path):
    import os
    server.terminate()
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(str(path))
        s.settimeout(30)
        server.start(env={**os.environ, "NOTIFY_SOCKET": str(path)})
        assert s.recv(100) == b"READY=1"
        server.terminate()
        assert s.recv(100) == b"STOPPING=1"


def test_tls_certificate_is_renewed_when_it_nears_its_end(server):
    from server import openssl
    server.terminate()
    key, chain = server.dir / "keys/tls.pem", server.dir / "tls.pem"
    before = chain.read_text()
    csr = server.home / "csr.pem"
    openssl("req", "-new", "-key", key, "-subj", "/CN=old", "-out", csr)
    openssl("x509", "-req", "-in", csr, "-CA", server.ca, "-CAkey", server.dir / "keys/root.pem", "-days", "30", "-out",
            chain, "-set_serial", "5")
    server.start()
    after = chain.read_text()
    assert after != before and after.count("BEGIN CERTIFICATE") == 2
    assert server.ctl("user", "list")["users"]


# -- the server's time -------------------------------------------------------------------------------------------

def stamped(server, headers):
    """The time of the answer, in milliseconds, whose signature must hold."""
    protected, payload, signature = headers["Satchel-Time"].split(".")
    general = {"payload": payload, "signatures": [{"protected": protected, "signature": signature}]}
    key = server.home / "signing.crt"
    if not key.exists():
        openssl("req", "-x509", "-new", "-key", server.dir / "keys/signing.pem", "-subj", "/CN=x", "-out", key)
    assert jws.verifies(general, key.read_text())
    assert json.loads(jws.unb64(protected))["typ"] == "satchel-time"
    content = jws.payload(general)
    assert content["type"] == "time"
    return datetime.datetime.fromisoformat(content["time"].replace("Z", "+00:00")).timestamp()


def test_every_answer_says_when_it_was(server, device):
    """200 and 304, at once and after a wait; also for a device that is being wiped. At most a second old."""
    status, headers, body = device.state()
    assert status == 200 and abs(stamped(server, headers) - time.time()) < 5
    status, headers, _ = device.state(body["tag"], 0)
    assert status == 304
    first = stamped(server, headers)
    status, headers, _ = device.state(body["tag"], 2)
    assert status == 304 and 1 <= stamped(server, headers) - first < 10
    server.ctl("wipe", device.id, "--reason", "lost")
    status, headers, body = device.state()
    assert status == 200 and stamped(server, headers)
    trust = jws.payload(body["trust"])
    assert trust["thresholds"]["time"] == 1 and "time" in trust["keys"][0]["uses"]
    assert "Satchel-Time" not in device.call("GET", "/healthz")[1]
