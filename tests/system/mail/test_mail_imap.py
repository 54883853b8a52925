"""The IMAP session layer on its own: against Dovecot with more and with less of what it can do, and against a scripted
server for what no real one says."""

import contextlib
import ctypes
import os
import queue
import re
import select
import socket
import zlib

import pytest

from dovecot import message
from imapprobe import (AUTH, BAD, BUSY, COMPRESS, CONDSTORE, ENABLE, ID, IDLE, LITERAL_MINUS, LITERAL_PLUS, MOVE, NO, NONE, NOTIFY, OK,
                       OVERQUOTA, PROTOCOL, QRESYNC, TIMEOUT, TOOBIG, TRYCREATE, UIDPLUS, UNREACHABLE, UNSELECT, UTF8, Probe)
from test_mail_errors import Fake

ZLIB = "mail_plugins = zlib\nprotocol imap {\n  mail_plugins = zlib imap_zlib\n}\n"
QUOTA = ("mail_plugins = quota\nprotocol imap {\n  mail_plugins = quota imap_quota\n}\n"
         "plugin {\n  quota = maildir:User quota\n  quota_rule = *:storage=1M\n}\n")
MIB = 1 << 20


@pytest.fixture
def probe(tmp_path, account):
    """Makes a probe, connected unless `connect` is false."""
    probes = []

    def make(server, connect=True, **options):
        p = Probe(tmp_path)
        probes.append(p)
        options = dict(account(server), **options)
        if connect:
            assert p.do("open", **options) == OK, p.last
        else:
            p.do("open", **options)
        return p

    yield make
    for p in probes:
        p.close()


# -- Dovecot --------------------------------------------------------------------------------------------------


def test_opens_and_enables(server, probe):
    server.start()
    p = probe(server)
    for bit in (IDLE, UIDPLUS, CONDSTORE, QRESYNC, ENABLE, MOVE, LITERAL_PLUS, NOTIFY, ID, UNSELECT):
        assert p.capabilities & bit, bit
    assert not p.capabilities & (COMPRESS | UTF8 | LITERAL_MINUS)
    assert p.enabled == QRESYNC | CONDSTORE
    assert p.open == 0


@pytest.mark.parametrize("capability,enabled", [
    ("IMAP4rev1 IDLE UIDPLUS", 0),
    ("IMAP4rev1 ENABLE CONDSTORE", CONDSTORE),
    ("IMAP4rev1 CONDSTORE", CONDSTORE),
    ("IMAP4rev1 ENABLE", 0),
    ("IMAP4rev1 QRESYNC", CONDSTORE),
    ("IMAP4rev1 ENABLE COMPRESS=DEFLATE", 0),  # it says so, and cannot
])
def test_uses_what_is_offered(make_server, probe, capability, enabled):
    server = make_server(capability=capability)
    server.generate("anna", 4)
    server.start()
    p = probe(server, compress="always")
    assert p.enabled == enabled
    assert p.do("select", mailbox="INBOX") == OK
    assert p.exists == 1
    assert p.command("UID FETCH 1:* (UID FLAGS)") == OK
    assert len(p.responses) == 1


def test_select_tells_the_mailbox(server, probe):
    server.store("anna", "INBOX", [message(n) for n in range(3)])
    server.start()
    p = probe(server)
    with server.client("anna") as imap:
        imap.select("INBOX")
        imap.store("1", "+FLAGS", "($Forwarded NonJunk)")
    assert p.do("select", mailbox="INBOX") == OK
    assert (p.exists, p.uidnext, p.read_only, p.changed, p.no_modseq, p.permanent, p.permanent_any) == (3, 4, False, False, False, 31, True)
    assert p.uidvalidity > 0 and p.modseq > 0
    assert set(p.keywords) == {"$Forwarded", "NonJunk"}
    assert p.do("select", mailbox="nowhere") == NO
    assert p.exists == 0 and p.keywords == []


