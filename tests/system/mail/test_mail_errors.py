"""What bad servers, bad credentials and a closed vault get."""

import contextlib
import os
import signal
import socket
import ssl
import threading
import time

import pytest

from compare import assert_equal
from dovecot import FOLDERS, Authority, free_port
from mailchild import files, until


class Fake:
    """A scripted server: TLS, then `script(connection, reader)` in a thread for each connection."""

    def __init__(self, pair, script, tls=True):
        self.script, self.connections = script, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if tls else None
        if tls:
            self.context.load_cert_chain(*pair)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                raw, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serve, args=(raw,), daemon=True).start()

    def serve(self, raw):
        with contextlib.suppress(OSError, ValueError), raw:
            raw.settimeout(20)
            connection = self.context.wrap_socket(raw, server_side=True) if self.context else raw
            with connection:
                self.script(connection, connection.makefile("rb"))

    def close(self):
        self.listener.close()


def logged_in(*answers):
    """A server that lets anybody in, and answers LIST, STATUS, SELECT, FETCH, ... by the first matching prefix in
    `answers` ((prefix, untagged bytes)); its tagged OK follows, unless the bytes are None: then it hangs up."""

    def script(connection, reader):
        connection.sendall(b"* OK ready\r\n")
        while True:
            line = reader.readline()
            if not line:
                return
            tag, _, command = line.strip().partition(b" ")
            verb = command.upper()
            if verb.startswith(b"AUTHENTICATE PLAIN") and len(verb.split()) < 3:
                connection.sendall(b"+ \r\n")
                reader.readline()
            if verb.startswith(b"LOGOUT"):
                connection.sendall(b"* BYE\r\n" + tag + b" OK\r\n")
                return
            data = next((d for p, d in answers if verb.startswith(p)), b"")
            if verb.startswith(b"CAPABILITY"):
                data = b"* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR UIDPLUS\r\n"
            if data is None:
                return
            connection.sendall(data if callable(data) is False else data(connection))
            connection.sendall(tag + b" OK done\r\n")

    return script


LIST = (b"LIST", b'* LIST () "/" INBOX\r\n')
STATUS = (b"STATUS", b"* STATUS INBOX (MESSAGES 1 UIDNEXT 2 UIDVALIDITY 5)\r\n")
SELECT = (b"SELECT", b"* 1 EXISTS\r\n* OK [UIDVALIDITY 5] x\r\n* OK [UIDNEXT 2] x\r\n")


@pytest.fixture
def fake(pair):
    made = []

    def make(script, tls=True):
        made.append(Fake(pair, script, tls))
        return made[-1]

    yield make
    for server in made:
        server.close()


# -- credentials and connections ----------------------------------------------------------------------------


def test_try(server, account, start, tmp_path):
    server.start()
    child = start(server, configure=False)
    good = account(server)
    assert child.attempt(good) == {"event": "tried", "imap": "ok", "text": ""}
    assert child.attempt(account(server, password="wrong"))["imap"] == "auth-failed"
    assert child.attempt(account(server, port=free_port()))["imap"] == "unreachable"
    assert child.attempt(account(server, host="no-such-host.invalid"))["imap"] == "unreachable"
    assert child.attempt(account(server, ca=Authority(tmp_path / "other").ca_pem))["imap"] == "tls-failed"
    assert child.attempt(account(server, ca="no certificate"))["imap"] == "tls-failed"
    assert child.attempt(account(server, port=server.starttls_port))["imap"] == "tls-failed"  # no TLS at once there
    assert child.attempt(account(server, security="starttls", port=server.starttls_port))["imap"] == "ok"
    assert child.attempt(dict(good, security="none"))["text"]
    assert not any(child.vault.iterdir())
    assert child.stop() == 0


