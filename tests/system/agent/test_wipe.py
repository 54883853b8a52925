"""Job 3: wiped, provably; killed anywhere it ends the same; nothing but a signed order erases."""

import base64
import json
import os
import pathlib
import random
import select
import subprocess
import time

import pytest

import jws
import laptop as laptops
from company import CANARY, PASSWORD
from waiting import wait_for


def manifest(directory):
    return {str(p): (p.lstat().st_mtime_ns, p.read_bytes()) for p in sorted(pathlib.Path(directory).rglob("*")) if p.is_file()}


def personal_files(laptop):
    """Some of the employee's own files, one of them linked to from inside the vault and the ciphertext directory."""
    mine = laptop.home / "Documents"
    mine.mkdir()
    for i in range(5):
        (mine / ("letter %d" % i)).write_text("my own %d" % i)
    os.symlink(mine, laptop.vault / "link")
    os.symlink(mine, laptop.ciphertext / "planted")
    os.symlink(mine / "letter 1", laptop.ciphertext / "planted-file")
    os.link(mine / "letter 2", laptop.ciphertext / "planted-hard")
    return mine


def nothing_left(laptop, mine, before):
    assert laptop.mounts() == []
    assert not laptop.vault.exists() and not laptop.ciphertext.exists()
    assert laptop.session.items() == []
    for root in (laptop.home, pathlib.Path(laptop.session.runtime), pathlib.Path(laptop.session.directory)):
        for path in root.rglob("*"):
            if path.is_file() and not path.is_symlink():
                content = path.read_bytes()
                assert CANARY.encode() not in content and PASSWORD.encode() not in content, path
    for path in pathlib.Path("/tmp").iterdir():
        if path.is_file() and path.stat().st_uid == os.getuid() and path.stat().st_size < 1 << 20:
            assert CANARY.encode() not in path.read_bytes() or "satchel" not in path.name, path
    assert manifest(mine) == before
    busy = subprocess.run(["pgrep", "-f", "gocryptfs.*" + str(laptop.ciphertext)], capture_output=True, text=True, check=False)
    assert busy.stdout == "", busy.stdout


def verified(company, order, device):
    return company.verified(order, device)


def wait_order(company, order, seconds=60):
    return company.ended(order, seconds)


def test_wipe(company, enrolled):
    laptop, _ = enrolled
    mine = personal_files(laptop)
    before, device = manifest(mine), laptop.status()["device"]
    assert laptop.status()["vault"]["driver"] == "fscrypt" or "SATCHEL_IMAGE" not in os.environ
    order = company.server.ctl("wipe", device, "--reason", "lost on the train", "--wait", "60")
    receipt = verified(company, order, device)
    assert receipt["removed"]["files"] > 30
    laptop.wait_status(lambda s: s["state"] == "unenrolled")
    nothing_left(laptop, mine, before)
    told = laptop.satchel("activity")
    assert any("lost on the train" in e["text"] for e in told) and any(e["what"] == "unenrolled" for e in told)
    assert company.server.ctl("device", "show", device)["state"] == "wiped"
    # A wiped device may be enrolled anew, and nothing old applies to it.
    login = company.server.ctl("device", "show", device)["login"]
    again = laptop.enroll(company.link(login), PASSWORD)
    assert again["state"] == "enrolled" and again["device"] != device and again["account"]["messages"] == 30


def memory_has(pid, secrets):
    """Which of the secrets are in the writable memory of a process."""
    found = set()
    with open("/proc/%d/maps" % pid, encoding="utf-8", errors="replace") as maps, open("/proc/%d/mem" % pid, "rb", buffering=0) as memory:
        for line in maps:
            places, rights = line.split()[:2]
            start, end = (int(x, 16) for x in places.split("-"))
            if not rights.startswith("rw") or end - start > 1 << 30:
                continue
            try:
                memory.seek(start)
                content = memory.read(end - start)
            except (OSError, OverflowError):
                continue
            found |= {name for name, secret in secrets.items() if secret in content}
    return found


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to read the memory of a process that forbids it")
def test_nothing_is_left_in_memory(company):
    """Neither password nor key nor mail, in the process that stays. AddressSanitizer keeps what was freed: the other build."""
    with laptops.Laptop(build=laptops.RELEASE) as laptop:
        laptop.enroll(company.link(company.employee()), PASSWORD)
        nothing_in_memory(company, laptop)


def nothing_in_memory(company, laptop):
    key = subprocess.run(["secret-tool", "lookup", "application", "satchel", "kind", "vault-key"], env=laptop.env, capture_output=True,
                         check=True).stdout
    assert len(key) >= 32
    secrets = {"password": PASSWORD.encode(), "mail": CANARY.encode(), "key": key[:32],
               "passphrase": base64.urlsafe_b64encode(key[:32]).rstrip(b"="), "device": laptop.status()["device"].encode()}
    assert "device" in memory_has(laptop.agent_pid(), secrets)  # the search finds what is there
    device = laptop.status()["device"]
    order = company.server.ctl("wipe", device, "--reason", "lost", "--wait", "60")
    verified(company, order, device)
    assert memory_has(laptop.agent_pid(), secrets) <= {"device"}


