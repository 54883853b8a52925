"""Drives the IMAP session layer (tests/system/mail/imap-probe.c)."""

import json
import os
import select
import subprocess

from mailchild import BUILD

IDLE, UIDPLUS, CONDSTORE, QRESYNC, ENABLE, MOVE, LITERAL_PLUS, LITERAL_MINUS = (1 << n for n in range(8))  # imap_capability
NOTIFY, COMPRESS, ID, UTF8, UNSELECT = 1 << 11, 1 << 12, 1 << 13, 1 << 15, 1 << 17
OK, NO, BAD = 0, 1, 2
NONE, TRYCREATE, _, _, _, _, OVERQUOTA, TOOBIG, BUSY, _ = range(10)  # imap_code
UNREACHABLE, AUTH, TIMEOUT, PROTOCOL = -3, -5, -8, -10  # err_code


class Probe:
    """One process. Attributes are what the last answer says."""

    def __init__(self, directory):
        self.stderr = open(directory / "probe-stderr", "wb+")
        environment = dict(os.environ, ASAN_OPTIONS="detect_leaks=%d" % (os.getuid() == 0), UBSAN_OPTIONS="halt_on_error=1")
        self.process = subprocess.Popen([str((BUILD / "tests/system/mail/imap-probe").resolve())], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.stderr, env=environment)
        self.last, self.buffer = {}, b""

    def __getattr__(self, name):
        return self.last[name]

    def start(self, op, **arguments):
        """Without waiting for the answer."""
        self.process.stdin.write(json.dumps(dict(arguments, op=op)).encode() + b"\n")
        self.process.stdin.flush()

    def answer(self, timeout=20):
        while b"\n" not in self.buffer:
            ready = select.select([self.process.stdout], [], [], timeout)[0]
            piece = os.read(self.process.stdout.fileno(), 1 << 20) if ready else b""
            assert piece, "no answer: %s" % self.log()
            self.buffer += piece
        line, _, self.buffer = self.buffer.partition(b"\n")
        self.last = json.loads(line)
        return self.last["r"]

    def do(self, op, **arguments):
        """The code that came of it."""
        self.start(op, **arguments)
        return self.answer()

    def command(self, line):
        """One command on its own, with what it brings in `responses`."""
        r = self.do("send", line=line)
        return r if r < 0 else self.do("read")

    def log(self):
        self.stderr.seek(0)
        return self.stderr.read().decode(errors="replace")

    def close(self):
        """Takes leave; a finding of the sanitizers is a failure."""
        if self.stderr.closed:
            return
        self.process.stdin.close()
        try:
            status = self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = "killed: %s" % self.process.wait()
        assert status == 0 and not self.log(), self.log()
        self.stderr.close()
