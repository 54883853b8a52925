"""Job 2: an admin publishes a profile and every device follows; what an agent refuses; a server that is away."""

import json
import socket
import sqlite3
import threading
import time

import pytest

import server as servers
from company import PASSWORD, message
from waiting import wait_for


def put_profile(company, version, jws):
    """Into the database of a stopped server: what only somebody who broke into it could do."""
    company.server.terminate()
    with sqlite3.connect(company.server.dir / "satchel.db") as db:
        db.execute("INSERT OR REPLACE INTO profiles (version, id, jws, published_at, published_by) VALUES (?, 'acme-mail', ?, 1, 'x')",
                   (version, json.dumps(jws)))
        db.execute("DELETE FROM profiles WHERE version > ?", (version,))
    db.close()
    company.server.start()


def test_published_and_in_force_within_a_second(company, enrolled):
    laptop, _ = enrolled
    began = time.monotonic()
    version = company.publish()
    laptop.wait_status(lambda s: s["profile"]["version"] == version)
    print("in force after %.3f s" % (time.monotonic() - began))
    device = laptop.status()["device"]
    wait_for(lambda: (company.server.ctl("device", "show", device)["report"]["profile"] or {}).get("version") == version)
    laptop.wait_status(lambda s: s["account"]["imap"] == "ok")


def test_a_profile_moves_the_account(company, enrolled):
    """The new profile names STARTTLS on another port: mail goes on there, with the password that is there."""
    laptop, login = enrolled
    version = company.publish(port=company.mail.starttls_port, security="starttls")
    laptop.wait_status(lambda s: s["profile"]["version"] == version and s["account"]["imap"] == "ok")
    company.mail.deliver(login, "INBOX", message("Over the other port"))
    wait_for(lambda: laptop.find("Over the other port"))
    company.publish()


def forged(company, version, **kind):
    """Profiles that an agent must refuse, each with a word of the reason."""
    good = company.profile(version)
    pop = company.profile(version)
    pop["account"]["incoming"]["protocol"] = "pop3"
    plain = company.profile(version)
    plain["account"]["incoming"]["security"] = "none"
    critical = dict(company.profile(version), calendar={"url": "x"}, critical=["calendar"])
    key, other = company.server.dir / "keys/signing.pem", company.server.dir / "keys/tls.pem"
    bare = servers.sign(good, "satchel-profile", key)
    return {"pop": (servers.sign(pop, "satchel-profile", key), "POP"),
            "no-tls": (servers.sign(plain, "satchel-profile", key), "TLS"),
            "critical": (servers.sign(critical, "satchel-profile", key), "critical"),
            "wrong-key": (servers.sign(good, "satchel-profile", other), "signature"),
            "wrong-type": (servers.sign(good, "satchel-order", key), "signature"),
            "no-signature": (dict(bare, signatures=[]), "signature"),
            "altered": (dict(bare, payload=servers.b64(json.dumps(dict(good, id="evil")).encode())), "signature")}


@pytest.mark.parametrize("kind", ["pop", "no-tls", "critical", "wrong-key", "wrong-type", "no-signature", "altered"])
def test_refused_by_the_agent(company, enrolled, kind):
    laptop, login = enrolled
    before = laptop.status()["profile"]
    company.version += 1
    jws, word = forged(company, company.version)[kind]
    put_profile(company, company.version, jws)
    status = laptop.wait_status(lambda s: s.get("profile_problem"), 30)
    assert status["profile"] == before and word in status["profile_problem"]["text"]
    assert status["profile_problem"]["version"] == company.version
    device = status["device"]
    wait_for(lambda: (company.server.ctl("device", "show", device)["report"] or {}).get("profile_problem"), 30)
    assert any(e["what"] == "refused" for e in laptop.satchel("activity"))
    company.mail.deliver(login, "INBOX", message("Mail goes on " + kind))
    wait_for(lambda: laptop.find("Mail goes on " + kind))
    version = company.publish()
    laptop.wait_status(lambda s: s["profile"]["version"] == version and "profile_problem" not in s)


def test_a_lower_version_is_refused(company, enrolled):
    laptop, _ = enrolled
    before = laptop.status()["profile"]["version"]
    lower = servers.sign(company.profile(before - 1), "satchel-profile", company.server.dir / "keys/signing.pem")
    put_profile(company, before - 1, lower)
    status = laptop.wait_status(lambda s: s.get("profile_problem"), 30)
    assert status["profile"]["version"] == before and "not higher" in status["profile_problem"]["text"]
    laptop.kill()
    laptop.start()
    laptop.wait_status(lambda s: s["profile"]["version"] == before)
    company.version = before
    version = company.publish()
    laptop.wait_status(lambda s: s["profile"]["version"] == version and "profile_problem" not in s)


