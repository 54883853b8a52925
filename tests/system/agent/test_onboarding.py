"""Job 1: one link, one command, and the mail is there; and what bad links, passwords, keyrings and servers get."""

import datetime
import json
import os
import pty
import select
import signal
import socket
import subprocess
import threading
import time

import pytest

from company import CANARY, PASSWORD, message
from dovecot import free_port
from laptop import Laptop
from server import Server
from waiting import wait_for


def nothing_stored(laptop):
    assert laptop.session.items() == []
    assert not (laptop.state / "device.json").exists()
    assert not laptop.ciphertext.exists()
    assert laptop.status()["state"] == "unenrolled"


def refused(laptop, link, *words):
    done = laptop.run("enroll", link, "--password-stdin", stdin=PASSWORD + "\n")
    assert done.returncode == 4, (done.returncode, done.stderr, laptop.log()[-2000:])
    for word in words:
        assert word in done.stderr.lower(), done.stderr
    nothing_stored(laptop)


def test_the_mail_is_there(company, laptop):
    login = company.employee(60)
    status = laptop.enroll(company.link(login), PASSWORD)
    assert status["state"] == "enrolled" and status["organization"] == "Acme GmbH"
    assert status["profile"] == {"id": "acme-mail", "version": company.version}
    assert status["server"]["connected"] and status["server"]["last_contact"]
    account = status["account"]
    assert account["address"] == login + "@acme.example" and account["imap"] == "ok"
    assert account["messages"] == 60 and account["folders"] == 3 and account["pending"] == 0
    assert status["vault"]["driver"] == "gocryptfs" and status["vault"]["open"] and status["vault"]["bytes"] > 0
    assert status["keyring"] == {"available": True, "locked": False}
    assert {c["id"] for c in status["clients"]} == {"thunderbird"}
    assert sum(len(laptop.messages(f)) for f in ("INBOX", "Archive/2025", "Entwürfe")) == 60
    assert laptop.session.kinds() == ["contact", "device-certificate", "device-key", "mail-credential", "vault-key"]
    assert not any(CANARY.encode() in p.read_bytes() for p in laptop.ciphertext.rglob("*") if p.is_file())


def test_mail_goes_both_ways(company, enrolled):
    laptop, login = enrolled
    company.mail.deliver(login, "INBOX", message("Fresh from the server"))
    path = wait_for(lambda: laptop.find("Fresh from the server"))
    path.rename(laptop.folder() / "cur" / (path.name.split(":2,")[0] + ":2,RS"))
    with company.mail.client(login) as imap:
        def answered():
            imap.select("INBOX", readonly=True)
            return imap.search(None, "SEEN", "ANSWERED", "SUBJECT", '"Fresh from the server"')[1][0]
        wait_for(answered)
        imap.select("INBOX")
        imap.store(imap.search(None, "SUBJECT", '"Fresh from the server"')[1][0], "+FLAGS", "\\Flagged")

    def flagged():
        found = laptop.find("Fresh from the server")  # None while it is being renamed
        return found and found.name.endswith(":2,FRS")
    wait_for(flagged)


def test_a_link_works_once(company, enrolled):
    laptop, login = enrolled
    link = company.link(login)
    with Laptop() as second, Laptop() as third:
        second.enroll(link, PASSWORD)
        refused(third, link, "already been used")


def test_bad_links(company, laptop):
    login = company.employee(3)
    link = company.link(login)
    base, fingerprint = link.split("#")
    code = base.rsplit("/", 1)[1]
    other = ("A" if fingerprint[0] != "A" else "B") + fingerprint[1:]
    refused(laptop, base + "#" + other, "fingerprint", "does not match")
    refused(laptop, link.replace(code, "A" * len(code)), "does not know the code")
    refused(laptop, link.replace(code, code[:-1]), "malformed", "code")
    refused(laptop, base, "no fingerprint")
    refused(laptop, link[:-1], "fingerprint", "cut")
    refused(laptop, link.replace("https:", "http:"), "https")
    refused(laptop, "gibberish", "malformed")
    code = company.server.ctl("enroll-code", "create", login, "--expires", "1s")
    until = datetime.datetime.fromisoformat(code["expires_at"].replace("Z", "+00:00")).timestamp()
    wait_for(lambda: time.time() > until)
    refused(laptop, code["link"], "expired")
    # None of this used the good link up.
    assert laptop.enroll(link, PASSWORD)["state"] == "enrolled"


