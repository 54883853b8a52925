"""A company for the tests: its management server, its mail server, and the profile that joins them."""

import contextlib
import itertools
import json
import sqlite3
import subprocess

import jws
import server as servers
from dovecot import Dovecot
from server import Server
from waiting import wait_for

PASSWORD = "hunter2-and-more"
CANARY = "Zitronenfalter"
_numbers = itertools.count(1)
FOLDERS = ("INBOX", "Archive/2025", "Entwürfe")


class Company:
    """The management server, the mail server, and the profile that joins them. `settings` replaces members of the management
    server's server.json."""

    def __init__(self, settings=None):
        self.server = Server(host="localhost", settings=settings)
        self.mail = Dovecot()
        self.version = 0
        self.publish()

    def stop(self):
        self.server.stop()
        self.mail.stop(remove=True)

    def profile(self, version, **incoming):
        profile = self.server.profile(version=version, host="localhost", port=self.mail.port)
        profile["account"]["incoming"].update({"ca": self.mail.ca_pem}, **incoming)
        return profile

    def publish(self, **incoming):
        self.version += 1
        self.server.publish(self.profile(self.version, **incoming))
        return self.version

    def employee(self, messages=30):
        """A new employee with some mail; each message has the canary in it."""
        login = "user%d" % next(_numbers)
        self.mail.add_user(login, PASSWORD)
        for n, folder in enumerate(FOLDERS):
            self.mail.store(login, folder, (message("%s %s %d" % (login, folder.split("/")[0], i))
                                            for i in range(n, messages, len(FOLDERS))))
        self.server.add_user(login)
        return login

    def link(self, login, expires="24h"):
        return self.server.enroll_code(login, expires)

    # -- orders -----------------------------------------------------------------------------------------------

    def order(self, kind, device, reason="lost", wait=60):
        """Gives an order and waits for its end (wait=None: does not)."""
        return self.server.ctl(kind, device, "--reason", reason, *([] if wait is None else ["--wait", str(wait)]))

    def ended(self, order, seconds=60):
        """The order once it is done or refused."""
        def over():
            o = self.server.ctl("order", "show", order)
            return o if o["state"] in ("done", "refused") else None
        return wait_for(over, seconds, "the end of the order")

    def verified(self, order, device):
        """The receipt, whose signature must verify against the device's certificate, which is by the organization's CA."""
        assert order["state"] == "done", order
        certificate = self.server.ctl("device", "show", device)["certificate"]
        assert jws.verifies(order["receipt_jws"], certificate)
        subprocess.run(["openssl", "verify", "-no_check_time", "-CAfile", self.server.ca], input=certificate.encode(), check=True,
                       capture_output=True)
        receipt = jws.payload(order["receipt_jws"])
        assert receipt["order"] == order["id"] and receipt["device"] == device and receipt["result"] == "done"
        assert receipt["kind"] == order["kind"]
        evidence = json.dumps(self.server.ctl("receipt", "show", order["id"]))
        offline = self.server.ctl_raw("receipt", "verify", "-", stdin=evidence, where=["--ca", str(self.server.ca)])
        assert offline.returncode == 0, offline.stderr
        assert all(step["outcome"] != "failed" for step in receipt["steps"])
        assert receipt["checked"] and all(look["found"] == 0 for look in receipt["checked"])
        return receipt

    def sql(self, *statements):
        """Changes the server's database behind its back: it is stopped meanwhile."""
        self.server.terminate()
        with contextlib.closing(sqlite3.connect(self.server.dir / "satchel.db")) as db, db:
            for statement, *values in statements:
                db.execute(statement, values)
        self.server.start()

    def put_order(self, device, payload, key="signing.pem", kind="satchel-order"):
        """An order in the database that the server never gave."""
        signed = servers.sign(payload, kind, self.server.dir / "keys" / key)
        self.sql(("INSERT INTO orders (id, device, sequence, kind, reason, state, ordered_by, ordered_at, jws) "
                  "VALUES (?, ?, ?, ?, 'x', 'pending', 'x', 1, ?)", payload["id"], device, payload["sequence"] + 1000,
                  payload["kind"] if payload["kind"] in ("wipe", "lock", "unlock") else "wipe", json.dumps(signed)))


def message(subject):
    return ("From: Boss <boss@acme.example>\r\nTo: you@acme.example\r\nSubject: %s\r\nMessage-ID: <%s@acme.example>\r\n"
            "Content-Type: text/plain; charset=utf-8\r\n\r\nThe %s is a butterfly.\r\n"
            % (subject.encode("ascii", "replace").decode(), subject.encode().hex(), CANARY)).encode()
