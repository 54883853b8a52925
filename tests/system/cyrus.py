"""A private Cyrus IMAP server on loopback for the system tests: a second implementation beside Dovecot.

    with Cyrus() as server:
        server.add_user("anna")
        server.start()
        server.generate("anna", 200)           # by APPEND, so while it runs
        ... server.host, server.port (IMAPS), server.ca_pem ...

The same face as dovecot.py's Dovecot where Cyrus has the thing. Debian's cyrus-imapd cannot be installed beside
dovecot-imapd, so its packages are fetched with `apt-get download` and unpacked below /tmp, once a machine, under a lock
(tests run side by side); platform/install-deps has the libraries. Nothing of Cyrus reaches the system: everything else lies
in one new directory below /tmp, and stop() ends every process of the server. Works as root (the server is then `nobody`) and
as an ordinary user. Passwords are asked of a thread here that speaks saslauthd's protocol.
"""

import contextlib
import fcntl
import grp
import imaplib
import os
import pathlib
import pwd
import random
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import threading

from dovecot import FOLDERS, Authority, free_port, message, mutf7
from waiting import wait_for

PACKAGES = ("cyrus-imapd", "cyrus-common")
ADMIN = "cyrus-admin"
LETTERS = {"D": "\\Draft", "F": "\\Flagged", "R": "\\Answered", "S": "\\Seen", "T": "\\Deleted", "P": "$Forwarded"}


def programs():
    """The unpacked packages; fetched and unpacked by whoever comes first."""
    place = pathlib.Path(tempfile.gettempdir()) / ("satchel-cyrus-%d" % os.getuid())
    place.mkdir(mode=0o755, exist_ok=True)
    if place.stat().st_uid != os.getuid():
        raise RuntimeError("%s belongs to somebody else" % place)
    with open(place / "lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ready = place / "root"
        if not ready.exists():
            fetch(place / "unpacking")
            (place / "unpacking" / "root").rename(ready)
            shutil.rmtree(place / "unpacking")
    return ready


def fetch(directory):
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    command = ["apt-get", "-q", "download", *PACKAGES]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode and os.getuid() == 0:  # lists that are old, or none
        subprocess.run(["apt-get", "-q", "-o", "DPkg::Lock::Timeout=120", "update"], capture_output=True, timeout=240, check=False)
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise RuntimeError("Cyrus cannot be fetched: " + done.stderr)
    for package in directory.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, directory / "root"], check=True, timeout=60)