def test_wrong_password_does_not_hammer(server, vault, start, account):
    server.generate("anna", 10)
    server.start()
    child = start(server, password="wrong")
    status = child.status(lambda e: e["imap"] == "auth-failed")
    assert status["retry_ms"] == 300000 and status["text"]
    assert "wrong" not in status["text"]
    assert not child.sync()["ok"]
    until(lambda: server.log_text().count("auth failed") >= 2)  # the start, and the order; Dovecot logs after it answers
    child.configure(account=account(server))
    child.status(lambda e: e["imap"] == "ok" and e["messages"] == 10)
    assert server.log_text().count("auth failed") == 2


def test_unreachable_then_back(server, vault, start):
    server.generate("anna", 10)
    child = start(server)
    status = child.status(lambda e: e["imap"] == "unreachable" and e["text"])
    assert 500 <= status["retry_ms"] <= 1000
    assert not child.sync()["ok"]
    server.start()
    child.status(lambda e: e["imap"] == "ok" and e["messages"] == 10)
    server.stop()
    child.status(lambda e: e["imap"] == "unreachable")
    # what readers do meanwhile is counted, and goes up later
    path = files(vault / "Mail" / "INBOX")[2]
    path.rename(path.parent / (path.name.split(":2,")[0] + ":2,F"))
    child.status(lambda e: e["pending"] == 1, 5)
    server.start()
    child.status(lambda e: e["imap"] == "ok" and e["pending"] == 0 and e["last_sync"])
    assert child.sync()["ok"]
    assert_equal(server, vault, FOLDERS)


def test_wrong_authority(server, start, tmp_path):
    server.start()
    child = start(server, ca=Authority(tmp_path / "other").ca_pem)
    assert child.status(lambda e: e["imap"] == "tls-failed")["text"]
    assert "Login:" not in server.log_text()


def test_certificate_of_another_host(authority, make_server, start):
    server = make_server()
    server.cert, server.key = authority.issue("elsewhere", "DNS:mail.acme.example")
    server.start()
    child = start(server)
    assert child.status(lambda e: e["text"])["imap"] == "tls-failed"
    assert "Login:" not in server.log_text()


# -- rubbish ------------------------------------------------------------------------------------------------


def flood(piece):
    def script(connection, reader):
        while True:
            connection.sendall(piece * 1000)

    return script


RUBBISH = {
    "garbage greeting": lambda c, r: c.sendall(os.urandom(2000) + b"\r\n" * 10),
    "http": lambda c, r: c.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "bye at once": lambda c, r: c.sendall(b"* BYE go away\r\n"),
    "hangs up": lambda c, r: None,
    "garbage after login": logged_in((b"LIST", b"\x00\xff\xfe not imap (((\r\n")),
    "endless line": logged_in((b"LIST", lambda c: b"* LIST () / " + b"x" * (100 << 16))),
    "giant literal": logged_in((b"LIST", b'* LIST () "/" {999999999999}\r\n' + b"x" * 100000)),
    "huge number": logged_in((b"LIST", b'* LIST () "/" {99999999999999999999999999}\r\n')),
    "deep list": logged_in((b"LIST", b"* LIST " + b"(" * 5000 + b"\r\n")),
    "unclosed list": logged_in((b"LIST", b"* LIST (\\Marked\r\n")),
    "no inbox": logged_in((b"LIST", b'* LIST () "/" Sent\r\n')),
    "bye in the middle": logged_in(LIST, (b"STATUS", b"* BYE shutting down\r\n")),
    "hangs up in the middle": logged_in(LIST, STATUS, (b"SELECT", None)),
    "literal for flags": logged_in(LIST, STATUS, SELECT, (b"UID FETCH 1:*", b"* 1 FETCH (FLAGS {4294967296}\r\n")),
    "endless answers": logged_in((b"LIST", lambda c: [c.sendall(b"* OK still here\r\n" * 5000) for _ in range(100)])),
}


