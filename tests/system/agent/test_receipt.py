"""The receipt of a real wipe: what is in it, who can check it, and that the device key dies last."""

import json

from waiting import wait_for

STEPS = ["kill-mail-child", "destroy-key", "end-holders", "close-vault", "remove-ciphertext", "remove-secrets", "remove-account", "verify"]


def checked(company, document):
    """receipt verify, with nothing but the CA's certificate."""
    return company.server.ctl_raw("receipt", "verify", "-", stdin=json.dumps(document), where=["--ca", str(company.server.ca)])


def test_what_is_in_it(company, enrolled):
    laptop, _ = enrolled
    device, driver = laptop.status()["device"], laptop.status()["vault"]["driver"]
    order = company.order("wipe", device, "lost on the train")
    receipt = company.verified(order, device)
    assert [s["name"] for s in receipt["steps"]] == STEPS
    assert all(s["started_at"] and s["duration_ms"] >= 0 for s in receipt["steps"])
    assert receipt["vault"]["driver"] == driver and receipt["removed"]["files"] > 10 and receipt["removed"]["bytes"] > 0
    assert receipt["cause"] == "order" and receipt["agent_version"] and receipt["unreadable_at"] <= receipt["finished_at"]
    words = checked(company, company.server.ctl("receipt", "show", order["id"])).stdout
    for part in (device, order["id"], driver, "nothing found", *STEPS):
        assert part in words
    changed = company.server.ctl("order", "show", order["id"])
    changed["receipt_jws"]["payload"] = changed["receipt_jws"]["payload"][:-5] + "AAAAA"
    assert checked(company, changed).returncode == 4


def test_the_key_dies_last(company, enrolled):
    """Until the server has the receipt only what signs and delivers it is left, and then nothing."""
    laptop, _ = enrolled
    device = laptop.status()["device"]
    order = company.order("wipe", device, wait=None)["id"]
    company.server.terminate()
    laptop.wait_status(lambda s: s["state"] in ("wiped", "unenrolled"))
    assert set(laptop.session.kinds()) == {"device-key", "device-certificate"}
    laptop.kill()
    company.server.start()
    laptop.start()
    company.verified(company.ended(order), device)
    laptop.wait_status(lambda s: s["state"] == "unenrolled")
    assert laptop.session.items() == []


def test_leaving_is_evidence_too(company, enrolled):
    laptop, _ = enrolled
    device = laptop.status()["device"]
    laptop.satchel("leave")
    receipts = wait_for(lambda: company.server.ctl("receipt", "list", device)["receipts"])
    assert [(r["order"], r["cause"], r["result"]) for r in receipts] == [(None, "leave", "done")]
    done = checked(company, receipts[0])
    assert done.returncode == 0 and "no order (cause: leave)" in done.stdout