def test_another_organizations_server(company, laptop):
    """Somebody who answers at the right address with a certificate of another organization."""
    with Server(organization="Mallory", host="localhost") as other:
        link = company.link(company.employee(3)).replace(str(company.server.port), str(other.port))
        refused(laptop, link, "certificate", "fingerprint")


def test_a_server_without_our_certificate(company, laptop):
    """A TLS server that is no satchel-server at all: the mail server's port will do."""
    link = company.link(company.employee(3)).replace(str(company.server.port), str(company.mail.port))
    refused(laptop, link, "certificate")


def test_a_stolen_root_certificate_is_not_enough(company, laptop, tmp_path):
    """The chain shows the right root, but the server's own certificate is not by it: the connection is refused."""
    import ssl
    key, cert = tmp_path / "key", tmp_path / "cert"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
                    "-out", cert, "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
                   check=True, capture_output=True)
    chain = tmp_path / "chain"
    chain.write_text(cert.read_text() + company.server.ca.read_text())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    listener = socket.create_server(("127.0.0.1", 0))
    seen = []

    def serve():
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(plain, server_side=True) as tls:
                    tls.settimeout(5)
                    seen.append(tls.recv(4096))
            except OSError:
                pass
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    link = company.link(company.employee(3)).replace(str(company.server.port), str(listener.getsockname()[1]))
    refused(laptop, link, "certificate", "not issued")
    listener.close()
    assert not any(b"enroll" in data for data in seen), "the code was sent to a stranger"


def test_nobody_answers(laptop, company):
    link = company.link(company.employee(3)).replace(str(company.server.port), str(free_port()))
    done = laptop.run("enroll", link, "--password-stdin", stdin="x\n")
    assert done.returncode == 3, done.stderr
    nothing_stored(laptop)


def test_a_wrong_password_is_not_stored(company, laptop):
    login = company.employee(9)
    done = laptop.run("enroll", company.link(login), "--password-stdin", stdin="wrong\nworse\nworst\n" + PASSWORD + "\n")
    assert done.returncode == 4, done.stderr
    assert "3 times" in done.stderr
    assert "mail-credential" not in laptop.session.kinds()
    status = laptop.status()
    assert status["state"] == "enrolled" and status["account"]["imap"] == "no-credential"
    # The employee finds the right one later.
    assert laptop.satchel("enroll", "--password-stdin", stdin="wrong\n" + PASSWORD + "\n")["account"]["messages"] == 9
    assert "mail-credential" in laptop.session.kinds()
    again = laptop.run("password", "--password-stdin", stdin="wrong\n")
    assert again.returncode == 4
    assert laptop.session.secret("mail-credential") is not None
    laptop.wait_status(lambda s: s["account"]["imap"] == "ok")


def test_the_password_is_asked_without_echo(company, laptop):
    login = company.employee(9)
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(laptop.command()[0], laptop.command("enroll", company.link(login)), laptop.environment())
    screen = b""

    def read_until(text, seconds=60):
        nonlocal screen
        while text not in screen:
            assert select.select([terminal], [], [], seconds)[0], screen
            try:
                data = os.read(terminal, 4096)
            except OSError:
                break
            screen += data
        assert text in screen, screen

    read_until(b"Mail password for " + login.encode())
    os.write(terminal, b"not-this-one\n")
    read_until(b"Mail password for", 60)
    screen = screen.rpartition(b"Mail password for")[0]
    read_until(b"Mail password for")
    os.write(terminal, PASSWORD.encode() + b"\n")
    read_until(b"9 messages in 3 folders")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0, screen
    assert PASSWORD.encode() not in screen and b"not-this-one" not in screen


def test_no_keyring(company):
    link = company.link(company.employee(3))
    with Laptop(service=False) as laptop:
        done = laptop.run("enroll", link, "--password-stdin", stdin=PASSWORD + "\n")
        assert done.returncode == 1, done.stderr
        assert "keyring" in done.stderr
        assert not (laptop.state / "device.json").exists() and not laptop.ciphertext.exists()
        laptop.session.start_service()
        assert laptop.enroll(link, PASSWORD)["state"] == "enrolled"