def test_qresync_tells_what_changed(server, probe):
    server.store("anna", "INBOX", [message(n) for n in range(10)])
    server.start()
    p = probe(server)
    p.do("select", mailbox="INBOX")
    validity, modseq = p.uidvalidity, p.modseq
    with server.client("anna") as imap:
        imap.select("INBOX")
        imap.store("2", "+FLAGS", "(\\Flagged)")
        imap.store("5:7", "+FLAGS", "(\\Deleted)")
        imap.expunge()
    assert p.do("select", mailbox="INBOX", uidvalidity=validity, modseq=modseq) == OK
    assert "VANISHED (EARLIER) 5:7" in p.responses
    assert [r for r in p.responses if "FETCH" in r] == ["2 FETCH (UID 2 FLAGS (\\Flagged) MODSEQ (%d))" % (modseq + 1)]
    assert p.exists == 7 and p.modseq > modseq and not p.changed
    assert p.do("select", mailbox="INBOX", uidvalidity=validity - 1, modseq=modseq) == OK
    assert not any("VANISHED" in r or "FETCH" in r for r in p.responses)
    assert p.do("select", mailbox="INBOX", uidvalidity=validity, modseq=p.modseq) == OK
    assert not any("VANISHED" in r or "FETCH" in r for r in p.responses)


@pytest.mark.parametrize("capability", [None, "IMAP4rev1 ENABLE QRESYNC CONDSTORE", "IMAP4rev1"])
def test_leaves_the_old_mailbox(make_server, probe, capability):
    server = make_server(capability=capability)
    server.generate("anna", 40)
    server.start()
    p = probe(server)
    p.do("select", mailbox="INBOX")
    for name in ("Sent", "INBOX", "Sent"):
        with server.client("anna") as imap:
            imap.select("INBOX")
            imap.store("1", "+FLAGS", "(\\Deleted)")
            imap.expunge()
        assert p.do("select", mailbox=name) == OK
        assert not any("EXPUNGE" in r or "VANISHED" in r for r in p.responses)
        assert p.open == 0 and not p.changed and p.done == p.sent
    assert p.exists == 8


def test_commands_ahead_of_the_answers(server, probe):
    server.store("anna", "INBOX", [message(n) for n in range(200)])
    server.start()
    p = probe(server)
    p.do("select", mailbox="INBOX")
    for n in range(64):
        assert p.do("send", line="UID FETCH %d (UID)" % (n + 1)) == OK
    assert p.open == 64
    assert p.do("send", line="NOOP") == -13  # ERR_WRONG_STATE
    assert p.do("read", left=60) == OK
    assert p.open == 60
    first = p.responses
    assert p.do("read") == OK and p.done == p.sent
    assert first + p.responses == ["%d FETCH (UID %d)" % (n, n) for n in range(1, 65)]


def fetch_texts(server, folder="INBOX"):
    with server.client("anna") as imap:
        imap.select('"%s"' % folder)
        parts = imap.uid("FETCH", "1:*", "(UID INTERNALDATE FLAGS BODY.PEEK[])")[1]
    return {int(re.search(rb"UID (\d+)", head).group(1)): (head, body) for head, body in (p for p in parts if isinstance(p, tuple))}


@pytest.mark.parametrize("capability", [None, "IMAP4rev1 UIDPLUS LITERAL-", "IMAP4rev1 UIDPLUS"])
def test_append(make_server, probe, capability):
    server = make_server(capability=capability)
    server.start()
    p = probe(server)
    ahead = capability is None
    uids = []
    p.do("select", mailbox="INBOX")
    validity = p.uidvalidity
    for n in range(20):
        assert p.do("append", mailbox="INBOX", flags="\\Seen $Forwarded" if n % 2 else "", seconds=1000000000 + n,
                    text="Subject: %d\r\n\r\nx\r\n" % n) == OK
        if not ahead:
            assert p.do("read") == OK
            uids.append(p.copied_uid)
    if ahead:
        assert p.open == 20
        for n in range(19, -1, -1):
            assert p.do("read", left=n) == OK and p.copied_uidvalidity == validity
            uids.append(p.copied_uid)
    assert uids == list(range(1, 21))
    for uid, (head, body) in fetch_texts(server).items():
        assert body == b"Subject: %d\r\n\r\nx\r\n" % (uid - 1)
        assert b'"09-Sep-2001 01:46:%02d +0000"' % (40 + uid - 1 - (20 if uid > 20 else 0)) in head or uid > 20
        assert (b"$Forwarded" in head) == (uid % 2 == 0)


@pytest.mark.parametrize("capability", [None, "IMAP4rev1 UIDPLUS LITERAL-"])
def test_append_of_a_large_message(make_server, probe, capability):
    server = make_server(capability=capability)
    server.start()
    p = probe(server)
    line = "y" * 98 + "\r\n"
    for times in (1, 40, 41, 50000):
        assert p.do("append", mailbox="INBOX", text=line, size=100 * times, seconds=1) == OK
        assert p.do("read") == OK and p.copied_uid > 0
    assert [len(body) for _, body in fetch_texts(server).values()] == [100, 4000, 4100, 5000000]


