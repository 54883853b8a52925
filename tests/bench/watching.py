"""Moments: when a file appears in a directory, when the server tells of a message, when it knows of a flag."""

import ctypes
import os
import select
import struct
import threading
import time

from line import Line

IN_CLOSE_WRITE, IN_MOVED_TO = 0x8, 0x80
EVENT = struct.Struct("iIII")
SECONDS = 20
libc = ctypes.CDLL(None, use_errno=True)


class Arrivals:
    """The files that come into some directories whole: renamed there, or written and closed."""

    def __init__(self, directories):
        self.fd = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        assert self.fd >= 0, os.strerror(ctypes.get_errno())
        for directory in directories:
            if libc.inotify_add_watch(self.fd, os.fsencode(directory), IN_CLOSE_WRITE | IN_MOVED_TO) < 0:
                raise OSError(ctypes.get_errno(), "inotify_add_watch", str(directory))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.fd)

    def clear(self):
        while select.select([self.fd], [], [], 0)[0]:
            os.read(self.fd, 65536)

    def wait(self):
        """When the next one came, and its name."""
        assert select.select([self.fd], [], [], SECONDS)[0], "no file came"
        now, data = time.monotonic(), os.read(self.fd, 65536)
        length = EVENT.unpack_from(data)[3]
        return now, data[EVENT.size:EVENT.size + length].rstrip(b"\0").decode()


class Listener:
    """A client in IDLE on a folder, as a measure of when the server tells anybody anything."""

    def __init__(self, account, folder):
        self.line = Line(account, timeout=None)
        self.line.command('EXAMINE "%s"' % folder)
        self.line.send("IDLE")
        assert self.line.read_line().startswith(b"+")
        self.changed, self.told = threading.Condition(), []
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.line.socket.close()

    def _listen(self):
        try:
            while True:
                if self.line.read_line().rstrip().endswith(b" EXISTS"):
                    with self.changed:
                        self.told.append(time.monotonic())
                        self.changed.notify_all()
        except (OSError, ValueError):
            return

    def wait(self):
        """When it was told of the next message."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.told, SECONDS), "the server tells nobody"
            return self.told.pop(0)


def wait_flag(line, uid, on):
    """When the server has \\Flagged on a message of the selected folder, or has it no more: asked again and again."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        answer = b"".join(line.command("UID FETCH %d FLAGS" % uid))
        if (b"\\Flagged" in answer) == on:
            return time.monotonic()
    raise AssertionError("the server does not get the flag")