def test_a_locked_keyring(company, laptop):
    link = company.link(company.employee(3))
    laptop.session.lock()
    done = laptop.run("enroll", link, "--password-stdin", stdin=PASSWORD + "\n")
    assert done.returncode == 1, done.stderr
    assert "locked" in done.stderr and "nlock" in done.stderr
    assert not (laptop.state / "device.json").exists()
    assert laptop.status()["keyring"] == {"available": True, "locked": True}


def test_no_fuse(company, laptop, tmp_path):
    """Without gocryptfs and fusermount3 there is no vault: said before the link is used up."""
    link = company.link(company.employee(3))
    for program in ("env",):
        os.symlink("/usr/bin/" + program, tmp_path / program)
    laptop.extra = {"PATH": str(tmp_path)}
    done = laptop.run("enroll", link, "--password-stdin", stdin=PASSWORD + "\n")
    assert done.returncode == 1, done.stderr
    assert "gocryptfs" in done.stderr or "FUSE" in done.stderr
    assert laptop.session.items() == []
    laptop.stop()
    laptop.extra = {}
    assert laptop.enroll(link, PASSWORD)["state"] == "enrolled"


def test_enrolled_already(company, enrolled):
    laptop, login = enrolled
    done = laptop.run("enroll", company.link(login), "--password-stdin", stdin="x\n")
    assert done.returncode == 1 and "already enrolled" in done.stderr