def test_append_that_is_refused(make_server, probe):
    server = make_server(extra=QUOTA)
    server.start()
    p = probe(server)
    assert p.do("append", mailbox="nowhere", text="A: b\r\n\r\n", seconds=1) == OK
    assert p.do("read") == NO and p.code == TRYCREATE and p.copied_uid == 0
    assert p.do("append", mailbox="INBOX", text="y" * 98 + "\r\n", size=2000000, seconds=1) == NO  # asked, before it is sent
    assert p.code == OVERQUOTA and p.open == 0
    assert p.do("append", mailbox="INBOX", text="A: b\r\n\r\n", seconds=1) == OK
    assert p.do("read") == OK and p.copied_uid == 1
    for n in range(2):  # sent along, and refused behind it
        assert p.do("append", mailbox="INBOX", text="y" * 98 + "\r\n", size=700000, seconds=1) == OK
    assert p.do("read") == NO and p.code == OVERQUOTA
    assert p.command("NOOP") == OK


def test_copy_and_move(server, probe):
    server.store("anna", "INBOX", [message(n) for n in range(9)])
    server.store("anna", "Sent", [message(n) for n in range(3)])
    server.start()
    p = probe(server)
    p.do("select", mailbox="Sent")
    validity = p.uidvalidity
    p.do("select", mailbox="INBOX")
    assert p.command("UID COPY 2,4:5,9 Sent") == OK
    assert (p.copied_uidvalidity, p.copied_from, p.copied_to) == (validity, [2, 4, 5, 9], [4, 5, 6, 7])
    assert p.command("UID MOVE 3 Sent") == OK
    assert (p.copied_from, p.copied_to, p.exists, p.changed) == ([3], [8], 8, False)
    assert p.command("UID MOVE 3 Sent") == OK  # nothing there: nothing copied
    assert (p.copied_uidvalidity, p.copied_from, p.copied_to) == (0, [], [])
    assert p.command("UID COPY 2 nowhere") == NO and p.code == TRYCREATE


@pytest.mark.parametrize("capability", [None, "IMAP4rev1 IDLE"])
def test_idle(make_server, probe, capability):
    server = make_server(capability=capability)
    server.generate("anna", 4)
    server.start()
    p = probe(server)
    p.do("select", mailbox="INBOX")
    p.start("idle", ms=60000)
    server.deliver("anna", "INBOX", message(1))
    assert p.answer() == OK and p.changed and p.exists == 2
    p.do("calm")
    p.start("idle", ms=60000)
    with server.client("anna") as imap:
        imap.select("INBOX")
        imap.store("1", "+FLAGS", "(\\Flagged)")
        assert p.answer() == OK and p.changed
        p.do("calm")
        p.start("idle", ms=60000)
        imap.store("1", "+FLAGS", "(\\Deleted)")
        imap.expunge()
    assert p.answer() == OK and p.changed
    p.do("calm")
    assert p.do("idle", ms=0) == OK and p.open == 0  # the deadline
    p.start("idle", ms=60000, watch=True)
    p.start("send", line="NOOP")  # what is watched
    assert p.answer() == OK
    assert p.answer() == OK and p.do("read") == OK
    assert p.exists == 1


def test_notify(server, probe):
    server.generate("anna", 20)
    server.start()
    p = probe(server)
    assert p.do("notify") == OK
    p.do("select", mailbox="INBOX")

    def told(act, text, op="idle"):
        p.start(op, ms=60000)
        act()
        while p.answer() == OK and not any(text in m for m in p.mailboxes):
            assert p.mailboxes and not p.changed, p.last
            p.start(op, ms=60000)

    def changed(act):
        p.do("calm")
        p.start("idle", ms=60000)
        act()
        while p.answer() == OK and not p.changed:  # a STATUS may still follow
            assert p.mailboxes, p.last
            p.start("idle", ms=60000)

    for op in ("idle", "wait"):
        told(lambda: server.deliver("anna", "Sent", message(1)), "STATUS Sent (MESSAGES %d" % (5 if op == "idle" else 6), op)
    with server.client("anna") as imap:
        told(lambda: imap.create("Neu"), "LIST () / Neu")
        told(lambda: imap.delete("Neu"), "LIST (\\NonExistent) / Neu")
        imap.select("Sent")
        told(lambda: imap.store("1", "+FLAGS", "(\\Flagged)"), "HIGHESTMODSEQ")
        imap.select("INBOX")
        changed(lambda: imap.append("INBOX", None, None, message(2)))
        assert p.exists == 5
        changed(lambda: imap.store("1", "+FLAGS", "(\\Deleted)"))
        changed(imap.expunge)
        assert p.exists == 4
    for op in ("idle", "wait"):
        p.do("calm")
        p.start(op, ms=60000, watch=True)
        p.start("calm")
        assert p.answer() == OK and p.answer() == OK
        assert p.do(op, ms=0) == OK and p.open == 0


