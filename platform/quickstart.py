#!/usr/bin/python3
"""The demonstration behind platform/quickstart: the three jobs, end to end, on real parts.

The process forks: the child owns every part (they die with it) and tells the parent each step; the parent prints.
With --keep the child stays behind as the owner, until --stop or SIGTERM ends it.
"""

import argparse
import contextlib
import email
import email.header
import json
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/system"))
sys.dont_write_bytecode = True

import jws  # noqa: E402
import waiting  # noqa: E402
from dovecot import Dovecot, free_port  # noqa: E402
from keyring import Session  # noqa: E402

MESSAGES = 2000
LOGIN, ADDRESS, NAME, PASSWORD = "anna", "anna@acme.example", "Anna Example", "correct horse battery"
CANARY = "Zitronenfalter"  # a word of the demonstration's messages that must be nowhere after the wipe
KEPT = pathlib.Path(tempfile.gettempdir()) / ("satchel-quickstart.%d.json" % os.getuid())


class Failed(Exception):
    pass


def wait_for(what, look, seconds=30):
    try:
        return waiting.wait_for(look, seconds, what)
    except AssertionError as e:
        raise Failed(str(e)) from None


def manifest(directory):
    """Every file below a directory with its size, time and content."""
    found = {}
    for path in sorted(pathlib.Path(directory).rglob("*")):
        if path.is_file():
            found[str(path)] = (path.stat().st_mtime_ns, path.read_bytes())
    return found


def subject(path):
    with open(path, "rb") as source:
        raw = email.message_from_binary_file(source).get("Subject", "")
    return str(email.header.make_header(email.header.decode_header(raw)))