@pytest.mark.parametrize("name", RUBBISH)
def test_rubbish(fake, start, vault, name):
    server = fake(RUBBISH[name])
    child = start(server)
    first = child.status(lambda e: e["text"] and e["retry_ms"], 15)
    assert first["imap"] in ("protocol-error", "unreachable")
    if name not in ("bye at once", "hangs up", "bye in the middle", "hangs up in the middle"):
        assert first["imap"] == "protocol-error", first
    assert not child.sync(15)["ok"]
    # each order tries once; where the session had begun well, the first failure was tried again at once
    assert child.process.poll() is None and server.connections in (2, 3)
    assert child.stop() == 0


def test_plain_text_where_tls_is_expected(fake, start):
    child = start(fake(lambda c, r: c.sendall(b"* OK hello\r\n" * 10), tls=False))
    assert child.status(lambda e: e["text"])["imap"] == "tls-failed"


def fetching(*bodies):
    return logged_in(LIST, STATUS, SELECT, (b"UID FETCH 1:*", b"* 1 FETCH (UID 1 FLAGS (\\Seen))\r\n"),
                     (b"UID FETCH 1 (UID RFC822.SIZE)", b"* 1 FETCH (UID 1 RFC822.SIZE 3)\r\n"), (b"UID FETCH 1 ", b"".join(bodies)))


@pytest.mark.parametrize("answer,content", [
    (b'* 1 FETCH (UID 1 FLAGS (\\Seen) INTERNALDATE "17-Jul-2024 02:44:25 -0700" BODY[] "quoted \\"body\\"")\r\n', b'quoted "body"'),
    (b"* 1 FETCH (BODY[] {5}\r\nhello FLAGS (\\Seen) UID 1)\r\n", b"hello"),
    (b"* 1 FETCH (BODY[] {100000}\r\n" + b"y" * 100000 + b" UID 1 FLAGS (\\Seen))\r\n", b"y" * 100000),
    (b"* 1 FETCH (FLAGS ())\r\n* 2 EXPUNGE\r\n* 9 FETCH (UID 1 BODY[] {3}\r\nabc)\r\n* 9 FETCH (UID 1 BODY[] {3}\r\nxyz)\r\n", b"abc"),
], ids=["quoted", "uid last", "long, uid last", "noise and twice"])
def test_bodies_in_any_legal_form(fake, start, vault, answer, content):
    child = start(fake(fetching(answer)))
    child.sync()
    (path,) = files(vault / "Mail" / "INBOX").values()
    assert path.read_bytes() == content


@pytest.mark.parametrize("answer", [b"", b"* 1 FETCH (UID 1 BODY[] NIL)\r\n", b"* 1 FETCH (UID 77 BODY[] {3}\r\nabc)\r\n",
                                    b"* 1 FETCH (UID 1 BODY[] (a b))\r\n"], ids=["nothing", "nil", "another", "list"])
def test_no_body_is_no_message_and_no_removal(fake, start, vault, answer):
    child = start(fake(fetching(answer)))
    assert not child.sync()["ok"]
    assert files(vault / "Mail" / "INBOX") == {}
    assert child.events[-2]["imap"] == "ok" and child.events[-2]["text"]


NAMES = [b'"../../escape"', b'".."', b'"a//b"', b'""', b'"/abs"', b'"x/../../y"', b"{4}\r\na\r\nb", b'"&bad"', b'"cur"', b'"Archive/new"', b'".hidden"',
         b'"' + b"n" * 5000 + b'"', b'"' + b"d/" * 100 + b'x"', b"{3}\r\na\x00b", b'"&AAAALgAu-"', b'"caf\xc3\xa9"', b'"%41"', b'"a\\\\b"', b'"inbox"', b"INBOX"]


