"""Where a copy of the mail is kept: the file system itself, or a vault on it. What was written stays until the bench ends: ext4 passes
over inodes that were deleted in the last minutes one by one, so that whoever comes after a removal of many files would pay for it."""

import contextlib
import os
import pathlib
import secrets
import subprocess
import tempfile

from waiting import wait_for

WAIT = 60


class Native:
    name = "native"

    def __init__(self, root):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="native-", dir=root))
        self.path = self.directory / "copy"
        self.path.mkdir(mode=0o700)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


class Gocryptfs:
    """With the options of agent/vault/vault_gocryptfs.c."""

    name = "gocryptfs"

    def __init__(self, root):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="gocryptfs-", dir=root))
        self.cipher, self.path = self.directory / "cipher", self.directory / "copy"
        for path in (self.cipher, self.path):
            path.mkdir(mode=0o700)
        self.process = None

    def __enter__(self):
        key = secrets.token_hex(32).encode() + b"\n"
        subprocess.run(["gocryptfs", "-init", "-q", "-nosyslog", "-scryptn", "10", "--", self.cipher], input=key, check=True,
                       capture_output=True, timeout=WAIT)
        self.process = subprocess.Popen(["gocryptfs", "-fg", "-q", "-nosyslog", "-fsname", "satchel-bench", "--", self.cipher, self.path],
                                        stdin=subprocess.PIPE)
        self.process.stdin.write(key)
        self.process.stdin.close()
        try:
            wait_for(lambda: os.path.ismount(self.path), WAIT, "the vault's mount")
        except BaseException:
            self.process.kill()
            raise
        return self

    def __exit__(self, *_):
        subprocess.run(["fusermount3", "-u", self.path], check=True, timeout=WAIT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(WAIT)
        self.process.kill()
        self.process.wait()


PLACES = {place.name: place for place in (Native, Gocryptfs)}


def file_system(path):
    """("ext4", "/dev/vda") of a directory, from findmnt."""
    found = subprocess.run(["findmnt", "-n", "-o", "FSTYPE,SOURCE", "-T", path], check=True, capture_output=True, text=True, timeout=WAIT)
    return tuple(found.stdout.split()[:2])
