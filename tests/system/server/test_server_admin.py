"""The admin API and satchelctl."""

import base64
import hashlib
import json
import os
import sqlite3
import subprocess
import time

import pytest

from server import CtlError, Device, Server, b64, openssl, request, sign


def local_token(server, key=None, **changes):
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 50))
    payload = {"aud": "satchel-admin", "exp": now, "sub": "local:0", **changes}
    kind = payload.pop("typ", "satchel-token")
    return "local." + b64(json.dumps(sign(payload, kind, key or server.dir / "keys/admin.pem")).encode())


def at(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


def test_tokens(server, tmp_path):
    made = server.ctl("token", "create", "ci")
    assert made["name"] == "ci" and made["token"].startswith("satchel_") and len(made["token"]) == 51
    assert server.admin("GET", "/v1/admin/users", token=made["token"])[0] == 200
    listed = server.ctl("token", "list")["tokens"]
    assert [t["name"] for t in listed] == ["ci"] and made["token"] not in json.dumps(listed)
    assert server.ctl_raw("token", "create", "ci").returncode == 4
    path = tmp_path / "token"
    printed = server.ctl_raw("--json", "token", "create", "file", "--output", path)
    assert printed.returncode == 0 and path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().strip() not in printed.stdout
    remote = ["--server", f"https://127.0.0.1:{server.admin_port}", "--token-file", str(path), "--ca", str(server.ca)]
    done = server.ctl_raw("--json", "user", "list", where=remote)
    assert done.returncode == 0 and json.loads(done.stdout)["users"]
    assert server.ctl("token", "revoke", made["id"]) == {"revoked": made["id"]}
    assert server.admin("GET", "/v1/admin/users", token=made["token"])[0] == 401
    assert server.ctl_raw("token", "revoke", made["id"]).returncode == 1
    audit = server.ctl("audit", "list")["entries"]
    assert made["token"] not in json.dumps(audit) and {"token.created", "token.revoked"} <= {e["action"] for e in audit}


def test_nothing_without_a_token(shared):
    server = shared
    other_key = server.home / "other.pem"
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", other_key)
    good = local_token(server)
    assert server.admin("GET", "/v1/admin/users", token=good)[0] == 200
    bad = [None, "x", "satchel_" + "A" * 43, "local.", "local.e30", "local." + "A" * 3000, good[:-4], good + "A",
           local_token(server, key=other_key), local_token(server, key=server.dir / "keys/signing.pem"),
           local_token(server, aud="other"), local_token(server, exp=at(-1)), local_token(server, exp=at(3600)),
           local_token(server, exp="tomorrow"), local_token(server, sub="admin"), local_token(server, sub="local:"),
           local_token(server, sub=None), local_token(server, typ="satchel-order"), local_token(server, exp=None)]
    for token in bad:
        for method, path in (("GET", "/v1/admin/users"), ("POST", "/v1/admin/tokens"), ("GET", "/metrics"),
                             ("GET", "/v1/admin/audit/verify")):
            status, headers, body = server.admin(method, path, {} if method == "POST" else None, token=token)
            assert status == 401 and headers["WWW-Authenticate"].startswith("Bearer"), (token, status)
            assert set(body) == {"type", "title", "status", "detail"}
    for header in ("Basic YTpi", "bearer", "Bearer", "Token x"):
        assert server.admin("GET", "/v1/admin/users", headers={"Authorization": header})[0] == 401
    # a device's certificate opens nothing here
    d = Device(server)
    d.enroll(server.enroll_code("anna"))
    assert request(d.context(), "127.0.0.1", server.admin_port, "GET", "/v1/admin/users")[0] == 401


def test_users(server):
    for login, address, name in (("", "a@b", "N"), ("x" * 65, "a@b", "N"), ("a b", "a@b", "N"), ("a\n", "a@b", "N"),
                                 ("b", "ab", "N"), ("b", "a@b@c", "N"), ("b", "@b", "N"), ("b", "a@", "N"),
                                 ("b", "a@b", ""), ("b", "a@b", "x" * 129), ("b", "a@b", "A\x1bB"), ("b", "a b@c", "N"),
                                 ("b", "a@b", "A\u202eB"), ("../b", "a@b", "N")):
        with pytest.raises(CtlError) as e:
            server.ctl("user", "add", f"--name={name}", f"--address={address}", "--", login)
        assert e.value.status == 4 and e.value.json["error"]["problem"]["status"] == 400, (login, address, name)
    assert server.ctl_raw("user", "add", "anna", "--address", "x@y", "--name", "N").returncode == 4  # taken
    server.add_user("zoe", name="Zoë Ünver")
    assert [u["login"] for u in server.ctl("user", "list")["users"]] == ["anna", "zoe"]


def test_import(server, tmp_path):
    path = tmp_path / "users.csv"

    def run(text):
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return server.ctl_raw("--json", "user", "import", path)

    done = run('\ufefflogin,address,name\r\nb,b@acme.example,"Bär, ""Bo"""\r\n"c","c@acme.example","C\u00e9line"\r\n\r\n')
    assert done.returncode == 0 and json.loads(done.stdout) == {"added": 2}
    names = {u["login"]: u["name"] for u in server.ctl("user", "list")["users"]}
    assert names["b"] == 'Bär, "Bo"' and names["c"] == "Céline"
    before = server.ctl("user", "list")
    for text, lines in (("login,address,name\nd,d@x,D\ne,bad,E\nf,f@x\n\"g,g@x,G\n", [3, 4, 5]), ("d,d@x,D\n", [1]), ("", [1]),
                        ("login,address,name\n", [1]), ("login,address,name\nd,d@x,D\nanna,a@x,A\n", [3]),
                        ("login,address,name\nd,d@x,D\nd,d@x,D\n", [3]), (b"login,address,name\nd,d@x,\xff\n", [2]),
                        (b"login,address,name\nd,d@x,a\0b\n", [2]), ("login,address,name\n" + "a,b,c,d,e,f,g,h,i,j\n", [2])):
        done = run(text)
        assert done.returncode == 4, text
        assert [e["line"] for e in json.loads(done.stdout)["error"]["problem"]["errors"]] == lines, text
        assert f"line {lines[0]}: " in done.stderr
    assert server.ctl("user", "list") == before
    rows = "".join(f"u{i:05},u{i}@acme.example,User {i}\n" for i in range(3000))
    assert json.loads(run("login,address,name\n" + rows).stdout) == {"added": 3000}
    assert len(server.ctl("user", "list")["users"]) == 3003  # over several pages
    assert server.ctl("audit", "verify")["ok"]


def test_profiles(server):
    good = server.profile(version=3)
    assert server.publish(good) == {"id": "acme-mail", "version": 3}
    shown = server.ctl("profile", "show")
    assert shown["profile"] == good and shown["version"] == 3 and shown["jws"]["signatures"]
    assert server.ctl("profile", "show", "3") == shown

    def incoming(**changes):
        p = server.profile(version=4)
        p["account"]["incoming"].update(changes)
        return p

    bad = [(incoming(protocol="pop3"), "/account/incoming/protocol"), (incoming(security="none"), "/account/incoming/security"),
           (incoming(port=0), "/account/incoming/port"), (incoming(host="a/b"), "/account/incoming/host"),
           (incoming(extra=1), "/account/incoming/extra"), (server.profile(version=3), "/version"),
           (server.profile(version=2), "/version"), (server.profile(version=4, colour="red"), "/colour"),
           (server.profile(version=4, **{"a/b~c": 1}), "/a~1b~0c"), (server.profile(version=4.5), "/version"),
           (server.profile(version="4"), "/version"), ({}, "/type"), (incoming(ca="x"), "/account/incoming/ca")]
    for profile, pointer in bad:
        done = server.ctl_raw("--json", "profile", "publish", "-", stdin=json.dumps(profile))
        problem = json.loads(done.stdout)["error"]["problem"]
        assert done.returncode == 4 and problem["status"] == 422
        assert pointer in [e["pointer"] for e in problem["errors"]], (pointer, problem)
        assert f"  {pointer}: " in done.stderr
    assert [p["version"] for p in server.ctl("profile", "list")["profiles"]] == [3]
    server.publish(server.profile(version=4))
    assert [p["version"] for p in server.ctl("profile", "list")["profiles"]] == [4, 3]
    for version in ("99", "0", "-1", "x", "3x", "../users"):
        assert server.ctl_raw("profile", "show", "--", version).returncode == 1
    assert server.ctl_raw("profile", "publish", "/nonexistent").returncode == 1
    assert server.ctl_raw("profile", "publish", "-", stdin="{").returncode == 4


def test_enroll_code_expiry(shared):
    server = shared
    now = time.time()
    made = server.ctl("enroll-code", "create", "anna", "--expires", "2h")
    assert set(made) >= {"link", "expires_at"}
    from datetime import datetime
    assert abs(datetime.fromisoformat(made["expires_at"].replace("Z", "+00:00")).timestamp() - now - 7200) < 60
    for text in ("0", "-1h", "x", "5y", "1hh", ""):
        assert server.ctl_raw("enroll-code", "create", "anna", f"--expires={text}").returncode == 2
    for text in ("31d", "400d"):
        assert server.ctl_raw("enroll-code", "create", "anna", f"--expires={text}").returncode == 4
    assert server.ctl_raw("enroll-code", "create", "nobody").returncode == 1


def test_ctl_usage_and_exit_statuses(server, tmp_path):
    for args, status in (([], 2), (["nothing"], 2), (["user"], 2), (["user", "add"], 2), (["user", "add", "x"], 2),
                         (["user", "list", "x"], 2), (["user", "list", "--reason", "x"], 2), (["--bogus"], 2),
                         (["wipe", "x"], 2), (["wipe", "x", "--reason", "r", "--wait", "soon"], 2),
                         (["wipe", "x", "--reason", "r"], 1), (["wipe", "x", "--reason", ""], 4), (["order", "show", "x"], 1),
                         (["device", "show", "x/../y"], 1), (["device", "show", "' OR 1=1 --"], 1)):
        done = server.ctl_raw(*args)
        assert done.returncode == status, (args, done)
        assert done.stderr.startswith("satchelctl: ") or "satchelctl" in done.stderr
    for args in (["--help"], ["user", "--help"], ["user", "add", "--help"], ["wipe", "--help"]):
        done = server.ctl_raw(*args)
        assert done.returncode == 0 and done.stdout.startswith("Usage: ") and "Exit status" in done.stdout
    assert "device" not in server.ctl_raw("user", "--help").stdout.split("\n\n")[1]
    assert server.ctl_raw("--version").stdout.startswith("satchelctl ")
    assert server.ctl_raw("user", "list", where=[]).returncode == 2
    assert server.ctl_raw("user", "list", where=["--dir", str(tmp_path)]).returncode == 1
    with Server() as other:
        token = tmp_path / "t"
        token.write_text("satchel_" + "x" * 43 + "\n")
        where = ["--server", f"https://127.0.0.1:{server.admin_port}", "--token-file", str(token), "--ca"]
        assert server.ctl_raw("user", "list", where=[*where, str(other.ca)]).returncode == 4  # another organization's CA
        assert server.ctl_raw("user", "list", where=[*where, str(server.ca)]).returncode == 4  # a token it does not know
    server.terminate()
    done = server.ctl_raw("--json", "user", "list")
    assert done.returncode == 3 and json.loads(done.stdout)["error"]["kind"] == "unreachable"
    server.start()


def test_wipe_waits(server, device):
    began = time.monotonic()
    done = server.ctl_raw("--json", "wipe", device.id, "--reason", "x", "--wait", "1")
    assert done.returncode == 3 and json.loads(done.stdout)["state"] == "pending" and time.monotonic() - began < 20
    order = json.loads(done.stdout)["id"]
    device.deliver(device.receipt(order, result="failed", reason="the disk is full"))
    done = server.ctl_raw("wipe", device.id, "--reason", "x", "--wait", "0")  # a second order
    assert done.returncode == 3 and "pending" in done.stdout
    human = server.ctl_raw("order", "show", order)
    assert human.returncode == 0 and "failed" in human.stdout and "the disk is full" in human.stdout


def test_pages(server):
    token = server.admin_token()
    for i in range(5):
        server.add_user(f"u{i}")
    status, _, page = server.admin("GET", "/v1/admin/users?limit=2", token=token)
    assert status == 200 and len(page["users"]) == 2 and page["next"] == page["users"][1]["login"]
    seen = []
    after = ""
    while after is not None:
        page = server.admin("GET", f"/v1/admin/users?limit=2&after={after}", token=token)[2]
        seen += [u["login"] for u in page["users"]]
        after = page["next"]
    assert seen == ["anna", "u0", "u1", "u2", "u3", "u4"]
    for query in ("limit=0", "limit=1001", "limit=x", "limit=-5", "after=" + "x" * 65):
        assert server.admin("GET", f"/v1/admin/users?{query}", token=token)[0] == 400
        assert server.admin("GET", f"/v1/admin/devices?{query}", token=token)[0] == 400
    for query in ("after=x", "after=-1", "limit=0"):
        assert server.admin("GET", f"/v1/admin/audit?{query}", token=token)[0] == 400
    first = server.admin("GET", "/v1/admin/audit?limit=3", token=token)[2]
    rest = server.admin("GET", f"/v1/admin/audit?after={first['next']}", token=token)[2]
    assert [e["sequence"] for e in first["entries"] + rest["entries"]] == list(range(1, 4 + len(rest["entries"])))


def test_audit_names_the_first_broken_entry(server, device):
    server.ctl("wipe", device.id, "--reason", "lost")
    verdict = server.ctl("audit", "verify")
    assert verdict["ok"] and verdict["first_broken"] is None and verdict["entries"] >= 5
    server.terminate()
    path = server.dir / "satchel.db"
    with sqlite3.connect(path) as db:
        for statement in ("UPDATE audit SET actor = 'x' WHERE sequence = 3", "DELETE FROM audit WHERE sequence = 3"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                db.execute(statement)
    db.close()
    original = path.read_bytes()
    for statement, broken in (("UPDATE audit SET detail = '{}' WHERE sequence = 3", 3),
                              ("UPDATE audit SET actor = 'local:1' WHERE sequence = 2", 2),
                              ("DELETE FROM audit WHERE sequence = 4", 4),
                              ("UPDATE audit SET at = at + 1 WHERE sequence = 1", 1),
                              ("UPDATE audit SET hash = (SELECT hash FROM audit WHERE sequence = 2) WHERE sequence = 5", 5)):
        with sqlite3.connect(path) as db:
            db.execute("DROP TRIGGER audit_update")
            db.execute("DROP TRIGGER audit_delete")
            db.execute(statement)
        db.close()
        server.start()
        done = server.ctl_raw("--json", "audit", "verify")
        assert done.returncode == 1 and json.loads(done.stdout)["first_broken"] == broken, statement
        assert f"entry {broken}" in done.stderr
        server.terminate()
        path.write_bytes(original)
    server.start()
    assert server.ctl("audit", "verify") == verdict


def test_audit_tells_who(server):
    token = server.admin_token("ci")
    server.admin("POST", "/v1/admin/users", {"login": "t", "address": "t@x", "name": "T"}, token=token)
    entries = server.ctl("audit", "list")["entries"]
    assert entries[-1]["actor"] == "token:ci" and entries[-1]["action"] == "user.added" and entries[-1]["subject"] == "t"
    assert entries[1]["actor"] == f"local:{os.getuid()}"
    # the chain, computed here again
    before = ""
    with sqlite3.connect(f"file:{server.dir}/satchel.db?mode=ro", uri=True) as db:
        for sequence, when, actor, action, subject, detail, digest in db.execute(
                "SELECT sequence, at, actor, action, subject, detail, hash FROM audit ORDER BY sequence"):
            who = json.dumps({"actor": actor, "action": action, "subject": subject}, separators=(",", ":"), ensure_ascii=False)
            text = f'{before}{{"sequence":{sequence},"at":{when},"who":{who},"detail":{detail}}}'
            before = hashlib.sha256(text.encode()).hexdigest()
            assert digest == before


def test_metrics_and_health(server, device):
    token = server.admin_token()
    text = server.admin("GET", "/metrics", token=token)[2].decode()
    assert 'satchel_devices{state="enrolled"} 1' in text and "satchel_store_commits_total" in text
    assert server.admin("GET", "/metrics")[0] == 401
    assert device.call("GET", "/metrics")[0] == 404
    for where in (server.admin("GET", "/healthz"), device.call("GET", "/healthz", certificate=False)):
        assert where[0] == 200 and where[2] == {"status": "ok"}


def test_last_seen(server, device):
    first = server.ctl("device", "show", device.id)["last_seen"]
    device.state()
    second = server.ctl("device", "show", device.id)["last_seen"]
    assert second > first
    server.terminate()
    server.start()
    assert server.ctl("device", "show", device.id)["last_seen"] == second  # flushed at the end


# -- satchel-server itself ------------------------------------------------------------------------------------------

def run_server(server, *args):
    return subprocess.run([server.binary("satchel-server"), *map(str, args)], capture_output=True, text=True, timeout=60)


def test_init_refusals(shared, tmp_path):
    server = shared
    full = ["--organization", "A", "--domain", "a.example", "--public-url", "https://a.example:8443"]
    assert run_server(server, "init", server.dir, *full).returncode == 4
    (tmp_path / "file").write_text("x")
    assert run_server(server, "init", tmp_path, *full).returncode == 4
    done = run_server(server, "init", tmp_path / "pg", *full, "--store", "postgresql://x/y")
    assert done.returncode == 4 and "SQLite only" in done.stderr and not (tmp_path / "pg").exists()
    for change in (["--organization", ""], ["--organization", "x" * 129], ["--domain", "a b"], ["--public-url", "http://a:1"],
                   ["--public-url", "https://a:99999"], ["--public-url", "https://a/b"], ["--organization", "a\nb"],
                   ["--listen", "nowhere"], ["--admin-listen", "localhost:x"], ["--bogus", "1"], ["extra"]):
        done = run_server(server, "init", tmp_path / "new", *full, *change)
        assert done.returncode == 2, (change, done)
        assert not (tmp_path / "new").exists(), change
    assert run_server(server, "init", tmp_path / "new").returncode == 2
    assert run_server(server).returncode == 2 and run_server(server, "--help").returncode == 0
    assert run_server(server, "--version").stdout.startswith("satchel-server ")
    assert run_server(server, "serve", tmp_path).returncode == 1
    assert run_server(server, "serve", tmp_path / "nothing").returncode == 1
    empty = tmp_path / "empty"
    empty.mkdir(mode=0o755)
    assert run_server(server, "init", empty, *full).returncode == 0
    assert empty.stat().st_mode & 0o777 == 0o700


def test_init_for_a_name(shared, tmp_path):
    server = shared
    done = run_server(server, "init", tmp_path / "org", "--organization", "Ä GmbH", "--domain", "a.example", "--public-url",
                      "https://satchel.a.example:8443")
    assert done.returncode == 0, done.stderr
    text = openssl("x509", "-in", tmp_path / "org/tls.pem", "-noout", "-ext", "subjectAltName").decode()
    assert "DNS:satchel.a.example" in text and "DNS:localhost" in text and "IP Address:127.0.0.1" in text
    settings = json.loads((tmp_path / "org/server.json").read_text())
    assert settings["listen"] == "0.0.0.0:8443" and settings["admin_listen"] == "127.0.0.1:8444"
    root = openssl("x509", "-in", tmp_path / "org/ca.pem", "-noout", "-text", "-nameopt", "utf8").decode()
    assert "CA:TRUE" in root and "prime256v1" in root and "Ä GmbH" in root


def test_damaged_directories(server):
    server.terminate()
    for name in ("server.json", "trust.json", "ca.pem", "keys/root.pem", "keys/signing.pem", "keys/tls.pem", "keys/admin.pem"):
        path = server.dir / name
        original = path.read_bytes()
        for damage in (None, b"", b"garbage", b"\0" * 100, original[: len(original) // 2]):
            if damage is None:
                path.unlink()
            else:
                path.write_bytes(damage)
            done = run_server(server, "serve", server.dir)
            assert done.returncode in (1, 4) and done.stderr.count("satchel-server: ") >= 1, (name, damage, done)
            assert "Sanitizer" not in done.stderr
        path.write_bytes(original)
    server.start()


def test_newer_database_is_refused(server):
    server.terminate()
    with sqlite3.connect(server.dir / "satchel.db") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    done = run_server(server, "serve", server.dir)
    assert done.returncode == 4 and "newer version" in done.stderr
    with sqlite3.connect(server.dir / "satchel.db") as db:
        db.execute("PRAGMA user_version = 1")
    db.close()
    server.start()


def test_tls_versions(shared):
    server = shared
    for port in (server.port, server.admin_port):
        for version, works in (("-tls1_1", False), ("-tls1_2", True), ("-tls1_3", True)):
            done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-cipher", "ALL:@SECLEVEL=0",
                                   version], input=b"", capture_output=True, timeout=60)
            assert (b"Cipher is (NONE)" not in done.stdout) == works, (port, version)


def test_trust_verifies_with_openssl(server, device):
    """The device API's trust document and orders, checked without our code."""
    server.ctl("wipe", device.id, "--reason", "lost")
    body = device.state()[2]
    for jws, key, kind in ((body["trust"], "root", "satchel-trust"), (body["orders"][0], "signing", "satchel-order")):
        signature = jws["signatures"][0]
        header = json.loads(base64.urlsafe_b64decode(signature["protected"] + "=="))
        assert header["alg"] == "ES256" and header["typ"] == kind and len(header) == 3
        raw = base64.urlsafe_b64decode(signature["signature"] + "==")
        der = b""
        for part in (raw[:32], raw[32:]):
            part = part.lstrip(b"\0") or b"\0"
            part = b"\0" + part if part[0] & 0x80 else part
            der += bytes([2, len(part)]) + part
        (server.home / "sig").write_bytes(bytes([0x30, len(der)]) + der)
        (server.home / "pub").write_bytes(openssl("pkey", "-in", server.dir / f"keys/{key}.pem", "-pubout"))
        openssl("dgst", "-sha256", "-verify", server.home / "pub", "-signature", server.home / "sig",
                input=f"{signature['protected']}.{jws['payload']}".encode())
