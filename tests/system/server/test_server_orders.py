"""Locks, unlocks and deletions on the server: one open order a device, states only by receipts, nothing forgotten."""

import concurrent.futures
import pathlib
import sqlite3

import pytest

import jws
from server import CtlError, Device, Server

MIGRATIONS = pathlib.Path(__file__).resolve().parents[3] / "server-api/server/store/migrations"


def give(server, device, kind, reason="lost"):
    return server.ctl(kind, device.id, "--reason", reason)


def state_of(server, device):
    return server.ctl("device", "show", device.id)["state"]


def orders_of(device):
    return [jws.payload(o) for o in device.state()[2]["orders"]]


def finish(device, order, kind, result="done", **members):
    return device.deliver(device.receipt(order["id"], kind=kind, result=result, **members))


def test_the_life_of_a_lock(server, device):
    server.publish(server.profile())
    order = give(server, device, "lock")
    assert order["kind"] == "lock" and order["state"] == "pending"
    assert [(o["kind"], o["id"], o["device"]) for o in orders_of(device)] == [("lock", order["id"], device.id)]
    assert state_of(server, device) == "enrolled"  # the device has not said anything yet
    assert device.state()[2]["profile"]            # a locked device stays enrolled
    assert give(server, device, "lock", "again")["id"] == order["id"]
    assert finish(device, order, "lock")[0] == 200
    assert server.ctl("order", "show", order["id"])["state"] == "done" and state_of(server, device) == "locked"
    assert [d["state"] for d in server.ctl("device", "list")["devices"]] == ["locked"]
    state = device.state()[2]
    assert state["orders"] == [] and state["profile"] and state["device"]["state"] == "locked"
    assert device.report()[0] == 204
    unlock = give(server, device, "unlock", "found")
    assert orders_of(device)[0]["sequence"] > order["sequence"]
    assert state_of(server, device) == "locked"
    assert finish(device, unlock, "unlock")[0] == 200
    assert state_of(server, device) == "enrolled"


def test_wait_for_a_lock(server, device):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        wait = pool.submit(server.ctl, "lock", device.id, "--reason", "x", "--wait", "60")
        tag = device.state()[2]["tag"]
        orders = device.state(tag, 30)[2]["orders"] if not device.state()[2]["orders"] else device.state()[2]["orders"]
        assert device.deliver(device.receipt(jws.payload(orders[0])["id"], kind="lock"))[0] == 200
        assert wait.result(timeout=30)["state"] == "done"


def test_the_last_wish_counts(server, device):
    lock = give(server, device, "lock")
    unlock = give(server, device, "unlock")
    assert [o["id"] for o in orders_of(device)] == [unlock["id"]]
    old = server.ctl("order", "show", lock["id"])
    assert old["state"] == "superseded" and unlock["id"] in old["text"]
    wipe = give(server, device, "wipe")
    assert [o["id"] for o in orders_of(device)] == [wipe["id"]]
    for kind in ("lock", "unlock"):
        refused = server.ctl_raw(kind, device.id, "--reason", "x")
        assert refused.returncode == 4 and "wiped" in refused.stderr
    assert finish(device, wipe, "wipe")[0] == 200 and state_of(server, device) == "wiped"
    assert server.ctl_raw("lock", device.id, "--reason", "x").returncode == 4


def test_a_wait_ends_when_another_order_takes_the_place(server, device):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        wait = pool.submit(server.ctl_raw, "lock", device.id, "--reason", "x", "--wait", "60")
        while not device.state()[2]["orders"]:
            pass
        give(server, device, "wipe")
        done = wait.result(timeout=30)
    assert done.returncode == 1 and "superseded" in done.stderr


def test_a_device_that_was_faster(server, device):
    """It locked itself before it heard of the unlock: both are done, and the state is what came last."""
    lock, unlock = give(server, device, "lock"), give(server, device, "unlock")
    assert finish(device, unlock, "unlock")[0] == 200
    assert finish(device, lock, "lock")[0] == 200
    assert server.ctl("order", "show", lock["id"])["state"] == "done"
    assert state_of(server, device) == "enrolled"


def test_refused_and_failed_locks_are_shown_as_such(server, device):
    lock = give(server, device, "lock")
    assert finish(device, lock, "lock", "failed", reason="the vault is in use")[0] == 200
    shown = server.ctl("order", "show", lock["id"])
    assert shown["state"] == "failed" and shown["text"] == "the vault is in use" and state_of(server, device) == "enrolled"
    assert finish(device, lock, "lock")[0] == 200
    assert server.ctl("order", "show", lock["id"])["state"] == "done" and state_of(server, device) == "locked"
    unlock = give(server, device, "unlock")
    assert device.report(orders=[{"id": unlock["id"], "state": "refused", "text": "no"}])[0] == 204
    assert server.ctl("order", "show", unlock["id"])["state"] == "refused" and state_of(server, device) == "locked"


@pytest.mark.parametrize("ordered,signed", [("wipe", "lock"), ("wipe", "unlock"), ("lock", "wipe"), ("lock", "unlock"),
                                            ("unlock", "lock")])
def test_a_receipt_of_another_kind_ends_nothing(server, device, ordered, signed):
    order = give(server, device, ordered)
    status, _, body = finish(device, order, signed)
    assert status == 400, body
    assert server.ctl("order", "show", order["id"])["state"] == "pending"


