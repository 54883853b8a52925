"""An employee's laptop for the tests: a private session with a keyring, and the programs satchel and satcheld in it.

    with Laptop() as laptop:
        laptop.satchel("enroll", link, "--password-stdin", stdin="secret\\n")
        assert laptop.status()["state"] == "enrolled"
"""

import contextlib
import json
import os
import pathlib
import select
import signal
import subprocess

from keyring import Session
from waiting import wait_for

BUILD = pathlib.Path(os.environ.get("SATCHEL_BUILD") or os.environ.get("MESON_BUILD_ROOT") or "build").resolve()
RELEASE = pathlib.Path(os.environ.get("SATCHEL_RELEASE_BUILD") or "build").resolve()  # without sanitizers
SANITIZER = {"ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1:disable_coredump=1", "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"}


class Laptop:
    def __init__(self, directory=None, service=True, build=BUILD):
        self.build = build
        self.session = Session(directory=directory, service=service)
        self.env = self.session.env
        self.env.update(SANITIZER)
        self.extra = {}  # further environment of the programs

    def __enter__(self):
        self.session.start()
        return self

    def __exit__(self, *_):
        with contextlib.suppress(Exception):
            self.kill()
        for mount in self.mounts():
            subprocess.run(["fusermount3", "-uz", mount], check=False)
        self.session.stop()

    # -- places -----------------------------------------------------------------------------------------------

    @property
    def home(self):
        return pathlib.Path(self.session.home)

    @property
    def state(self):
        return self.home / ".local/state/satchel"

    @property
    def vault(self):
        return self.home / ".local/share/satchel/vault"

    @property
    def ciphertext(self):
        return self.home / ".local/share/satchel/vault.enc"

    def folder(self, name="INBOX"):
        return self.vault / "Mail" / name

    def messages(self, name="INBOX"):
        return [p for part in ("cur", "new") if (self.folder(name) / part).is_dir()
                for p in (self.folder(name) / part).iterdir()]

    def find(self, text, name="INBOX"):
        """The file of a message that contains `text`, or None."""
        for path in self.messages(name):
            with contextlib.suppress(FileNotFoundError):
                if text.encode() in path.read_bytes():
                    return path
        return None

    def vault_is_usable(self):
        try:
            return bool(os.listdir(self.vault / "Mail"))
        except OSError:
            return False

    def mounts(self):
        with open("/proc/self/mountinfo", encoding="utf-8") as source:
            return [line.split()[4] for line in source if line.split()[4].startswith(self.session.directory)]

    def log(self):
        path = self.state / "satcheld.log"
        return path.read_text(errors="replace") if path.exists() else ""

    # -- programs ---------------------------------------------------------------------------------------------

    def command(self, *args):
        return [str(self.build / "agent" / "satchel"), *args]

    def environment(self):
        return dict(self.env, **self.extra)

    def run(self, *args, stdin="", timeout=120):
        """satchel ARGS: the finished process, whatever its status."""
        return subprocess.run(self.command(*args), env=self.environment(), input=stdin, capture_output=True, text=True,
                              timeout=timeout, check=False)

    def satchel(self, *args, stdin="", timeout=120):
        """satchel ARGS --json, which must succeed: its document."""
        done = self.run(*args, "--json", stdin=stdin, timeout=timeout)
        assert done.returncode == 0, "satchel %s: %d: %s\n%s" % (args, done.returncode, done.stderr, self.log()[-3000:])
        return json.loads(done.stdout)

    def status(self):
        return self.satchel("status")

    def wait_status(self, look, seconds=20):
        """The first status for which `look` is true."""
        last = {}

        def again():
            last["status"] = self.status()
            return look(last["status"])
        try:
            wait_for(again, seconds)
        except AssertionError as e:
            raise AssertionError("%s; last status: %s\n%s" % (e, json.dumps(last), self.log()[-3000:])) from None
        return last["status"]

    def enroll(self, link, password="secret"):
        return self.satchel("enroll", link, "--password-stdin", stdin=password + "\n")

    # -- the agent's process ----------------------------------------------------------------------------------

    def agent_pid(self):
        """The running satcheld of this session, or None: whoever holds the lock of the state directory. (Its own descriptors
        are not to be seen: it is not dumpable.)"""
        try:
            inode = (self.state / "lock").stat().st_ino
        except FileNotFoundError:
            return None
        with open("/proc/locks", encoding="ascii") as locks:
            for line in locks:
                words = line.split()
                if words[1] == "FLOCK" and int(words[5].rsplit(":", 1)[1]) == inode and self.is_agent(int(words[4])):
                    return int(words[4])
        return None

    @staticmethod
    def is_agent(pid):
        try:
            with open("/proc/%d/cmdline" % pid, "rb") as source:
                return source.read().split(b"\0")[0].endswith(b"satcheld")
        except OSError:
            return False

    def signal(self, sig):
        """Sends satcheld a signal and waits until it is gone. False when none ran."""
        pid = self.agent_pid()
        if not pid:
            return False
        pidfd = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(pidfd, sig)
            assert select.select([pidfd], [], [], 30)[0], "satcheld does not end: " + self.log()[-2000:]
        finally:
            os.close(pidfd)
        return True

    def kill(self):
        return self.signal(signal.SIGKILL)

    def stop(self):
        return self.signal(signal.SIGTERM)

    def start(self):
        """Starts satcheld again, as the next login would."""
        reader, writer = os.pipe()
        with open(self.state / "satcheld.log", "ab") as log:
            subprocess.Popen([str(self.build / "agent" / "satcheld"), "--ready-fd=3"], env=self.environment(), stdin=subprocess.DEVNULL,
                             stdout=log, stderr=log, start_new_session=True, pass_fds=(3,),
                             preexec_fn=lambda: os.dup2(writer, 3))
        os.close(writer)
        with os.fdopen(reader) as ready:
            word = ready.readline().strip()
        assert word == "ready", word
