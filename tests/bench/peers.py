"""Who is measured: a drain, plain files, mbsync, and the mail child; the last two keep a copy in a directory."""

import os
import pathlib
import re
import select
import subprocess
import time

from line import Line
from mailchild import Child

TIMEOUT = 1800  # for any one pass
LOOK_SECONDS = 0.02  # at the memory of a process
SUFFIX = re.compile(r":2,([A-Za-z]*)$")


def drain(account, folders):
    """One connection that asks for everything and throws it away; seconds and bytes."""
    began, total = time.monotonic(), 0
    with Line(account) as line:
        for folder in folders:
            line.command('EXAMINE "%s"' % folder)
            total += line.drain("UID FETCH 1:* (UID FLAGS INTERNALDATE BODY.PEEK[])")
    return time.monotonic() - began, total


def files(directory, count, total):
    """The same number of files of the same length, each with one write, durable together at the end: what the disk can do; seconds."""
    data, at = b"x" * (total // count), os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        began = time.monotonic()
        for n in range(count):
            fd = os.open("%d.0123abcd_1700000000_%d.satchel,U=%d:2,S" % (1700000000 + n, n, n), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600,
                         dir_fd=at)
            os.write(fd, data)
            os.close(fd)
        os.sync()
        return time.monotonic() - began
    finally:
        os.close(at)


class Copy:
    """A Maildir tree that a peer keeps equal to an account. `path` is empty at first."""

    def __init__(self, path, account, folders):
        self.path, self.account, self.folders = pathlib.Path(path), account, list(folders)
        self.peak = 0  # bytes of resident memory

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        pass

    def files(self, folder):
        for part in ("cur", "new"):
            with os.scandir(self.folder(folder) / part) as entries:
                yield from (pathlib.Path(entry.path) for entry in entries)

    def count(self):
        return sum(1 for folder in self.folders for _ in self.files(folder))

    def flag(self, count, on):
        """A reader marks `count` messages over all folders, or takes that back."""
        files = [path for folder in self.folders for path in sorted(self.files(folder)) if is_flagged(path) != on]
        assert len(files) >= count, "%d messages to be changed, of %d" % (count, len(files))
        for n in range(count):
            set_flag(files[n * len(files) // count], "F", on)


def is_flagged(path):
    found = SUFFIX.search(path.name)
    return bool(found) and "F" in found[1]


def set_flag(path, letter, on):
    found = SUFFIX.search(path.name)
    letters = set(found[1] if found else "")
    letters = letters | {letter} if on else letters - {letter}
    name = path.name[:found.start()] if found else path.name
    path.rename(path.parent.parent / "cur" / (name + ":2," + "".join(sorted(letters))))


def resident(pid, field):
    """VmHWM or VmRSS of a process, in bytes; 0 when it has ended."""
    with open("/proc/%d/status" % pid, encoding="ascii") as source:
        return next((int(line.split()[1]) * 1024 for line in source if line.startswith(field + ":")), 0)


class Mbsync(Copy):
    """A process a pass, with Debian's defaults."""

    name = "mbsync"

    def __init__(self, path, account, folders):
        super().__init__(path, account, folders)
        self.mail = self.path / "mail"
        self.mail.mkdir()
        (self.path / "ca.pem").write_text(account["ca"])

    @staticmethod
    def version():
        done = subprocess.run(["mbsync", "--version"], capture_output=True, text=True, check=False, timeout=60)
        return "mbsync (%s)" % (done.stdout or done.stderr).strip()

    def folder(self, name):
        return self.mail / name

    def configure(self, port, durable):
        path = self.path / "mbsyncrc"
        path.write_text("""%sIMAPAccount company
Host localhost
Port %d
User %s
Pass %s
SSLType IMAPS
CertificateFile %s

IMAPStore far
Account company

MaildirStore near
Path %s/
Inbox %s/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Near
SyncState *
""" % ("" if durable else "FSync no\n\n", port, self.account["login"], self.account["password"],
       self.path / "ca.pem", self.mail, self.mail))
        return path

    def sync(self, port=None, durable=True):
        """A whole run; seconds."""
        config = self.configure(port or self.account["port"], durable)
        with open(self.path / "output", "wb+") as output:
            began = time.monotonic()
            process = subprocess.Popen(["mbsync", "-c", config, "-a", "-q"], stdin=subprocess.DEVNULL, stdout=output, stderr=output)
            self._wait(process, began + TIMEOUT)
            seconds = time.monotonic() - began
            output.seek(0)
            assert process.wait() == 0, "mbsync: %d: %s" % (process.returncode, output.read(2000).decode(errors="replace"))
        return seconds

    def _wait(self, process, deadline):
        """Its ru_maxrss would be ours, from before the exec, where ours is larger."""
        pidfd = os.pidfd_open(process.pid)
        try:
            while not select.select([pidfd], [], [], LOOK_SECONDS)[0]:
                self.peak = max(self.peak, resident(process.pid, "VmHWM"))
                if time.monotonic() > deadline:
                    process.kill()
                    raise AssertionError("mbsync does not end")
        finally:
            os.close(pidfd)

    first = sync


class Satchel(Copy):
    """A process that stays."""

    name = "satchel"

    def __init__(self, path, account, folders):
        super().__init__(path, account, folders)
        self.vault = self.path  # where a vault is mounted: what is durable is then a matter of the file system below
        self.child = None

    def folder(self, name):
        return self.vault / "Mail" / name

    def start(self, port=None):
        """From no process to the answer to a full pass; seconds."""
        began = time.monotonic()
        self.child = Child(self.vault, dict(self.account, port=port or self.account["port"]))
        self._pass()
        return time.monotonic() - began

    def _pass(self):
        answer = self.child.sync(timeout=TIMEOUT)
        assert answer["ok"], "%s\n%s" % (answer, self.child.log())

    def sync(self):
        """A full pass of the process that is there; seconds."""
        began = time.monotonic()
        self._pass()
        return time.monotonic() - began

    def listen(self):
        """Takes what the child tells, as its supervisor does: it would wait for it."""
        while self.child.receive(0.001):
            pass

    def first(self, **_):
        seconds = self.start()
        self.stop()
        return seconds

    def stop(self):
        if self.child:
            self.peak = max(self.peak, resident(self.child.process.pid, "VmHWM"))
            try:
                assert self.child.stop() == 0, self.child.log()
            finally:
                self.child.kill()
                self.child = None