def test_hostile_mailbox_names(fake, start, vault, tmp_path):
    lines = b"".join(b'* LIST () "/" %s\r\n' % n for n in NAMES) + b"* LIST () NIL no/hierarchy\r\n"
    child = start(fake(logged_in((b"LIST", lines), (b"STATUS", b"* STATUS x (MESSAGES 0 UIDNEXT 1 UIDVALIDITY 5)\r\n"),
                                 (b"SELECT", b"* 0 EXISTS\r\n* OK [UIDVALIDITY 5] x\r\n"))))
    assert child.sync()["ok"]
    status = child.events[-2]
    assert status["imap"] == "ok" and "left out" in status["text"]
    found = {os.path.relpath(top, vault / "Mail") for top, dirs, _ in os.walk(vault / "Mail") if "cur" in dirs}
    assert found == {"INBOX", "%2E./%2E./escape", "%2E.", "x/%2E./%2E./y", "%63ur", "Archive/%6Eew", "%2Ehidden", "%2541", "a\\b",
                     "no%2Fhierarchy"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["child-stderr", "vault"]


# -- the vault ----------------------------------------------------------------------------------------------


def test_vault_that_is_not_mounted_touches_nothing(server, vault, start):
    server.generate("anna", 50)
    server.start()
    child = start(server, configure=False)
    child.configure(device=os.stat(vault).st_dev + 1)
    assert child.status(lambda e: e["imap"] == "vault-closed")["text"]
    assert not child.sync()["ok"]
    assert not any(vault.iterdir())
    child.configure()
    child.status(lambda e: e["imap"] == "ok" and e["messages"] == 50)


def test_vault_that_goes_away(server, vault, start):
    server.generate("anna", 50)
    server.start()
    child = start(server)
    assert child.sync()["ok"]
    vault.rename(vault.parent / "aside")
    vault.mkdir()
    assert not child.sync()["ok"]
    assert child.events[-2]["imap"] == "vault-closed"
    assert not any(vault.iterdir())
    with server.client("anna") as imap:
        assert imap.select("INBOX")[1] == [b"10"]


@pytest.mark.skipif(os.getuid() != 0, reason="needs a file system of its own")
def test_full_disk_is_said_and_survived(server, vault, start):
    server.generate("anna", 1000)
    server.start()
    assert os.system("mount -t tmpfs -o size=3m tmpfs %s" % vault) == 0
    try:
        child = start(server)
        assert "space" in child.status(lambda e: e["text"] and e["retry_ms"])["text"]
        assert child.process.poll() is None
        assert os.system("mount -o remount,size=100m %s" % vault) == 0
        assert child.sync()["ok"]
        assert_equal(server, vault, FOLDERS)
        assert child.stop() == 0
    finally:
        os.system("umount %s" % vault)


# -- the supervisor's side ----------------------------------------------------------------------------------


def test_ends_with_its_supervisor(server, start):
    server.generate("anna", 500)
    server.start()
    child = start(server)
    child.wait(lambda e: e["event"] == "progress")
    child.socket.close()
    assert child.process.wait(6) == 0


def test_bad_orders_do_no_harm(server, start):
    server.start()
    child = start(server, configure=False)
    for line in (b"rubbish\n", b"{}\n", b'{"op":"dance"}\n', b'{"op":"configure"}\n', b'{"op":"sync"}\n', b'[1,2]\n',
                 b'{"op":"configure","account":{"host":"a\\nb","port":1,"security":"tls","login":"x","password":"y"}}\n'):
        child.socket.sendall(line)
    child.send(op="try", account={"host": 5})
    assert child.wait(lambda e: e["event"] == "tried")["text"]
    assert not child.sync()["ok"]
    child.configure()
    assert child.sync()["ok"]
    assert child.stop() == 0


def test_the_password_is_nowhere(server, vault, start, tmp_path):
    server.add_user("anna", "correct-horse-battery")
    server.generate("anna", 20)
    server.start()
    child = start(server, password="correct-horse-battery")
    assert child.sync()["ok"]
    for name in ("cmdline", "environ"):
        with contextlib.suppress(PermissionError):  # the environment is closed even to the same user
            with open("/proc/%d/%s" % (child.process.pid, name), "rb") as f:
                assert b"correct-horse" not in f.read()
    assert child.stop() == 0
    for top, _, names in os.walk(tmp_path):
        for name in names:
            with open(os.path.join(top, name), "rb") as f:
                assert b"correct-horse" not in f.read()
