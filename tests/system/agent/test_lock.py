"""Locked and unlocked by order: the mail stays and cannot be read, through restarts; nothing but a signed unlock opens it."""

import json
import os
import select
import subprocess
import time

import pytest

from company import PASSWORD
from waiting import wait_for

KINDS = {"device-key", "device-certificate", "vault-key", "mail-credential"}


def record(laptop):
    return json.loads((laptop.state / "device.json").read_text())


def closed(laptop):
    """Nothing of the mail can be read; everything that opening it takes is still there."""
    assert laptop.mounts() == [] and laptop.messages() == []
    assert laptop.ciphertext.is_dir() and KINDS <= set(laptop.session.kinds())
    busy = subprocess.run(["pgrep", "-f", "gocryptfs.*" + str(laptop.ciphertext)], capture_output=True, text=True, check=False)
    assert busy.stdout == "", busy.stdout
    status = laptop.status()
    assert status["state"] == "locked" and not status["vault"]["open"]
    return status


def opened(laptop, messages=10):
    laptop.wait_status(lambda s: s["state"] == "enrolled" and s["vault"]["open"] and s["account"]["imap"] == "ok")
    wait_for(lambda: len(laptop.messages()) == messages, 30, "the mail is there again")


def test_lock_and_unlock(company, enrolled):
    laptop, _ = enrolled
    device = laptop.status()["device"]
    opened(laptop)
    receipt = company.verified(company.order("lock", device, "notice of a theft"), device)
    assert {s["name"] for s in receipt["steps"]} == {"end-mail-child", "close-vault"} and receipt["vault"]["driver"]
    lock = closed(laptop)["lock"]
    assert lock["cause"] == "order" and lock["reason"] == "notice of a theft" and lock["since"] and "theft" in lock["text"]
    assert "theft" in laptop.run("status").stdout
    assert company.server.ctl("device", "show", device)["state"] == "locked"
    refused = laptop.run("sync", "--wait")
    assert refused.returncode == 1 and "locked" in refused.stderr
    laptop.kill()  # it survives a restart, in which nothing is opened
    laptop.start()
    closed(laptop)
    laptop.wait_status(lambda s: s["server"]["connected"])
    version = company.publish()
    laptop.wait_status(lambda s: s["profile"]["version"] == version)  # a locked device stays managed
    closed(laptop)
    receipt = company.verified(company.order("unlock", device, "found"), device)
    assert [s["name"] for s in receipt["steps"]] == ["lift-lock"]
    opened(laptop)
    assert "lock" not in laptop.status() and company.server.ctl("device", "show", device)["state"] == "enrolled"
    told = [e["what"] for e in laptop.satchel("activity")]
    assert told.count("locked") == 1 and told.count("unlocked") == 1 and "refused" not in told


def test_programs_are_asked_to_end(company, enrolled, tmp_path):
    """SIGTERM first: a reader has the time to put its things away; one that does not listen is ended all the same."""
    laptop, _ = enrolled
    opened(laptop)
    note = tmp_path / "note"
    script = 'trap "echo bye > $2; exit 0" TERM; exec 9<"$1"; echo ready > $2.ready; while :; do sleep 0.1; done'
    polite = subprocess.Popen(["bash", "-c", script, "sh", str(laptop.messages()[0]), str(note)], start_new_session=True)
    deaf = subprocess.Popen(["bash", "-c", 'trap "" TERM; cd "$1"; echo ready > $2; while :; do sleep 0.1; done', "sh",
                             str(laptop.folder()), str(tmp_path / "deaf")], start_new_session=True)
    wait_for(lambda: (tmp_path / "note.ready").exists() and (tmp_path / "deaf").exists())
    device = laptop.status()["device"]
    receipt = company.verified(company.order("lock", device), device)
    assert polite.wait(10) == 0 and note.read_text() == "bye\n" and deaf.wait(10) == -9
    assert "programs" in receipt["steps"][1]["detail"]
    closed(laptop)


def test_an_offline_device_is_locked_once_it_is_there(company, enrolled):
    laptop, _ = enrolled
    device = laptop.status()["device"]
    laptop.stop()
    order = company.order("lock", device, wait=None)
    assert order["state"] == "pending"
    laptop.start()
    company.verified(company.ended(order["id"]), device)
    closed(laptop)


def test_a_lock_that_was_taken_back_in_time(company, enrolled):
    laptop, _ = enrolled
    device = laptop.status()["device"]
    laptop.stop()
    lock, unlock = company.order("lock", device, wait=None), company.order("unlock", device, wait=None)
    laptop.start()
    company.verified(company.ended(unlock["id"]), device)
    assert company.server.ctl("order", "show", lock["id"])["state"] == "superseded"
    opened(laptop)
    assert "locked" not in [e["what"] for e in laptop.satchel("activity")]


def test_killed_while_it_locks(company, enrolled):
    """Killed as soon as the record says "locked", each time: it ends closed, with one receipt that holds."""
    laptop, _ = enrolled
    device = laptop.status()["device"]
    opened(laptop)
    order = company.order("lock", device, wait=None)
    deadline = time.monotonic() + 30
    while record(laptop)["state"] != "locked":
        assert time.monotonic() < deadline
        select.select([], [], [], 0.0005)
    laptop.kill()
    laptop.start()
    company.verified(company.ended(order["id"]), device)
    closed(laptop)