def test_receipts_are_capped_by_order(server, device):
    """Years of locks and unlocks do not use up what one order may say."""
    lock = give(server, device, "lock")
    for _ in range(64):
        assert finish(device, lock, "lock", "failed")[0] == 200
    assert finish(device, lock, "lock", "failed")[0] == 413
    unlock = give(server, device, "unlock")
    assert finish(device, unlock, "unlock")[0] == 200


def test_leaving_ends_an_open_lock(server, device):
    lock = give(server, device, "lock")
    assert device.deliver(device.receipt(None))[0] == 200
    assert server.ctl("order", "show", lock["id"])["state"] == "superseded" and state_of(server, device) == "left"


# -- deleting a device -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", ["wipe", "lock", "unlock"])
@pytest.mark.parametrize("delivered", [False, True])
def test_a_device_with_an_open_order_is_not_deleted(server, device, kind, delivered):
    order = give(server, device, kind)
    if delivered:
        assert device.report(orders=[{"id": order["id"], "state": "delivered"}])[0] == 204
    for more in ([], ["--abandon"]):
        refused = server.ctl_raw("device", "delete", device.id, *more)
        assert refused.returncode == 4 and order["id"] in refused.stderr
    assert orders_of(device)[0]["id"] == order["id"]
    assert [d["id"] for d in server.ctl("device", "list")["devices"]] == [device.id]


def test_a_wiped_device_is_deleted_and_what_it_signed_stays(server, device):
    order = give(server, device, "wipe")
    receipt = device.receipt(order["id"])
    assert device.deliver(receipt)[0] == 200
    assert server.ctl("device", "delete", device.id) == {"deleted": device.id}
    assert server.ctl("device", "list")["devices"] == []
    for again in (("device", "show", device.id), ("device", "delete", device.id), ("wipe", device.id, "--reason", "x")):
        with pytest.raises(CtlError) as error:
            server.ctl(*again)
        assert error.value.status == 1 or error.value.status == 4
    assert server.ctl("order", "show", order["id"])["receipt_jws"] == receipt
    assert "device.deleted" in [e["action"] for e in server.ctl("audit", "list")["entries"]]
    assert device.state()[0] == 403 and device.deliver(receipt)[0] == 403


def test_a_device_with_mail_is_only_abandoned_on_purpose(server, device):
    refused = server.ctl_raw("device", "delete", device.id)
    assert refused.returncode == 4 and "wipe it first" in refused.stderr
    assert device.state()[0] == 200
    server.ctl("device", "delete", device.id, "--abandon")
    assert device.state()[0] == 403 and device.report()[0] == 403
    assert "device.abandoned" in [e["action"] for e in server.ctl("audit", "list")["entries"]]


def test_an_order_of_the_old_device_is_not_for_the_new_one(server, device):
    order = give(server, device, "wipe")
    new = Device(server)
    new.enroll(server.enroll_code("anna"))
    assert new.id != device.id and new.state()[2]["orders"] == []
    assert new.deliver(new.receipt(order["id"]))[0] == 404
    assert server.ctl("order", "show", order["id"])["state"] == "pending"


# -- a store of the version before -------------------------------------------------------------------------------

def test_a_store_of_the_first_schema_is_taken_over():
    with Server(start=False) as server:
        path = server.dir / "satchel.db"
        for name in ("satchel.db", "satchel.db-wal", "satchel.db-shm"):
            (server.dir / name).unlink(missing_ok=True)
        with sqlite3.connect(path) as db:
            db.executescript((MIGRATIONS / "001-first.sql").read_text())
            db.executescript("""
                INSERT INTO users VALUES ('anna', 'anna@acme.example', 'Anna', 1);
                INSERT INTO devices VALUES ('d1', 'anna', 'n', 'os', '0.1.0', 'wiping', 1, 2, 5, '{}', 3);
                INSERT INTO certificates VALUES ('x', 'd1', 'PEM', 1, 2, NULL, NULL);
                INSERT INTO orders VALUES ('o1', 'd1', 5, 'wipe', 'lost', 'pending', 'x', 1, NULL, NULL, NULL, '{}', NULL);
                INSERT INTO receipts VALUES ('d1', 'r1', 'o1', '{}', 1);
                PRAGMA user_version = 1;""")
        db.close()
        server.start()
        shown = server.ctl("order", "show", "o1")
        assert (shown["state"], shown["sequence"], shown["device"]) == ("pending", 5, "d1")
        device = server.ctl("device", "show", "d1")
        assert device["state"] == "wiping" and device["login"] == "anna" and [o["id"] for o in device["orders"]] == ["o1"]
        server.terminate()
        with sqlite3.connect(path) as db:
            assert db.execute("PRAGMA foreign_key_check").fetchall() == []
            assert db.execute("PRAGMA user_version").fetchone() == (2,)
            with pytest.raises(sqlite3.IntegrityError):
                db.execute("PRAGMA foreign_keys = ON")
                db.execute("INSERT INTO orders VALUES ('o2', 'nobody', 6, 'wipe', '', 'pending', 'x', 1, NULL, NULL, NULL, '{}', NULL)")
        db.close()