def test_a_running_reader_loses_the_mail(company, enrolled):
    """A program with an open file, a working directory and a child in the vault."""
    laptop, _ = enrolled
    reader = subprocess.Popen(["sh", "-c", "exec 9<\"$1\"; cd \"$2\"; sleep 1000 & wait", "sh", str(laptop.messages()[0]),
                               str(laptop.folder())], start_new_session=True)
    wait_for(lambda: os.path.exists("/proc/%d/fd/9" % reader.pid))
    device = laptop.status()["device"]
    order = company.server.ctl("wipe", device, "--reason", "lost", "--wait", "60")
    verified(company, order, device)
    assert reader.wait(10) == -9


def test_killed_anywhere_it_ends_the_same(company, laptop):
    """SIGKILL of satcheld as soon as the wipe's journal has so and so many steps, again and again, then a last start."""
    rng = random.Random(20261125)
    mine = before = None
    for round_number in range(6):
        login = company.employee(30)
        laptop.enroll(company.link(login), PASSWORD)
        if mine is None:
            mine = personal_files(laptop)
            before = manifest(mine)
        device = laptop.status()["device"]
        order = company.server.ctl("wipe", device, "--reason", "round %d" % round_number)["id"]
        kills = 0
        for steps in sorted(rng.sample(range(1, 9), 3)):
            if kill_at(laptop, steps):
                kills += 1
                laptop.start()
        finished = wait_order(company, order)
        verified(company, finished, device)
        laptop.wait_status(lambda s: s["state"] == "unenrolled")
        nothing_left(laptop, mine, before)
        print("round %d: killed %d times" % (round_number, kills))


def kill_at(laptop, steps):
    """Kills satcheld once the journal lists that many steps. False when the wipe was over before."""
    journal = laptop.state / "wipe.json"
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if len(json.loads(journal.read_text()).get("steps", [])) >= steps:
                return laptop.kill()
        except (FileNotFoundError, json.JSONDecodeError):
            if not (laptop.state / "device.json").exists():
                return False
        select.select([], [], [], 0.001)
    raise AssertionError("the journal never had %d steps" % steps)


def test_server_away_during_the_wipe(company, enrolled):
    """The receipt is delivered when the server is back, even after a restart of the device."""
    laptop, _ = enrolled
    device = laptop.status()["device"]
    order = company.server.ctl("wipe", device, "--reason", "lost")["id"]
    company.server.terminate()
    laptop.wait_status(lambda s: s["state"] in ("wiped", "unenrolled"))
    laptop.kill()
    assert laptop.mounts() == [] and not laptop.ciphertext.exists()
    company.server.start()
    laptop.start()
    verified(company, wait_order(company, order), device)
    laptop.wait_status(lambda s: s["state"] == "unenrolled")
    assert laptop.session.items() == []


def test_keyring_away_during_the_wipe(company, enrolled):
    """What the keyring holds cannot be removed: never called done; unreadable all the same; done when it is back."""
    laptop, _ = enrolled
    device = laptop.status()["device"]
    laptop.session.kill_service()
    order = company.server.ctl("wipe", device, "--reason", "lost")["id"]
    wait_for(lambda: not laptop.ciphertext.exists() and laptop.mounts() == [], 60)
    assert company.server.ctl("order", "show", order)["state"] in ("pending", "delivered", "failed")
    laptop.session.start_service()
    verified(company, wait_order(company, order, 120), device)
    laptop.wait_status(lambda s: s["state"] == "unenrolled", 30)
    assert laptop.session.items() == []


@pytest.mark.parametrize("planted", ["directory", "dangling link", "occupied names"])
def test_something_in_the_journals_place(company, enrolled, planted):
    """A name that is taken in the state directory does not save the mail."""
    laptop, _ = enrolled
    journal = laptop.state / "wipe.json"
    if planted == "dangling link":
        journal.symlink_to("nowhere")
    else:
        journal.mkdir()
    if planted == "occupied names":
        (laptop.state / "wipe.json.bad").mkdir()
        (laptop.state / "wipe.json.bad" / "x").touch()
    device = laptop.status()["device"]
    order = company.server.ctl("wipe", device, "--reason", "lost", "--wait", "60")
    verified(company, order, device)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, for a small file system")