def test_compressed(make_server, probe):
    server = make_server(extra=ZLIB)
    server.store("anna", "INBOX", [message(n) for n in range(2000)] + [b"Subject: long\n\n" + b"%d\n" % 7 * MIB])
    server.start()
    p = probe(server, compress="always")
    assert p.enabled & COMPRESS
    assert p.do("select", mailbox="INBOX") == OK and p.exists == 2001
    for n in range(8):
        p.do("send", line="UID FETCH 1:* (UID BODY.PEEK[])" if n == 5 else "UID FETCH %d (UID)" % (n + 1))
    assert p.do("read") == OK
    assert p.streamed == 3 * MIB + len("Subject: long\r\n\r\n")
    assert p.do("append", mailbox="INBOX", text="z" * 98 + "\r\n", size=3000000, seconds=1) == OK
    assert p.do("read") == OK and p.copied_uid == 2002
    assert p.do("append", mailbox="INBOX", text="A: b\r\n\r\n" + os.urandom(30000).hex(), seconds=1) == OK
    assert p.do("read") == OK and p.copied_uid == 2003
    p.do("calm")
    p.start("idle", ms=60000)
    server.deliver("anna", "INBOX", message(1))
    assert p.answer() == OK and p.exists == 2004
    assert probe(server).enabled & COMPRESS == 0  # only where it is wanted


def test_a_dead_line_shows(server, probe):
    """The options of the socket, read through a copy of its descriptor."""
    server.start()
    p = probe(server)
    pidfd = os.pidfd_open(p.process.pid)
    for fd in os.listdir("/proc/%d/fd" % p.process.pid):
        if not os.readlink("/proc/%d/fd/%s" % (p.process.pid, fd)).startswith("socket:"):
            continue
        copy = ctypes.CDLL(None, use_errno=True).syscall(438, pidfd, int(fd), 0)  # pidfd_getfd
        assert copy >= 0, os.strerror(ctypes.get_errno())
        with socket.socket(fileno=copy) as s:
            if s.family != socket.AF_INET:
                continue
            options = [s.getsockopt(socket.IPPROTO_TCP, o) for o in
                       (socket.TCP_USER_TIMEOUT, socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)]
            assert options == [30000, 60, 15, 4] and s.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            break
    else:
        pytest.fail("no connection")
    os.close(pidfd)


# -- a scripted server ----------------------------------------------------------------------------------------

CAPABILITY = "IMAP4rev1 IDLE UIDPLUS ENABLE QRESYNC CONDSTORE MOVE LITERAL+ NOTIFY COMPRESS=DEFLATE ID UNSELECT"


class Scripted:
    """Lets anybody in. `answers` maps the beginning of a command to what is sent: bytes with the untagged responses,
    before the tagged OK; bytes that hold "TAG ", instead of it; or a function of (self, tag, command) that gives such bytes or
    sends for itself. None: hangs up."""

    def __init__(self, pair, answers=None, capability=CAPABILITY):
        self.answers, self.capability, self.lines = answers or {}, capability, []
        self.fake = Fake(pair, self.script)
        self.port, self.close = self.fake.port, self.fake.close

    def script(self, connection, reader):
        self.connection, self.reader = connection, reader
        with reader:  # which holds the connection open
            self.converse()

    def converse(self):
        self.send(b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] ready\r\n")
        for line in self.reader:
            tag, _, command = line.rstrip().partition(b" ")
            self.lines.append(command)
            if command.startswith(b"AUTHENTICATE") and "AUTHENTICATE" not in self.answers:
                self.send(tag + b" OK\r\n")
                continue
            data = next((d for p, d in self.answers.items() if command.startswith(p.encode())), b"")
            data = data(self, tag, command) if callable(data) else data
            if data is None:
                return
            if command == b"CAPABILITY" and not data:
                data = b"* CAPABILITY AUTH=PLAIN SASL-IR " + self.capability.encode() + b"\r\n"
            if b"TAG " in data:
                self.send(data.replace(b"TAG ", tag + b" "))
            else:
                self.send(data + tag + b" OK done\r\n")

    def send(self, data):
        self.connection.sendall(data)

    def sent(self, beginning):
        return [line for line in self.lines if line.startswith(beginning)]


