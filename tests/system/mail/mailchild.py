"""Drives the mail child (tests/system/mail/mail-child.c) through its socketpair."""

import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import time

from waiting import wait_for

BUILD = pathlib.Path(os.environ.get("SATCHEL_BUILD") or os.environ.get("MESON_BUILD_ROOT") or "build")


def program():
    path = BUILD / "tests" / "system" / "mail" / "mail-child"
    if not path.exists():
        raise FileNotFoundError("%s: build first, and set SATCHEL_BUILD to the build directory" % path)
    return str(path.resolve())


class Child:
    """One process. Events are kept in `events`; wait() looks at those not yet looked at, with a deadline."""

    def __init__(self, vault, account, keep_days=0, configure=True):
        self.vault, self.account = pathlib.Path(vault), account
        ours, theirs = socket.socketpair()
        self.socket, self.buffer, self.events, self.ids = ours, b"", [], 0
        environment = dict(os.environ, ASAN_OPTIONS="detect_leaks=%d:quarantine_size_mb=1" % (os.getuid() == 0), UBSAN_OPTIONS="halt_on_error=1")
        self.stderr = open(self.vault.parent / "child-stderr", "ab+")
        self.process = subprocess.Popen([program()], stdin=subprocess.DEVNULL, stderr=self.stderr, env=environment,
                                        preexec_fn=lambda: os.dup2(theirs.fileno(), 3), pass_fds=(3,))
        theirs.close()
        if configure:
            self.configure(keep_days=keep_days)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.process.poll() is None and kind is None:
            assert self.stop() == 0, self.log()
        self.kill()

    # -- orders -----------------------------------------------------------------------------------------------

    def send(self, **order):
        self.socket.sendall(json.dumps(order).encode() + b"\n")

    def configure(self, device=None, keep_days=0, account=None):
        device = os.stat(self.vault).st_dev if device is None else device
        self.send(op="configure", account=account or self.account, keep_days=keep_days,
                  vault={"path": str(self.vault), "device": device})

    def sync(self, timeout=30):
        """A full pass; its answer."""
        self.ids += 1
        self.send(op="sync", id=self.ids)
        return self.wait(lambda e: e["event"] == "synced" and e["id"] == self.ids, timeout)

    def attempt(self, account, timeout=40):
        self.send(op="try", account=account)
        return self.wait(lambda e: e["event"] == "tried", timeout)

    def stop(self, timeout=10):
        self.send(op="stop")
        return self.process.wait(timeout)

    def kill(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.socket.close()
        self.stderr.close()

    # -- events -----------------------------------------------------------------------------------------------

    def receive(self, timeout):
        """The next event, or None when there is none within `timeout` seconds or the child has ended."""
        deadline = time.monotonic() + timeout
        while b"\n" not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.socket], [], [], left)[0]:
                return None
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        event = json.loads(line)
        self.events.append(event)
        return event

    def wait(self, wanted, timeout=30):
        """The first new event for which `wanted` is true."""
        deadline = time.monotonic() + timeout
        while True:
            event = self.receive(max(0, deadline - time.monotonic()))
            if event is None:
                raise AssertionError("no such event within %s s; last ones: %s\n%s" % (timeout, self.events[-5:], self.log()))
            if wanted(event):
                return event

    def status(self, wanted, timeout=30):
        return self.wait(lambda e: e["event"] == "status" and wanted(e), timeout)

    def log(self):
        self.stderr.flush()
        return (self.vault.parent / "child-stderr").read_text(errors="replace")[-6000:]


def until(condition, timeout=10, what="the condition"):
    """Waits for something outside of the child's events (a file, the server's answer); its value."""
    return wait_for(condition, timeout, what)


def files(folder):
    """The message files of a Maildir folder as {UID: path}; asserts that no UID is there twice."""
    found = {}
    for sub in ("new", "cur"):
        for name in os.listdir(folder / sub):
            uid = int(name.split(",U=")[1].split(":")[0])
            assert uid not in found, "UID %d twice: %s, %s" % (uid, found[uid], name)
            found[uid] = folder / sub / name
    return found