def test_full_disk(company, laptop):
    """No room for the journal: the mail is unreadable and gone all the same, done when there is room for the receipt."""
    laptop.state.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", laptop.state], check=True)
    try:
        login = company.employee(9)
        device = laptop.enroll(company.link(login), PASSWORD)["device"]
        with open(laptop.state / "filler", "wb", buffering=0) as filler:
            try:
                while filler.write(b"x" * 4096):
                    pass
            except OSError:
                pass
        order = company.server.ctl("wipe", device, "--reason", "lost")["id"]
        wait_for(lambda: not laptop.ciphertext.exists() and str(laptop.vault) not in laptop.mounts(), 30)
        assert company.server.ctl("order", "show", order)["state"] == "delivered"
        assert not {"vault-key", "mail-credential"} & set(laptop.session.kinds())
        (laptop.state / "filler").unlink()
        verified(company, wait_order(company, order, 90), device)
        laptop.wait_status(lambda s: s["state"] == "unenrolled")
    finally:
        laptop.stop()
        subprocess.run(["umount", laptop.state], check=False)


def test_leave(company, enrolled):
    laptop, _ = enrolled
    mine = personal_files(laptop)
    before, device = manifest(mine), laptop.status()["device"]
    assert laptop.run("leave").returncode == 0
    laptop.wait_status(lambda s: s["state"] == "unenrolled")
    nothing_left(laptop, mine, before)
    wait_for(lambda: company.server.ctl("device", "show", device)["state"] == "left")
    assert any(e["what"] == "leave" for e in laptop.satchel("activity"))


@pytest.mark.parametrize("fault", ["wrong-key", "other-device", "wrong-type", "unknown-kind"])
def test_only_a_signed_order_for_this_device_erases(company, enrolled, fault):
    laptop, _ = enrolled
    device = laptop.status()["device"]
    payload = {"type": "order", "id": "forged" + fault.replace("-", ""), "device": device, "sequence": 7, "kind": "wipe", "reason": "evil",
               "ordered_at": "2026-11-25T10:00:00.000Z"}
    key, kind = "signing.pem", "satchel-order"
    if fault == "wrong-key":
        key = "tls.pem"
    elif fault == "other-device":
        payload["device"] = "another"
    elif fault == "wrong-type":
        kind = "satchel-profile"
    else:
        payload["kind"] = "explode"
    company.put_order(device, payload, key, kind)
    wait_for(lambda: company.server.ctl("order", "show", payload["id"])["state"] == "refused", 30)
    status = laptop.status()
    assert status["state"] == "enrolled" and status["vault"]["open"]
    assert len(laptop.messages()) == 10
    assert any(e["what"] == "refused" for e in laptop.satchel("activity"))


@pytest.mark.parametrize("content", ['{"cause":{"kind":"order"}}', "rubbish", "{}", ""])
def test_a_planted_journal_erases_nothing(company, enrolled, content):
    laptop, _ = enrolled
    laptop.kill()
    (laptop.state / "wipe.json").write_text(content)
    laptop.start()
    laptop.wait_status(lambda s: s["account"]["imap"] == "ok")
    assert len(laptop.messages()) == 10 and not (laptop.state / "wipe.json").exists()


def test_a_revoked_or_silent_server_erases_nothing(company, enrolled):
    """Whatever the server answers but a signed order, the mail stays."""
    laptop, _ = enrolled
    device = laptop.status()["device"]
    company.sql(("UPDATE certificates SET revoked_at = 1 WHERE device = ?", device))
    laptop.wait_status(lambda s: not s["server"]["connected"] and s["server"].get("text"), 60)
    assert laptop.status()["state"] == "enrolled" and len(laptop.messages()) == 10


def test_an_order_that_crosses_a_leave(company, enrolled):
    """The employee leaves while the server is away; an order given before the receipt arrives is done by it."""
    laptop, _ = enrolled
    device = laptop.status()["device"]
    laptop.stop()
    order = company.server.ctl("wipe", device, "--reason", "lost")["id"]
    company.server.terminate()
    laptop.start()
    laptop.satchel("leave")
    company.server.start()
    finished = wait_order(company, order, 90)
    certificate = company.server.ctl("device", "show", device)["certificate"]
    assert finished["state"] == "done" and jws.verifies(finished["receipt_jws"], certificate)
    laptop.wait_status(lambda s: s["state"] == "unenrolled", 30)


def test_a_hanging_vault_does_not_stop_a_wipe(company, enrolled):
    """gocryptfs is stopped, the agent is killed while it looks at it: the next one starts and wipes."""
    laptop, _ = enrolled
    device = laptop.status()["device"]
    subprocess.run(["pkill", "-STOP", "-f", "gocryptfs.*" + str(laptop.ciphertext)], check=True)
    company.publish()
    laptop.kill()
    laptop.start()
    order = company.server.ctl("wipe", device, "--reason", "lost")["id"]
    verified(company, wait_order(company, order, 120), device)