class Demonstration:
    def __init__(self, build, tell):
        self.build = pathlib.Path(build)
        self.tell = tell  # called with (step, detail, seconds)
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="satchel-quickstart-"))
        os.chmod(self.dir, 0o755)  # Dovecot's mail is another user's when this runs as root
        self.org = self.dir / "organization"
        self.server = self.mail = self.session = None
        self.port, self.admin_port = free_port(), free_port()

    # -- running things ---------------------------------------------------------------------------------------

    def program(self, name):
        folder = {"satchel-server": "server-api/server", "satchelctl": "server-api/satchelctl"}.get(name, "agent")
        return str(self.build / folder / name)

    def run(self, *args, env=None, text=None):
        done = subprocess.run(args, env=env, input=text, capture_output=True, text=True, check=False, timeout=300)
        if done.returncode:
            raise Failed("%s ended with status %d: %s" % (" ".join(map(str, args[:3])), done.returncode,
                                                         (done.stderr or done.stdout).strip()[-1500:]))
        return done.stdout

    def ctl(self, *args):
        return json.loads(self.run(self.program("satchelctl"), "--dir", str(self.org), "--json", *args))

    def satchel(self, *args, text=None):
        return json.loads(self.run(self.program("satchel"), *args, "--json", env=self.session.env, text=text))

    @contextlib.contextmanager
    def step(self, name):
        began, detail = time.monotonic(), []
        yield detail.append
        self.tell(name, "; ".join(detail), time.monotonic() - began)

    # -- the parts --------------------------------------------------------------------------------------------

    def start_server(self):
        with self.step("The organization: keys, CA, satchel-server on SQLite") as say:
            self.run(self.program("satchel-server"), "init", str(self.org), "--organization", "Acme GmbH", "--domain",
                     "acme.example", "--public-url", "https://localhost:%d" % self.port, "--listen",
                     "127.0.0.1:%d" % self.port, "--admin-listen", "127.0.0.1:%d" % self.admin_port)
            log = open(self.dir / "server.log", "ab")
            with log:
                self.server = subprocess.Popen([self.program("satchel-server"), "serve", str(self.org)],
                                               stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            wait_for("the server's start", self.server_listens, 20)
            say("https://localhost:%d" % self.port)

    def server_listens(self):
        if self.server.poll() is not None:
            raise Failed("satchel-server ended: " + (self.dir / "server.log").read_text()[-1500:])
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.admin_port), 1).close()
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        return False

    def mail_certificate(self):
        """A certificate of the organization's own CA for its mail server."""
        key, csr, cert, ext = (self.dir / ("mail" + s) for s in (".key", ".csr", ".pem", ".ext"))
        ext.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n")
        self.run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                 key, "-out", csr, "-subj", "/CN=localhost")
        self.run("openssl", "x509", "-req", "-in", csr, "-CA", self.org / "ca.pem", "-CAkey",
                 self.org / "keys/root.pem", "-set_serial", str(int.from_bytes(os.urandom(8), "big") >> 1), "-days",
                 "30", "-extfile", ext, "-out", cert)
        return cert, key

    def start_mail(self):
        with self.step("The company's mail server: Dovecot, TLS by the organization's CA") as say:
            cert, key = self.mail_certificate()
            self.mail = Dovecot(directory=self.dir / "mail", cert=cert, key=key, ca=self.org / "ca.pem")
            self.mail.add_user(LOGIN, PASSWORD)
            self.mail.generate(LOGIN, MESSAGES)
            self.mail.start()
            self.mail.deliver(LOGIN, "INBOX", self.message("Welcome to Acme"))
            say("%d messages in 5 folders" % (MESSAGES + 1))

    def message(self, title):
        return ("From: Boss <boss@acme.example>\r\nTo: %s\r\nSubject: %s\r\nMessage-ID: <%s@acme.example>\r\n\r\n"
                "The %s is a butterfly.\r\n" % (ADDRESS, title, os.urandom(8).hex(), CANARY)).encode()

    def start_desktop(self):
        with self.step("The employee's laptop: a home, D-Bus, GNOME Keyring") as say:
            self.session = Session(directory=str(self.dir / "laptop")).start()
            personal = pathlib.Path(self.session.home) / "Documents"
            personal.mkdir()
            for i in range(20):
                (personal / ("letter-%d.txt" % i)).write_text("My own letter %d\n" % i)
            self.personal, self.before = personal, manifest(personal)
            say("20 personal files, to be found unchanged at the end")

    # -- job 2 is also how job 1 begins -----------------------------------------------------------------------

    def publish(self, version):
        profile = {
            "type": "profile", "id": "acme-mail", "version": version,
            "organization": {"name": "Acme GmbH", "support": "it@acme.example" if version > 1 else "help@acme.example"},
            "account": {"id": "work", "address": "{user.address}", "name": "{user.name}", "login": "{user.login}",
                        "incoming": {"protocol": "imap", "host": "localhost", "port": self.mail.port, "security": "tls",
                                     "ca": (self.org / "ca.pem").read_text()},
                        "authentication": "password"},
            "cache": {"keep_days": 0, "encryption": "required"},
            "clients": ["thunderbird", "mutt"] if version > 1 else ["thunderbird"],
            "policy": {"check_in_seconds": 900, "offline_lock_days": 14, "offline_wipe_days": 0}}
        path = self.dir / ("profile-%d.json" % version)
        path.write_text(json.dumps(profile, indent=2))
        self.ctl("profile", "publish", str(path))

    def job_onboarding(self):
        with self.step("Job 1. Onboarding: an admin adds the employee, publishes a profile, makes a link") as say:
            self.ctl("user", "add", LOGIN, "--address", ADDRESS, "--name", NAME)
            self.publish(1)
            link = self.ctl("enroll-code", "create", LOGIN)["link"]
            say(re.sub(r"/enroll/.*", "/enroll/...", link))
        with self.step("        satchel enroll LINK: certificate, vault, password tried, first sync") as say:
            status = self.satchel("enroll", link, "--password-stdin", text=PASSWORD + "\n")
            account = status["account"]
            self.device, self.vault = status["device"], pathlib.Path(status["vault"]["path"])
            self.agent_pid = status["agent"]["pid"]
            if account["messages"] != MESSAGES + 1:
                raise Failed("%d messages came, not %d" % (account["messages"], MESSAGES + 1))
            say("%d messages, %d folders, vault %s" % (account["messages"], account["folders"], status["vault"]["driver"]))

    def folder(self, name="INBOX"):
        return self.vault / "Mail" / name

    def messages(self, name="INBOX"):
        return [p for part in ("cur", "new") for p in (self.folder(name) / part).iterdir() if p.is_file()]

    def find(self, title):
        return next((p for p in self.messages() if subject(p) == title), None)

    def show_mail(self):
        with self.step("        The mail, as any Maildir reader sees it") as say:
            newest = sorted(self.messages(), key=lambda p: p.stat().st_mtime)[-3:]
            say(" | ".join(subject(p) for p in reversed(newest)))

    def mark_read(self):
        with self.step("        Read on the laptop, read on the server"):
            path = self.find("Welcome to Acme")
            if not path:
                raise Failed("the welcome message is not there")
            base = path.name.split(":2,")[0]
            path.rename(self.folder() / "cur" / (base + ":2,S"))
            with self.mail.client(LOGIN) as imap:
                def seen():
                    imap.select("INBOX", readonly=True)
                    return imap.search(None, "SEEN", "SUBJECT", '"Welcome to Acme"')[1][0]
                wait_for("the flag's arrival on the server", seen)

    def new_mail(self):
        with self.step("        A message that comes in on the server is on the laptop (IDLE)"):
            self.mail.deliver(LOGIN, "INBOX", self.message("Lunch at noon"))
            wait_for("the arrival of new mail", lambda: self.find("Lunch at noon"))

    def job_profile(self):
        with self.step("Job 2. Pushing settings: version 2 is published and in force on the device") as say:
            self.publish(2)
            wait_for("the new profile", lambda: self.satchel("status")["profile"]["version"] == 2)
            wait_for("the device's report", self.reported)
            say("reported by the device")

    def reported(self):
        device = self.ctl("device", "show", self.device)
        profile = (device.get("report") or device).get("profile") or {}
        return profile.get("version") == 2

    # -- job 3 ------------------------------------------------------------------------------------------------

    def job_wipe(self):
        with self.step("Job 3. Wipe: ordered, carried out, receipt with the server") as say:
            order = self.ctl("wipe", self.device, "--reason", "laptop lost", "--wait", "60")
            if order["state"] != "done":
                raise Failed("the order is %s" % order["state"])
            self.order = order
            removed = order["receipt"].get("removed", {})
            say("%d files, %.1f MB" % (removed.get("files", 0), removed.get("bytes", 0) / 1e6))
        with self.step("        The receipt's signature, checked with openssl against the device's certificate"):
            self.check_receipt()
        with self.step("        Looked for what is left: words of mail, secrets, mounts, personal files") as say:
            say("%d files searched, nothing found" % self.search())

    def check_receipt(self):
        certificate = self.ctl("device", "show", self.device)["certificate"]
        path = self.dir / "device.pem"
        path.write_text(certificate)
        self.run("openssl", "verify", "-CAfile", self.org / "ca.pem", path)
        if not jws.verifies(self.order["receipt_jws"], certificate):
            raise Failed("the receipt's signature does not verify")

    def search(self):
        searched = 0
        for path in pathlib.Path(self.session.directory).rglob("*"):
            if path.is_symlink() or not path.is_file():
                continue
            searched += 1
            content = path.read_bytes()
            for word in (CANARY, "Lunch at noon", PASSWORD):
                # The login keyring of the demonstration has its own password, which is not the mail password.
                if word.encode() in content:
                    raise Failed("%s is still found in %s" % (word, path))
        if self.vault.exists() or self.vault.with_name("vault.enc").exists():
            raise Failed("the vault is still there")
        if str(self.dir / "laptop") in pathlib.Path("/proc/self/mountinfo").read_text():
            raise Failed("a mount is still there")
        wait_for("the end of the device key", lambda: self.session.items() == [])
        if manifest(self.personal) != self.before:
            raise Failed("a personal file was changed")
        return searched

    # -- the whole --------------------------------------------------------------------------------------------

    def show(self, keep):
        self.start_server()
        self.start_mail()
        self.start_desktop()
        self.job_onboarding()
        self.show_mail()
        self.mark_read()
        self.new_mail()
        self.job_profile()
        if not keep:
            self.job_wipe()

    def usage(self):
        env = self.session.env
        names = ("HOME", "XDG_RUNTIME_DIR", "XDG_DATA_HOME", "XDG_STATE_HOME", "DBUS_SESSION_BUS_ADDRESS")
        (self.dir / "env").write_text("".join("export %s='%s'\n" % (n, env[n]) for n in names))
        return ["Everything is running. In another terminal:",
                "  . %s/env        # the employee's session" % self.dir,
                "  '%s' status" % self.program("satchel"),
                "  '%s' --dir %s device list" % (self.program("satchelctl"), self.org),
                "  '%s' --dir %s wipe %s --reason lost --wait 30" % (self.program("satchelctl"), self.org, self.device),
                "The mail: %s/Mail (for example: mutt -f %s/Mail/INBOX)" % (self.vault, self.vault),
                "To end it: platform/quickstart --stop"]

    def finish(self):
        """Ends every part and removes everything; each step whatever became of the one before."""
        parts = (self.end_agent, self.end_server, lambda: self.mail and self.mail.stop(),
                 lambda: self.session and self.session.stop(), self.unmount, lambda: shutil.rmtree(self.dir))
        for part in parts:
            try:
                part()
            except Exception:  # noqa: BLE001
                traceback.print_exc()

    def end_agent(self):
        if not self.session:
            return
        done = subprocess.run([self.program("satchel"), "status", "--json"], env=self.session.env, capture_output=True,
                              text=True, check=False, timeout=60)
        agent = json.loads(done.stdout or "{}").get("agent", {})
        if agent.get("pid"):
            pidfd = os.pidfd_open(agent["pid"])
            signal.pidfd_send_signal(pidfd, signal.SIGTERM)
            if not select.select([pidfd], [], [], 20)[0]:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.close(pidfd)

    def end_server(self):
        if self.server and self.server.poll() is None:
            self.server.terminate()
            try:
                self.server.wait(30)
            except subprocess.TimeoutExpired:
                self.server.kill()
                self.server.wait()

    def unmount(self):
        """The vault of a demonstration that was not wiped: a restart of satcheld would take it over, so it is still open."""
        vault = self.dir / "laptop/home/.local/share/satchel/vault"
        if str(vault) in pathlib.Path("/proc/self/mountinfo").read_text():
            self.run("fusermount3", "-u", "-z", vault)
            wait_for("the end of the mount", lambda: str(vault) not in pathlib.Path("/proc/self/mountinfo").read_text(), 10)