@pytest.fixture
def scripted(pair):
    made = []

    def make(answers=None, capability=CAPABILITY):
        made.append(Scripted(pair, answers, capability))
        return made[-1]

    yield make
    for server in made:
        server.close()


SELECTED = b"* 3 EXISTS\r\n* OK [UIDVALIDITY 5] x\r\n* OK [UIDNEXT 9] x\r\n* OK [HIGHESTMODSEQ 70] x\r\n"
ENABLED = b"* ENABLED QRESYNC\r\n"


def test_says_who_it_is_and_no_more(scripted, probe):
    server = scripted({"ENABLE": ENABLED})
    probe(server)
    assert [re.sub(rb"[\d.]+", b"N", line) for line in server.sent(b"ID")] == [b'ID ("name" "Satchel" "version" "N")']
    assert server.sent(b"ENABLE") == [b"ENABLE QRESYNC"]
    assert not server.sent(b"COMPRESS")


@pytest.mark.parametrize("enabled,bits", [(b"", 0), (b"* ENABLED\r\n", 0), (b"* ENABLED CONDSTORE\r\n", CONDSTORE),
                                          (b"TAG BAD no\r\n", 0), (ENABLED, CONDSTORE | QRESYNC)])
def test_only_what_the_server_says_is_enabled(scripted, probe, enabled, bits):
    server = scripted({"CAPABILITY": b"* CAPABILITY AUTH=PLAIN SASL-IR " + CAPABILITY.encode() + b"\r\n" + ENABLED,  # unasked
                       "ENABLE": enabled, "SELECT": SELECTED})
    p = probe(server)
    assert p.enabled == bits
    p.do("select", mailbox="INBOX", uidvalidity=5, modseq=60)
    assert server.sent(b"SELECT") == [b'SELECT "INBOX"' + (b" (QRESYNC (5 60))" if bits & QRESYNC else b"")]


def test_utf8_names(scripted, probe):
    server = scripted({"ENABLE": b"* ENABLED UTF8=ACCEPT\r\n"}, capability="IMAP4rev1 ENABLE UTF8=ACCEPT")
    p = probe(server)
    assert p.enabled == UTF8
    p.do("select", mailbox="Entw&APw-rfe")
    assert server.sent(b"SELECT") == ['SELECT "Entwürfe"'.encode()]


def test_late_news_of_the_old_mailbox(scripted, probe):
    """UNSELECT and SELECT come together; the news lie between them."""
    old = b"* 99 EXISTS\r\n* VANISHED 1:50\r\n* 7 FETCH (UID 7 FLAGS ())\r\n"
    server = scripted({"ENABLE": ENABLED, "SELECT": SELECTED, "UNSELECT": old})
    p = probe(server)
    for _ in range(2):
        assert p.do("select", mailbox="INBOX") == OK
        assert p.exists == 3 and not p.changed and not any("FETCH" in r or "VANISHED" in r for r in p.responses)
    assert len(server.sent(b"UNSELECT")) == 1
    server = scripted({"ENABLE": ENABLED, "SELECT": old + b"* OK [CLOSED] x\r\n" + SELECTED}, capability="IMAP4rev1 ENABLE QRESYNC")
    p = probe(server)
    p.do("select", mailbox="INBOX")
    assert p.do("select", mailbox="Sent") == OK
    assert p.exists == 3 and not any("FETCH" in r or "VANISHED" in r for r in p.responses)
    assert not server.sent(b"UNSELECT")