def test_no_secret_is_seen(company, laptop):
    """Arguments, environments, logs, the state directory and the server's database, looked at while everything runs."""
    login = company.employee(9)
    link = company.link(login)
    code = link.split("/enroll/")[1].split("#")[0]
    status = laptop.enroll(link, PASSWORD)
    laptop.run("sync", "--wait")
    secrets = {PASSWORD, code} | {laptop.session.secret(kind) for kind in ("vault-key", "device-key")}
    assert None not in secrets
    needles = [s.strip().splitlines()[len(s.strip().splitlines()) // 2].encode() for s in secrets]
    ours = [p for p in os.listdir("/proc") if p.isdigit() and laptop.session.directory in environment(p)]
    assert str(status["agent"]["pid"]) in ours
    places = {}
    for pid in ours:
        for name in ("cmdline", "environ"):
            try:
                with open("/proc/%s/%s" % (pid, name), "rb") as source:
                    places["/proc/%s/%s" % (pid, name)] = source.read()
            except OSError:
                pass
    for root in (laptop.state, company.server.dir):
        for path in root.rglob("*"):
            if path.is_file() and path.parent.name != "keys":
                places[str(path)] = path.read_bytes()
    places["server log"] = company.server.log().encode()
    for place, content in places.items():
        for needle in needles:
            assert needle not in content, "%s is in %s" % (needle[:8], place)


def environment(pid):
    try:
        with open("/proc/%s/environ" % pid, "rb") as source:
            return source.read().decode(errors="replace")
    except OSError:
        return ""


def test_help_and_usage(laptop):
    assert laptop.run("--help").returncode == 0
    assert laptop.run("--version").stdout.startswith("satchel ")
    for verb in ("enroll", "status", "sync", "password", "activity", "leave"):
        done = laptop.run(verb, "--help")
        assert done.returncode == 0 and verb in done.stdout
    assert laptop.run("nonsense").returncode == 2
    assert laptop.run("status", "nonsense").returncode == 2
    assert laptop.run("enroll", "a", "b").returncode == 2
    error = laptop.run("enroll", "gibberish", "--json")
    assert error.returncode == 4 and json.loads(error.stdout)["error"]["name"] == "refused"
    assert laptop.run("sync").returncode == 1
    assert laptop.run("leave").returncode == 1


def test_status_without_an_agent(company, laptop):
    """On an enrolled device it starts the agent, on another one there is nothing to start."""
    assert laptop.status() == {"state": "unenrolled", "agent": {"running": False}}
    assert laptop.agent_pid() is None
    login = company.employee(3)
    laptop.enroll(company.link(login), PASSWORD)
    assert laptop.stop()
    assert laptop.status()["state"] == "enrolled" and laptop.agent_pid()


def test_a_keyring_locked_at_the_start(company, enrolled):
    """Fails closed, says so, and goes on when it is unlocked; the mail that is there stays."""
    laptop, login = enrolled
    laptop.stop()
    laptop.session.lock()
    laptop.start()
    status = laptop.wait_status(lambda s: s["keyring"]["locked"] and s.get("problem"))
    assert "locked" in status["problem"] and not status["server"]["connected"]
    laptop.session.stop_service()
    laptop.session.start_service()
    laptop.wait_status(lambda s: s["account"]["imap"] == "ok" and s["server"]["connected"], 60)


def test_a_mail_child_that_dies_is_started_again(company, enrolled):
    """Killed five times, each time as soon as it is back; each time it comes back a little later."""
    laptop, login = enrolled
    for _ in range(5):
        pid = laptop.agent_pid()
        child = wait_for(lambda: subprocess.run(["pgrep", "-P", str(pid), "-f", "role=mail"], capture_output=True, text=True,
                                                check=False).stdout.split())
        os.kill(int(child[0]), signal.SIGKILL)
        wait_for(lambda: not os.path.exists("/proc/%s/stat" % child[0]))
    company.mail.deliver(login, "INBOX", message("After five deaths"))
    wait_for(lambda: laptop.find("After five deaths"), 60)
    laptop.wait_status(lambda s: s["account"]["imap"] == "ok")


def test_a_vault_whose_server_died(company, enrolled):
    """gocryptfs is killed: the agent opens the vault again, and nothing is taken for a deletion."""
    laptop, login = enrolled
    subprocess.run(["pkill", "-KILL", "-f", "gocryptfs.*" + str(laptop.ciphertext)], check=True)
    company.mail.deliver(login, "INBOX", message("After the vault died"))
    wait_for(lambda: laptop.vault_is_usable() and laptop.find("After the vault died"), 60)
    assert laptop.satchel("sync", "--wait")["messages"] == 31
    with company.mail.client(login) as imap:
        imap.select("INBOX", readonly=True)
        assert len(imap.search(None, "ALL")[1][0].split()) == 11


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_takes_the_vault_over(company, enrolled, sig):
    laptop, login = enrolled
    reader = next(iter(laptop.messages())).open("rb")
    first = reader.read(4)
    laptop.signal(sig)
    assert laptop.mounts() == [str(laptop.vault)]
    laptop.start()
    laptop.wait_status(lambda s: s["account"]["imap"] == "ok" and s["server"]["connected"])
    assert first and reader.read(), "the vault was pulled from under a reader"
    reader.close()
    assert "took over" in laptop.log()
    company.mail.deliver(login, "INBOX", message("After the restart"))
    wait_for(lambda: laptop.find("After the restart"))


def test_many_at_once(company, enrolled):
    """A hundred terminals ask; and after a stop several start the agent at the same time: one does, all are answered."""
    laptop, _ = enrolled

    def ask(n):
        asked = [subprocess.Popen(laptop.command("status", "--json"), env=laptop.environment(), stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE) for _ in range(n)]
        answers = [(one.communicate(timeout=120), one.returncode) for one in asked]
        assert all(status == 0 for _, status in answers), [a for a in answers if a[1]][:3]
        return {json.loads(out)["agent"]["pid"] for (out, _), _ in answers}
    assert len(ask(100)) == 1
    laptop.stop()
    assert len(ask(4)) == 1


def test_output_that_cannot_be_written(laptop):
    with open("/dev/full", "w", encoding="ascii") as full:
        for args in (["status"], ["status", "--json"], ["--help"], ["--version"]):
            done = subprocess.run(laptop.command(*args), env=laptop.environment(), stdout=full, stderr=subprocess.PIPE, check=False)
            assert done.returncode == 1 and done.stderr


def test_an_enrollment_that_is_cut_off_leaves_nothing(company, laptop):
    """SIGKILL while the server is silent: the key that was made goes at the next start, and the link is still good."""
    link = company.link(company.employee(3))
    silent = socket.create_server(("127.0.0.1", 0))
    asking = subprocess.Popen(laptop.command("enroll", link.replace(str(company.server.port), str(silent.getsockname()[1])),
                                             "--password-stdin"), env=laptop.environment(), stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: "device-key" in laptop.session.kinds())
    laptop.kill()
    assert asking.wait(30) != 0
    silent.close()
    laptop.start()
    wait_for(lambda: laptop.session.items() == [])
    nothing_stored(laptop)
    assert laptop.enroll(link, PASSWORD)["state"] == "enrolled"
    assert not (laptop.state / "enrolling").exists()