def test_unknown_keys_are_ignored(company, enrolled):
    laptop, _ = enrolled
    company.version += 1
    newer = dict(company.profile(company.version), calendar={"url": "https://calendar.acme.example"})
    put_profile(company, company.version, servers.sign(newer, "satchel-profile", company.server.dir / "keys/signing.pem"))
    laptop.wait_status(lambda s: s["profile"]["version"] == company.version, 30)


def test_a_damaged_stored_profile_is_fetched_again(company, enrolled):
    laptop, _ = enrolled
    laptop.kill()
    text = (laptop.state / "profile.json").read_text()
    (laptop.state / "profile.json").write_text(text.replace('"signature":"', '"signature":"AA', 1))
    laptop.start()
    laptop.wait_status(lambda s: s["profile"] and s["account"]["imap"] == "ok", 30)


def test_server_down(company, enrolled):
    laptop, login = enrolled
    company.server.terminate()
    status = laptop.wait_status(lambda s: not s["server"]["connected"])
    assert status["server"]["disconnected_since"] and status["server"]["text"]
    human = laptop.run("status").stdout
    assert "NOT reachable since " + status["server"]["disconnected_since"][:16] in human
    company.mail.deliver(login, "INBOX", message("The server is away"))
    wait_for(lambda: laptop.find("The server is away"))
    company.server.start()
    laptop.wait_status(lambda s: s["server"]["connected"], 60)


def test_mail_server_down_and_back(company, enrolled):
    laptop, login = enrolled
    company.mail.stop()
    laptop.wait_status(lambda s: s["account"]["imap"] == "unreachable")
    company.mail.start()
    laptop.wait_status(lambda s: s["account"]["imap"] == "ok", 60)


def test_mail_server_that_sends_rubbish(company, enrolled):
    """The account shows it, the mail child does not die in a loop, and it recovers."""
    import ssl
    laptop, _ = enrolled
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(company.mail.cert, company.mail.key)
    listener = socket.create_server(("127.0.0.1", 0))
    calls = []

    def serve():
        while True:
            try:
                plain, _ = listener.accept()
                calls.append(time.monotonic())
                with context.wrap_socket(plain, server_side=True) as tls:
                    tls.sendall(b"* OK \xff\xfe{99999999999999}\r\n" + b"(" * 100000 + b"\r\n")
                    tls.settimeout(2)
                    tls.recv(1000)
            except OSError:
                if listener.fileno() < 0:
                    return
    threading.Thread(target=serve, daemon=True).start()
    company.publish(port=listener.getsockname()[1])
    status = laptop.wait_status(lambda s: s["account"]["imap"] in ("protocol-error", "unreachable") and s["account"].get("text"), 30)
    print(status["account"])
    wait_for(lambda: len(calls) >= 2, 60)
    assert len(calls) < 10
    assert laptop.log().count("the mail child ended") <= 2
    listener.close()
    version = company.publish()
    laptop.wait_status(lambda s: s["profile"]["version"] == version and s["account"]["imap"] == "ok", 60)


def test_the_credential_goes_bad(company, laptop):
    login = company.employee(6)
    laptop.enroll(company.link(login), PASSWORD)
    company.mail.add_user(login, "changed-by-it")
    laptop.run("sync", "--wait")
    company.mail.stop()
    company.mail.start()
    laptop.wait_status(lambda s: s["account"]["imap"] == "auth-failed", 60)
    assert laptop.run("password", "--password-stdin", stdin="changed-by-it\n").returncode == 0
    laptop.wait_status(lambda s: s["account"]["imap"] == "ok", 30)


def test_the_signing_key_changes(company, enrolled):
    """A trust document of a higher version, by the root key, names another key: profiles by it are taken, by the old one not."""
    laptop, _ = enrolled
    keys = company.server.dir / "keys"
    old = company.server.dir / "old-signing.pem"
    old.write_bytes((keys / "signing.pem").read_bytes())
    company.server.terminate()
    servers.openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", keys / "signing.pem")
    spki = servers.openssl("pkey", "-in", keys / "signing.pem", "-pubout", "-outform", "DER")
    trust = {"type": "trust", "version": 2, "organization": {"name": "Acme GmbH"}, "thresholds": {"profile": 1, "order": 1},
             "keys": [{"kid": servers.fingerprint(keys / "signing.pem"), "spki": servers.b64(spki), "uses": ["profile", "order"]}]}
    (company.server.dir / "trust.json").write_text(json.dumps(servers.sign(trust, "satchel-trust", keys / "root.pem")))
    company.server.start()
    version = company.publish()
    laptop.wait_status(lambda s: s["profile"]["version"] == version, 60)
    assert any(e["what"] == "trust" for e in laptop.satchel("activity"))
    company.version += 1
    put_profile(company, company.version, servers.sign(company.profile(company.version), "satchel-profile", old))
    status = laptop.wait_status(lambda s: s.get("profile_problem"), 60)
    assert status["profile"]["version"] == version and "signature" in status["profile_problem"]["text"]
    version = company.publish()
    laptop.wait_status(lambda s: s["profile"]["version"] == version and "profile_problem" not in s, 60)
