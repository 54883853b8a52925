"""A private Dovecot on loopback for the system tests: the company's mail server.

    with Dovecot() as server:
        server.add_user("anna", "secret")
        server.generate("anna", 2000)          # fast: written into the store, also while it is stopped
        server.start()
        ... server.host, server.port (IMAPS), server.starttls_port, server.ca_pem ...
        server.deliver("anna", "INBOX", b"Subject: hi\\r\\n\\r\\nhello\\r\\n")

Works as root (mail is then owned by `nobody`) and as an ordinary user. Everything lives in one new directory
below /tmp, and stop() ends every process of the server and, unless told otherwise, removes that directory.
"""

import base64
import contextlib
import getpass
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
import subprocess
import tempfile
import time

from waiting import wait_for

FOLDERS = ("INBOX", "Archive/2025", "Entwürfe", "Projekte/Übersicht", "Sent")


def mutf7(name):
    """Modified UTF-7 of a mailbox name (RFC 3501 section 5.1.3)."""
    out, pending = [], []

    def flush():
        if pending:
            raw = base64.b64encode("".join(pending).encode("utf-16-be")).decode().rstrip("=").replace("/", ",")
            out.append("&" + raw + "-")
            pending.clear()

    for c in name:
        if " " <= c <= "~":
            flush()
            out.append("&-" if c == "&" else c)
        else:
            pending.append(c)
    flush()
    return "".join(out)