@pytest.mark.parametrize("code", [b"[COPYUID 14  ]", b"[COPYUID 14 1 1:2]", b"[APPENDUID 14 1]", b"[COPYUID 14 2 1] x\r\n* OK [COPYUID"])
def test_copyuid_that_is_none(scripted, probe, code):
    server = scripted({"UID COPY": b"TAG OK " + code + b" done\r\n", "NOOP": b"TAG OK [COPYUID 5 1 2] and [APPENDUID 5 2]\r\n"})
    p = probe(server)
    if code.endswith(b"COPYUID"):  # untagged while none is open, after which nothing makes sense
        assert p.command("UID COPY 1 x") in (OK, PROTOCOL)
        return
    assert p.command("UID COPY 1 x") == OK
    assert (p.copied_uidvalidity, p.copied_from) == (0, [])
    assert p.command("NOOP") == OK
    assert (p.copied_uidvalidity, p.copied_uid, p.copied_from) == (0, 0, [])


def test_copyuid_before_the_end(scripted, probe):
    p = probe(scripted({"UID MOVE": b"* OK [COPYUID 14 1:2 8:9] moved\r\n* VANISHED 1:2\r\n", "SELECT": SELECTED}))
    p.do("select", mailbox="INBOX")
    assert p.command("UID MOVE 1:2 x") == OK
    assert (p.copied_uidvalidity, p.copied_to, p.exists, p.changed) == (14, [8, 9], 1, False)


@pytest.mark.parametrize("bye", [b"* BYE shutting down\r\n", b"* 1 FETCH (UID 1 BODY[] {9}\r\nab", None])
def test_end_in_the_middle(scripted, probe, bye):
    server = scripted({"UID FETCH": lambda s, *_: bye and s.send(b"* 1 FETCH (UID 1)\r\n" + bye) or None})
    p = probe(server)
    p.do("send", line="UID FETCH 1:* (UID)")
    assert p.do("read") == UNREACHABLE
    assert ("shutting down" in p.error) == (bye is not None and b"BYE" in bye)


def test_backoff(scripted, probe):
    throttled = b"Request is throttled. Suggested Backoff Time: 299962 milliseconds\r\n"
    p = probe(scripted({"SELECT": b"TAG BAD " + throttled, "UID FETCH": b"TAG NO [UNAVAILABLE] later\r\n",
                        "APPEND": b"TAG NO [OVERQUOTA] full\r\n", "NOOP": b"* BYE " + throttled}))
    assert p.do("select", mailbox="INBOX") == BAD
    assert (p.code, p.backoff_ms) == (BUSY, 299962)
    assert p.command("UID FETCH 1 (FLAGS)") == NO
    assert (p.code, p.backoff_ms, p.text) == (BUSY, 0, "later")
    assert p.command("CHECK") == OK and p.code == NONE
    assert p.command("NOOP") == UNREACHABLE and p.backoff_ms == 299962


@pytest.mark.parametrize("answer,r", [(b"Request is throttled", UNREACHABLE), (b"suggested backoff time: 5", UNREACHABLE),
                                      (b"[LIMIT] too many", UNREACHABLE), (b"wrong", AUTH)])
def test_login_that_is_refused(scripted, probe, answer, r):
    assert probe(scripted({"AUTHENTICATE": b"TAG NO " + answer + b"\r\n"}), connect=False).r == r


@pytest.mark.parametrize("capability,size,form", [
    ("LITERAL+", MIB - 1, b"+"), ("LITERAL+", MIB, b""), ("LITERAL-", 4096, b"+"), ("LITERAL-", 4097, b""), ("UIDPLUS", 1, b"")])
def test_form_of_the_literal(scripted, probe, capability, size, form):
    def append(s, tag, command):
        if not command.endswith(b"+}"):
            s.send(b"* 5 EXISTS\r\n+ go on\r\n")
        assert len(s.reader.read(size + 2)) == size + 2
        return b"TAG OK [APPENDUID 5 6] done\r\n"

    server = scripted({"APPEND": append}, capability="IMAP4rev1 " + capability)
    p = probe(server)
    assert p.do("append", mailbox="INBOX", flags="\\Seen", text="x", size=size, seconds=1) == OK
    assert p.do("read") == OK and p.copied_uid == 6
    assert server.sent(b"APPEND") == [b'APPEND "INBOX" (\\Seen) "01-Jan-1970 00:00:01 +0000" {%d%s}' % (size, form)]


@pytest.mark.parametrize("answer,r,code", [(b"TAG NO [TOOBIG] no\r\n", NO, TOOBIG), (b"TAG BAD what?\r\n", BAD, NONE),
                                           (b"TAG OK already\r\n", PROTOCOL, None), (b"* BYE enough\r\n", UNREACHABLE, None)])