class Passwords(threading.Thread):
    """saslauthd's end of its socket: four counted strings (login, password, service, realm), one counted answer."""

    def __init__(self, path, users):
        super().__init__(daemon=True)
        self.users = users
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        os.chmod(path, 0o666)
        self.listener.listen(50)
        self.start()

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError, struct.error):
                connection.settimeout(10)
                with connection.makefile("rb") as reader:
                    login, password, _, _ = (reader.read(struct.unpack("!H", reader.read(2))[0]).decode() for _ in range(4))
                answer = b"OK" if self.users.get(login) == password else b"NO"
                connection.sendall(struct.pack("!H", len(answer)) + answer)

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Cyrus:
    """The server. `cert`, `key` and `ca` are paths of an existing pair and its authority; `extra` is appended to imapd.conf."""

    host = "127.0.0.1"

    def __init__(self, cert=None, key=None, ca=None, extra="", port=None):
        self.root = programs()
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="satchel-cyrus-"))
        self.dir.chmod(0o755)
        self.owner = pwd.getpwnam("nobody") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
        if cert:
            pair, self.ca_pem = (cert, key), pathlib.Path(ca).read_text()
        else:
            authority = Authority(self.dir / "tls")
            pair, self.ca_pem = authority.issue(), authority.ca_pem
        self.cert, self.key = (self._own_copy(path, name) for path, name in zip(pair, ("server.pem", "server.key")))
        self.port, self.extra = port or free_port(), extra
        self.users, self.known = {ADMIN: "%032x" % random.getrandbits(128)}, set()
        self.passwords, self.process = None, None
        for name in ("conf", "spool", "conf/socket"):
            (self.dir / name).mkdir()
            os.chown(self.dir / name, self.owner.pw_uid, self.owner.pw_gid)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop(remove=True)

    def _own_copy(self, path, name):
        copy = self.dir / name
        shutil.copy(path, copy)
        copy.chmod(0o600)
        os.chown(copy, self.owner.pw_uid, self.owner.pw_gid)
        return copy

    # -- accounts and mail ------------------------------------------------------------------------------------

    def add_user(self, login, password="secret"):
        self.users[login] = password
        if self.process:
            self._make_inboxes()

    def _make_inboxes(self):
        missing = set(self.users) - self.known - {ADMIN}
        if missing:
            with self.client(ADMIN) as imap:
                for login in missing:
                    expect_ok(imap.create("user/" + login))
        self.known |= missing

    def store(self, login, folder, messages, flags=""):
        """As Dovecot.store(), but by APPEND to the running server."""
        with self.client(login) as imap:
            name = '"%s"' % mutf7(folder)
            if folder != "INBOX":
                imap.create(name)
            for i, data in enumerate(messages):
                letters = flags(i) if callable(flags) else flags
                expect_ok(imap.append(name, " ".join(LETTERS[c] for c in letters) or None, None, data))

    def generate(self, login, count, folders=FOLDERS, seed=1):
        rng = random.Random(seed)
        for index, folder in enumerate(folders):
            numbers = range(index, count, len(folders))
            self.store(login, folder, (message(n, rng) for n in numbers), flags=lambda i: "S" if i % 3 == 0 else "")

    def deliver(self, login, folder, data, flags=None):
        """One message; makes the folder where it is missing."""
        with self.client(login) as imap:
            name = '"%s"' % mutf7(folder)
            if folder != "INBOX":
                imap.create(name)
            expect_ok(imap.append(name, flags, None, data))

    @contextlib.contextmanager
    def client(self, login):
        """A logged-in imaplib connection over TLS."""
        context = ssl.create_default_context(cadata=self.ca_pem)
        imap = imaplib.IMAP4_SSL(self.host, self.port, ssl_context=context, timeout=20)
        try:
            imap.login(login, self.users[login])
            yield imap
        finally:
            with contextlib.suppress(Exception):
                imap.logout()

    # -- the process ------------------------------------------------------------------------------------------

    def start(self, timeout=30):
        self._write_config()
        path = self.dir / "saslauthd"
        path.unlink(missing_ok=True)
        self.passwords = Passwords(path, self.users)
        identity = {"user": self.owner.pw_uid, "group": self.owner.pw_gid, "extra_groups": []} if os.getuid() == 0 else {}
        command = [self.root / "usr/lib/cyrus/bin/master", "-D", "-C", self.dir / "imapd.conf", "-M", self.dir / "cyrus.conf",
                   "-p", self.dir / "conf" / "master.pid"]
        with open(self.dir / "stderr", "ab") as log:
            self.process = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=self._environment(), start_new_session=True, **identity)
        try:
            wait_for(self._answers, timeout, "the start of Cyrus")
        except AssertionError:
            self.stop()
            raise RuntimeError("Cyrus did not start:\n" + self.log_text()) from None
        self._make_inboxes()
        return self

    def _environment(self):
        return {"PATH": "/usr/bin:/bin", "CYRUS_USER": self.owner.pw_name,
                "LD_LIBRARY_PATH": str(self.root / "usr/lib" / (os.uname().machine + "-linux-gnu"))}

    def _answers(self):
        context = ssl.create_default_context(cadata=self.ca_pem)
        try:
            imaplib.IMAP4_SSL(self.host, self.port, ssl_context=context, timeout=5).logout()
            return True
        except (OSError, imaplib.IMAP4.error):
            assert self.process.poll() is None, "it ended"
            return False

    def stop(self, remove=False):
        """Ends every process of the server; the mail stays unless `remove`."""
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(3)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None
        if self.passwords:
            self.passwords.close()
            self.passwords = None
        if remove:
            shutil.rmtree(self.dir, ignore_errors=True)

    def log_text(self):
        """What it said; the most goes to syslog, if there is one."""
        return (self.dir / "stderr").read_text(errors="replace")

    def _write_config(self):
        programs_in = self.root / "usr/lib/cyrus/bin"
        group = grp.getgrgid(self.owner.pw_gid).gr_name
        (self.dir / "cyrus.conf").write_text(f"""
START {{
  recover cmd="{programs_in}/ctl_cyrusdb -C {self.dir}/imapd.conf -r"
  idled cmd="{programs_in}/idled -C {self.dir}/imapd.conf"
}}
SERVICES {{
  imaps cmd="{programs_in}/imapd -C {self.dir}/imapd.conf -s -U 50" listen="{self.host}:{self.port}" prefork=1 maxchild=40
}}
EVENTS {{
  checkpoint cmd="{programs_in}/ctl_cyrusdb -C {self.dir}/imapd.conf -c" period=30
}}
""")
        (self.dir / "imapd.conf").write_text(f"""
configdirectory: {self.dir}/conf
defaultpartition: default
partition-default: {self.dir}/spool
cyrus_user: {self.owner.pw_name}
cyrus_group: {group}
admins: {ADMIN}
servername: localhost
unixhierarchysep: yes
altnamespace: yes
sasl_mech_list: PLAIN
sasl_pwcheck_method: saslauthd
sasl_saslauthd_path: {self.dir}/saslauthd
allowplaintext: no
tls_server_cert: {self.cert}
tls_server_key: {self.key}
tls_sessions_db: skiplist
tls_session_timeout: 0
imapidlepoll: 1
delete_mode: immediate
duplicatesuppression: no
skiplist_unsafe: yes
{self.extra}
""")


def expect_ok(answer):
    if answer[0] != "OK":
        raise RuntimeError("the server said %r" % (answer,))