def free_port():
    """A port of 127.0.0.1 that nobody listens on at this moment. From below the range that outgoing connections take theirs
    from, at random: tests run side by side."""
    while True:
        port = random.SystemRandom().randrange(20000, 32000)
        with contextlib.closing(socket.socket()) as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def openssl(*args):
    subprocess.run(["openssl", *map(str, args)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


class Authority:
    """A throw-away certificate authority. `ca_pem` is its certificate; issue() makes a server's pair."""

    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.key, self.cert = self.dir / "ca.key", self.dir / "ca.pem"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.key,
                "-out", self.cert, "-days", "30", "-subj", "/CN=Test mail CA",
                "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        self.ca_pem = self.cert.read_text()

    def issue(self, name="server", alternative="IP:127.0.0.1,DNS:localhost"):
        key, csr, cert, ext = (self.dir / (name + s) for s in (".key", ".csr", ".pem", ".ext"))
        ext.write_text("subjectAltName=%s\nextendedKeyUsage=serverAuth\n" % alternative)
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
                "-out", csr, "-subj", "/CN=localhost")
        openssl("x509", "-req", "-in", csr, "-CA", self.cert, "-CAkey", self.key, "-set_serial",
                str(random.getrandbits(63)), "-days", "30", "-extfile", ext, "-out", cert)
        return cert, key


def message(number, rng=random, size=None):
    """One plausible message as bytes with CRLF: plain, with an UTF-8 subject, or MIME with an attachment."""
    subject = "Message %d" % number
    if number % 3 == 0:
        subject = "=?UTF-8?B?%s?=" % base64.b64encode(("Übersicht %d – Grüße" % number).encode()).decode()
    head = ["From: Anna Example <anna@acme.example>", "To: Ben Example <ben@acme.example>", "Subject: " + subject,
            "Date: Mon, %02d Sep 2025 %02d:%02d:00 +0200" % (1 + number % 28, number % 24, number % 60),
            "Message-ID: <%d.%08x@acme.example>" % (number, rng.getrandbits(32))]
    words = ("invoice", "meeting", "contract", "Größe", "delivery", "schedule", "offer", "draft", "review")
    lines = [" ".join(rng.choice(words) for _ in range(9)) for _ in range(rng.randint(2, 60))]
    if size:
        lines += ["x" * 76] * (size // 78)
    body = "\r\n".join(lines) + "\r\n"
    if number % 7 == 0:
        attachment = base64.encodebytes(rng.randbytes(rng.randint(500, 30000))).decode().replace("\n", "\r\n")
        mark = "=_part_%d" % number
        head += ["MIME-Version: 1.0", 'Content-Type: multipart/mixed; boundary="%s"' % mark]
        body = ("--%s\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n%s--%s\r\nContent-Type: application/pdf; "
                'name="file.pdf"\r\nContent-Transfer-Encoding: base64\r\n\r\n%s--%s--\r\n' % (mark, body, mark, attachment, mark))
    else:
        head += ["MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit"]
    return ("\r\n".join(head) + "\r\n\r\n" + body).encode()


class Dovecot:
    """The server. `capability` replaces what IMAP offers after login (Dovecot's imap_capability); `cert`, `key`
    and `ca` are paths of an existing pair and its authority; `extra` is appended to the configuration."""

    host = "127.0.0.1"

    def __init__(self, directory=None, cert=None, key=None, ca=None, capability=None, extra="", port=None,
                 starttls_port=None):
        self.dir = pathlib.Path(directory or tempfile.mkdtemp(prefix="satchel-dovecot-"))
        self.dir.mkdir(parents=True, exist_ok=True)
        self.dir.chmod(0o755)
        self.owner = pwd.getpwnam("nobody") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
        if cert:
            self.cert, self.key, self.ca_pem = cert, key, pathlib.Path(ca).read_text() if ca else None
        else:
            self.authority = Authority(self.dir / "tls")
            self.cert, self.key = self.authority.issue()
            self.ca_pem = self.authority.ca_pem
        self.port, self.starttls_port = port or free_port(), starttls_port or free_port()
        self.capability, self.extra = capability, extra
        self.users, self.process = {}, None
        self.log = self.dir / "dovecot.log"
        (self.dir / "home").mkdir(exist_ok=True)
        os.chown(self.dir / "home", self.owner.pw_uid, self.owner.pw_gid)
        self._write_users()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop(remove=True)

    # -- accounts and mail ------------------------------------------------------------------------------------

    def add_user(self, login, password="secret"):
        """Adds a user or changes the password; on a running server it returns when that is in force."""
        self.users[login] = password
        home = self.home(login)
        home.mkdir(exist_ok=True)
        os.chown(home, self.owner.pw_uid, self.owner.pw_gid)
        self._write_users()
        if self.process:  # the server looks at the file once a second
            wait_for(lambda: self._lets_in(login), 10, "the password of %s in force" % login)

    def _lets_in(self, login):
        try:
            with self.client(login):
                return True
        except imaplib.IMAP4.error:
            return False

    def home(self, login):
        return self.dir / "home" / login

    def maildir(self, login, folder="INBOX"):
        """The server's own directory of a folder (Maildir++)."""
        root = self.home(login) / "Maildir"
        return root if folder == "INBOX" else root / ("." + mutf7(folder).replace("/", "."))

    def store(self, login, folder, messages, flags=""):
        """Writes messages straight into the store; the fastest way, best before start(). `flags`: Maildir letters,
        or a function of the index that gives them."""
        self._make_maildir(login, folder)
        cur = self.maildir(login, folder) / "cur"
        stamp = int(time.time())
        for i, data in enumerate(messages):
            letters = flags(i) if callable(flags) else flags
            path = cur / ("%d.M%dP%dR%08x.test:2,%s" % (stamp - 3600 + i % 3600, i, os.getpid(), random.getrandbits(32), letters))
            path.write_bytes(data)
            os.utime(path, (stamp - 86400 + i, stamp - 86400 + i))
            os.chown(path, self.owner.pw_uid, self.owner.pw_gid)

    def generate(self, login, count, folders=FOLDERS, seed=1):
        """`count` messages over `folders`, some MIME, some with UTF-8 subjects, a third of them read."""
        rng = random.Random(seed)
        for index, folder in enumerate(folders):
            numbers = range(index, count, len(folders))
            self.store(login, folder, (message(n, rng) for n in numbers), flags=lambda i: "S" if i % 3 == 0 else "")

    def deliver(self, login, folder, data, flags=None):
        """Delivers one message to a running server by APPEND; makes the folder where it is missing."""
        with self.client(login) as imap:
            name = '"%s"' % mutf7(folder)
            if folder != "INBOX":
                imap.create(name)
            result, text = imap.append(name, flags, None, data)
            if result != "OK":
                raise RuntimeError("APPEND: %r" % text)

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

    def start(self, timeout=20):
        self._write_config()
        log = open(self.dir / "stderr", "ab")
        with log:
            self.process = subprocess.Popen(["/usr/sbin/dovecot", "-F", "-c", str(self.dir / "dovecot.conf")],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        try:
            wait_for(self._answers, timeout, "the start of Dovecot")
        except AssertionError:
            self.stop(remove=False)
            raise RuntimeError("Dovecot did not start:\n" + self.log_text()) from None
        return self

    def _answers(self):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # a test may want a bad one
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
                self.process.wait(1)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None
        if remove:
            shutil.rmtree(self.dir, ignore_errors=True)

    def log_text(self):
        return "".join(p.read_text(errors="replace") for p in (self.log, self.dir / "stderr") if p.exists())

    # -- files ------------------------------------------------------------------------------------------------

    def _make_maildir(self, login, folder):
        directory = self.maildir(login, folder)
        for part in (self.home(login) / "Maildir", directory, *(directory / s for s in ("cur", "new", "tmp"))):
            if not part.exists():
                part.mkdir(mode=0o700)
                os.chown(part, self.owner.pw_uid, self.owner.pw_gid)
        if folder != "INBOX":
            (directory / "maildirfolder").touch()
            os.chown(directory / "maildirfolder", self.owner.pw_uid, self.owner.pw_gid)

    def _write_users(self):
        lines = ["%s:{PLAIN}%s:%d:%d::%s::" % (login, password, self.owner.pw_uid, self.owner.pw_gid, self.home(login))
                 for login, password in self.users.items()]
        temporary = self.dir / "users.new"
        temporary.write_text("\n".join(lines) + "\n")
        os.chmod(temporary, 0o644)
        os.replace(temporary, self.dir / "users")

    def _write_config(self):
        if os.getuid() == 0:
            identity = "first_valid_uid = 1\nfirst_valid_gid = 1\n"
        else:
            me = getpass.getuser()
            group = grp.getgrgid(os.getgid()).gr_name
            identity = ("default_internal_user = %s\ndefault_login_user = %s\ndefault_internal_group = %s\n"
                        "first_valid_uid = %d\n" % (me, me, group, os.getuid()))
        capability = "imap_capability = %s\n" % self.capability if self.capability else ""
        (self.dir / "dovecot.conf").write_text(f"""
protocols = imap
listen = {self.host}
base_dir = {self.dir}/run
state_dir = {self.dir}/run
log_path = {self.log}
{identity}
ssl = required
ssl_cert = <{self.cert}
ssl_key = <{self.key}
ssl_min_protocol = TLSv1.2
disable_plaintext_auth = yes
auth_mechanisms = plain login
auth_failure_delay = 0
mail_max_userip_connections = 100
mail_location = maildir:~/Maildir
mailbox_list_index = yes
{capability}
passdb {{
  driver = passwd-file
  args = {self.dir}/users
}}
userdb {{
  driver = passwd-file
  args = {self.dir}/users
}}
namespace inbox {{
  inbox = yes
  separator = /
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {self.starttls_port}
  }}
  inet_listener imaps {{
    port = {self.port}
    ssl = yes
  }}
}}
{self.extra}
""")