def test_refusal_before_the_message(scripted, probe, answer, r, code):
    server = scripted({"APPEND": answer}, capability="IMAP4rev1")
    p = probe(server)
    assert p.do("append", mailbox="INBOX", text="x", seconds=1) == r
    if code is not None:
        assert p.code == code and p.open == 0
        assert p.command("NOOP") == OK
        assert server.lines[-1] == b"NOOP"  # and not the message


def test_leave_in_the_middle_of_a_message(scripted, probe):
    """What would come behind it would be taken for its end."""
    rest = queue.Queue()
    p = probe(scripted({"APPEND": lambda s, *_: rest.put(s.reader.read()) or None}))
    assert p.do("append", mailbox="INBOX", text="x", size=100, missing=8, seconds=1) == OK
    p.close()
    assert rest.get(timeout=20) == b"x" * 92


def silent(s, *_):
    return s.reader.readline() and None


def test_go_on_that_never_comes(scripted, probe):
    p = probe(scripted({"APPEND": silent}, capability="IMAP4rev1"))
    assert p.do("append", mailbox="INBOX", text="x", seconds=1, sleeps=1) == TIMEOUT


@pytest.mark.parametrize("aside,r", [(2 * MIB, OK), (32 * MIB, PROTOCOL)])
def test_server_that_sends_before_it_reads(scripted, probe, aside, r):
    """Both would wait for the other, if nobody read. What is kept meanwhile has a cap."""
    count, size = 12, MIB - 1  # more than the buffers of the system hold
    noise = b"* OK still here, and a few words more\r\n"

    def append(s, *_):
        if len(s.sent(b"APPEND")) == 1:
            s.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
            s.send(noise * (aside // len(noise)))
        assert len(s.reader.read(size + 2)) == size + 2
        return b"TAG OK [APPENDUID 5 %d] done\r\n" % len(s.sent(b"APPEND"))

    p = probe(scripted({"APPEND": append}))
    results = [p.do("append", mailbox="INBOX", text="x", size=size, seconds=1) for _ in range(count)]
    assert results == [OK] * count if r == OK else r in results
    if r == OK:
        assert p.do("read") == OK and p.copied_uid == count
    else:
        assert p.do("read") < 0


# -- IDLE, NOTIFY, and a machine that sleeps --------------------------------------------------------------------


@pytest.mark.parametrize("answer,r", [(b"TAG NO no\r\n", NO), (b"TAG BAD no\r\n", BAD), (b"TAG OK no\r\n", PROTOCOL),
                                      (b"+ idling\r\nTAG OK over\r\n", NO), (b"+ idling\r\nTAG BAD over\r\n", BAD),
                                      (b"* 4 EXISTS\r\n+ idling\r\n* BYE x\r\n", UNREACHABLE)])
def test_idle_that_is_refused(scripted, probe, answer, r):
    server = scripted({"IDLE": answer, "SELECT": SELECTED, "DONE": b""})
    p = probe(server)
    p.do("select", mailbox="INBOX")
    p.do("calm")
    assert p.do("idle", ms=60000) == r


@pytest.mark.parametrize("news", [b"* 4 EXISTS", b"* VANISHED 7", b"* 1 EXPUNGE", b"* 2 FETCH (FLAGS ())"])
def test_what_ends_idle(scripted, probe, news):
    def idle(s, tag, _):
        s.send(b"+ idling\r\n* OK Still here\r\n* 3 EXISTS\r\n" + news + b"\r\n")
        assert s.reader.readline() == b"DONE\r\n"
        return b""

    p = probe(scripted({"IDLE": idle, "SELECT": SELECTED}))
    p.do("select", mailbox="INBOX")
    assert p.do("idle", ms=60000) == OK and p.changed and p.open == 0


def idling(s, tag, _):
    s.send(b"+ idling\r\n")
    assert s.reader.readline() == b"DONE\r\n"
    return b""


def idling_and_dead(s, *_):
    s.send(b"+ idling\r\n")
    return s.reader.readline() and silent(s)


@pytest.mark.parametrize("idle,sleeps,r", [(idling, 1, OK), (idling_and_dead, 2, UNREACHABLE)])
def test_sleep_in_idle(scripted, probe, idle, sleeps, r):
    """Awake again, IDLE ends, and the server has ten seconds: it lives, or it does not."""
    p = probe(scripted({"IDLE": idle, "SELECT": SELECTED}))
    p.do("select", mailbox="INBOX")
    assert p.do("idle", ms=100000000, sleeps=sleeps) == r
    assert (p.changed, p.open) == (False, 0 if r == OK else 1)
    assert r == OK or "suspend" in p.error


@pytest.mark.parametrize("noop,sleeps,r", [(b"* 4 EXISTS\r\n", 1, OK), (silent, 2, UNREACHABLE)])
def test_sleep_with_notify(scripted, probe, noop, sleeps, r):
    server = scripted({"NOOP": noop, "SELECT": SELECTED})
    p = probe(server)
    assert p.do("notify") == OK
    assert server.sent(b"NOTIFY") == [b"NOTIFY SET (selected (MessageNew MessageExpunge FlagChange)) "
                                      b"(personal (MessageNew MessageExpunge FlagChange MailboxName))"]
    p.do("select", mailbox="INBOX")
    assert p.do("wait", ms=100000000, sleeps=sleeps) == r
    assert p.exists == (4 if r == OK else 3)
    assert r == OK or "suspend" in p.error


def test_wrong_tags(scripted, probe):
    for answer in (b"a77 OK x\r\n", b"a03 OK x\r\n", b"TAG MAYBE\r\n", b"* VANISHED x\r\n"):
        p = probe(scripted({"NOOP": answer}))
        assert p.command("NOOP") == PROTOCOL


# -- compression ------------------------------------------------------------------------------------------------


def deflating(s, tag, rest):
    """Compresses from here on; `rest` lies right behind the OK."""
    packer = zlib.compressobj(wbits=-15)
    s.connection.sendall(tag + b" OK begin\r\n" + (packer.compress(rest) + packer.flush(zlib.Z_SYNC_FLUSH) if rest else b""))
    unpacker, buffer = zlib.decompressobj(wbits=-15), b""
    while True:
        piece = s.connection.recv(65536)
        if not piece:
            return
        buffer += unpacker.decompress(piece)
        while b"\r\n" in buffer:
            line, _, buffer = buffer.partition(b"\r\n")
            tag, _, command = line.partition(b" ")
            s.lines.append(command)
            data = b"* 3 EXISTS\r\n" if command.startswith(b"SELECT") else b""
            s.connection.sendall(packer.compress(data + tag + b" OK done\r\n") + packer.flush(zlib.Z_SYNC_FLUSH))


def test_compressed_bytes_behind_the_ok(scripted, probe):
    def compress(s, tag, _):
        with contextlib.suppress(OSError):
            deflating(s, tag, b"* STATUS x (MESSAGES 1)\r\n* OK " + b"early " * 20000 + b"\r\n")

    server = scripted({"COMPRESS": compress})
    p = probe(server, compress="always")
    assert p.enabled & COMPRESS
    assert p.do("select", mailbox="INBOX") == OK and p.exists == 3
    assert p.mailboxes == ["STATUS x (MESSAGES 1)"]
    assert server.sent(b"SELECT") == [b'SELECT "INBOX"']


@pytest.mark.parametrize("answer", [b"TAG OK begin\r\n* OK in the clear\r\n", b"TAG OK begin\r\n\xff\xff\xff\xff\xff"])
def test_compression_that_is_none(scripted, probe, answer):
    server = scripted({"COMPRESS": answer})
    p = probe(server, compress="always")
    assert p.command("NOOP") == PROTOCOL


def test_compression_of_a_slow_line(scripted, probe):
    def capability(s, *_):
        if s.sent(b"ID") or len(s.sent(b"CAPABILITY")) > 1:
            select.select([], [], [], 0.02)  # the line
        return b""

    server = scripted({"CAPABILITY": capability, "COMPRESS": b"TAG NO no\r\n"})
    probe(server, compress="auto")
    assert server.sent(b"COMPRESS") == [b"COMPRESS DEFLATE"]
    server = scripted({"CAPABILITY": capability})
    probe(server)
    assert not server.sent(b"COMPRESS")


@pytest.mark.parametrize("answer", [b"TAG NO no\r\n", b"TAG BAD no\r\n"])
def test_compression_that_is_refused(scripted, probe, answer):
    p = probe(scripted({"COMPRESS": answer}), compress="always")
    assert p.enabled & COMPRESS == 0
    assert p.command("NOOP") == OK