# -- parent and child -----------------------------------------------------------------------------------------


def child(options, pipe):
    """Owns the parts. Tells the parent one JSON line a step, then {"end": ...}."""
    def send(**message):
        os.write(pipe, (json.dumps(message) + "\n").encode())

    def stop(*_):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    demonstration = Demonstration(options.build, lambda name, detail, seconds: send(step=name, detail=detail, seconds=seconds))
    error, kept = None, False
    try:
        demonstration.show(options.keep)
        if options.keep:
            KEPT.unlink(missing_ok=True)
            with open(os.open(KEPT, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w", encoding="utf-8") as out:
                json.dump({"pid": os.getpid(), "directory": str(demonstration.dir)}, out)
            send(end=None, usage=demonstration.usage())
            os.close(pipe)
            kept = True
            signal.pause()
    except KeyboardInterrupt:
        error = None if kept else "interrupted"
    except Exception as e:  # noqa: BLE001
        error = str(e) if isinstance(e, Failed) else traceback.format_exc()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if error:
        with contextlib.suppress(OSError):
            log = pathlib.Path(demonstration.dir / "laptop/home/.local/state/satchel/satcheld.log")
            error += "\n--- satcheld.log\n" + log.read_text()[-3000:]
    demonstration.finish()
    if kept:
        KEPT.unlink(missing_ok=True)
    else:
        send(end=error)
    return 1 if error else 0


def parent(options, pipe, pid):
    steps, error, usage = [], "the demonstration ended without a word", []

    def show(name, detail, seconds):
        steps.append({"step": name.strip(), "detail": detail, "seconds": round(seconds, 3)})
        if not options.json:
            print("%7.2f s  %s%s" % (seconds, name, "  [%s]" % detail if detail else ""), flush=True)

    show("Debian packages", "", options.packages - options.began)
    show("Build", options.build, options.built - options.packages)
    with os.fdopen(pipe, encoding="utf-8") as lines:
        for line in lines:
            message = json.loads(line)
            if "step" in message:
                show(message["step"], message["detail"], message["seconds"])
            else:
                error, usage = message["end"], message.get("usage", [])
    if not (options.keep and not error):
        os.waitpid(pid, 0)
    total = time.time() - options.began
    if options.json:
        print(json.dumps({"ok": error is None, "error": error, "seconds": round(total, 3), "steps": steps, "usage": usage},
                         indent=2, ensure_ascii=False))
    elif error:
        print("quickstart: " + error, file=sys.stderr)
    else:
        print("\n".join(usage) if usage else "All three jobs work. %.1f s in all; nothing is left running." % total)
    return 1 if error else 0


def kept_pidfd():
    """The demonstration that an earlier --keep left running, or None. The file is ours, and so must the process be."""
    try:
        with open(os.open(KEPT, os.O_RDONLY | os.O_NOFOLLOW), encoding="utf-8") as source:
            if os.fstat(source.fileno()).st_uid != os.getuid():
                return None
            pid = int(json.load(source)["pid"])
        pidfd = os.pidfd_open(pid)
        command = pathlib.Path("/proc/%d/cmdline" % pid).read_bytes()
    except (OSError, ValueError, KeyError):
        return None
    if b"quickstart.py" in command:
        return pidfd
    os.close(pidfd)
    return None


def stop_kept():
    pidfd = kept_pidfd()
    if pidfd is None:
        print("quickstart: nothing was kept running", file=sys.stderr)
        return 1
    signal.pidfd_send_signal(pidfd, signal.SIGTERM)
    return 0 if select.select([pidfd], [], [], 90)[0] else 1


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build")
    for name in ("--began", "--packages", "--built"):
        parser.add_argument(name, type=float, default=time.time())
    for name in ("--keep", "--json", "--stop"):
        parser.add_argument(name, action="store_true")
    options = parser.parse_args()
    if options.stop:
        return stop_kept()
    if options.keep and kept_pidfd() is not None:
        print("quickstart: one is kept running already; end it with platform/quickstart --stop first", file=sys.stderr)
        return 1
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.close(reader)
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2) if options.keep else (0,):
            os.dup2(null, fd)
        os._exit(child(options, writer))
    os.close(writer)

    def forward(*_):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)

    signal.signal(signal.SIGINT, forward)
    signal.signal(signal.SIGTERM, forward)
    return parent(options, reader, pid)


if __name__ == "__main__":
    sys.exit(main())