def test_the_server_is_away_while_it_locks(company, enrolled):
    """The receipt waits for the server, also through a restart of the device."""
    laptop, _ = enrolled
    device = laptop.status()["device"]
    opened(laptop)
    reader = subprocess.Popen(["bash", "-c", 'trap "" TERM; cd "$1"; echo ready; while :; do sleep 0.1; done', "sh",
                               str(laptop.folder())], start_new_session=True, stdout=subprocess.PIPE)
    assert reader.stdout.readline() == b"ready\n"  # takes the seconds in which the server goes
    order = company.order("lock", device, wait=None)
    wait_for(lambda: record(laptop)["state"] == "locked", 20)
    company.server.terminate()
    assert reader.wait(20) == -9
    laptop.kill()
    laptop.start()
    laptop.wait_status(lambda s: not s["vault"]["open"])
    closed(laptop)
    company.server.start()
    company.verified(company.ended(order["id"]), device)


def test_a_locked_device_is_wiped(company, enrolled):
    laptop, _ = enrolled
    device = laptop.status()["device"]
    company.order("lock", device)
    closed(laptop)
    receipt = company.verified(company.order("wipe", device), device)
    assert receipt["removed"]["files"] > 30
    laptop.wait_status(lambda s: s["state"] == "unenrolled")
    assert laptop.session.items() == [] and not laptop.ciphertext.exists()


def test_the_employee_leaves_a_locked_device(company, enrolled):
    laptop, _ = enrolled
    device = laptop.status()["device"]
    company.order("lock", device)
    assert laptop.run("leave").returncode == 0
    laptop.wait_status(lambda s: s["state"] == "unenrolled")
    wait_for(lambda: company.server.ctl("device", "show", device)["state"] == "left")


def test_a_locked_device_without_its_keyring(company, enrolled):
    """Where the agent was killed with the vault open, a lock is kept without asking the keyring for anything."""
    laptop, _ = enrolled
    device = laptop.status()["device"]
    opened(laptop)
    laptop.kill()
    assert laptop.mounts()
    changed = record(laptop)
    changed.update(state="locked", lock={"ordered": True, "offline": False, "reason": "x", "since": 1})
    (laptop.state / "device.json").write_text(json.dumps(changed))
    laptop.session.kill_service()
    laptop.start()
    wait_for(lambda: laptop.mounts() == [], 20, "the vault is closed")
    assert laptop.status()["state"] == "locked"
    laptop.session.start_service()
    company.verified(company.order("unlock", device), device)
    opened(laptop)


FAULTS = ("wrong-key", "wrong-type", "other-device", "old-sequence", "unknown-kind")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", ["lock", "unlock"])
def test_only_a_signed_new_order_for_this_device_counts(company, enrolled, kind, fault):
    laptop, _ = enrolled
    device = laptop.status()["device"]
    opened(laptop)
    if kind == "unlock":
        company.order("lock", device)
    else:
        company.order("unlock", device)  # so that there is an old sequence
    sequence = record(laptop)["last_sequence"]
    assert sequence == 1
    payload = {"type": "order", "id": "forged-%s-%s" % (kind, fault), "device": device, "sequence": sequence + 1, "kind": kind,
               "reason": "evil", "ordered_at": "2026-11-25T10:00:00.000Z"}
    key, name = "signing.pem", "satchel-order"
    if fault == "wrong-key":
        key = "tls.pem"
    elif fault == "wrong-type":
        name = "satchel-profile"
    elif fault == "other-device":
        payload["device"] = "another"
    elif fault == "old-sequence":
        payload["sequence"] = sequence
    else:
        payload["kind"] = kind + "-all"
    company.put_order(device, payload, key, name)
    assert company.ended(payload["id"])["state"] == "refused"
    assert any(e["what"] == "refused" for e in laptop.satchel("activity"))
    if kind == "unlock":
        closed(laptop)
    else:
        opened(laptop)


def test_orders_replayed_and_out_of_order(company, enrolled):
    """The very orders of before, put back: the last one changes nothing, every earlier one is refused."""
    laptop, _ = enrolled
    device = laptop.status()["device"]
    opened(laptop)
    lock = company.order("lock", device)["id"]
    unlock = company.order("unlock", device)["id"]
    opened(laptop)
    again = "UPDATE orders SET state = 'pending', receipt = NULL WHERE id = ?"
    company.sql((again, lock))
    assert company.ended(lock)["state"] == "refused"
    opened(laptop)
    last = company.order("lock", device)["id"]
    company.sql((again, unlock), (again, last))  # a server that was set back to yesterday, in one answer
    assert company.ended(unlock)["state"] == "refused"
    company.verified(company.ended(last), device)  # it is so, and the server is told again
    closed(laptop)


def test_a_record_of_a_lock_that_contradicts_itself(company, enrolled):
    """Nothing is guessed from a damaged record: the agent does not start, and so opens nothing."""
    laptop, _ = enrolled
    device = laptop.status()["device"]
    company.order("lock", device)
    laptop.kill()
    changed = record(laptop)
    changed["state"] = "enrolled"
    (laptop.state / "device.json").write_text(json.dumps(changed))
    with pytest.raises(AssertionError, match="damaged"):
        laptop.start()
    assert laptop.mounts() == []


def test_a_locked_device_takes_no_password(company, enrolled):
    laptop, login = enrolled
    device = laptop.status()["device"]
    company.order("lock", device)
    refused = laptop.run("password", "--password-stdin", stdin=PASSWORD + "\n")
    assert refused.returncode != 0 and "locked" in refused.stderr
    refused = laptop.run("enroll", company.link(login), "--password-stdin", stdin=PASSWORD + "\n")
    assert refused.returncode != 0 and "locked" in refused.stderr
    assert os.path.isdir(laptop.ciphertext)
