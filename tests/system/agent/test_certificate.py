"""The device's certificate: renewed in time and without losing anything; expired or revoked it opens the wipe and nothing else."""

import subprocess

import pytest

from company import PASSWORD, Company
from waiting import wait_for

LIFE = 24  # seconds of a certificate: it is renewed after 16


@pytest.fixture(scope="module")
def company():
    """One whose certificates live for seconds."""
    c = Company(settings={"device_certificate_seconds": LIFE})
    try:
        c.mail.start()
        yield c
    finally:
        c.stop()


def certificates(company, device):
    return company.server.ctl("device", "show", device)["certificates"]


def used(company, device):
    return [e for e in company.server.ctl("audit", "list")["entries"] if e["action"] == "device.certificate-used" and e["subject"] == device]


def key_of(pem):
    return subprocess.run(["openssl", "x509", "-pubkey", "-noout"], input=pem, capture_output=True, text=True, check=True).stdout


def renewed(company, device, times=1):
    wait_for(lambda: len(used(company, device)) >= times, 2 * LIFE * times, "the use of a renewed certificate")


def test_renewed_in_time(company, enrolled):
    """With the same key, again and again; the mail, the vault and the enrollment do not notice; a wipe works afterwards."""
    laptop, _ = enrolled
    before = laptop.status()
    device = before["device"]
    renewed(company, device, 2)
    all_of_them = certificates(company, device)
    assert len(set(all_of_them)) == len(all_of_them) >= 3 and len({key_of(pem) for pem in all_of_them}) == 1
    after = laptop.wait_status(lambda s: s["server"]["connected"])
    assert after["state"] == "enrolled" and after["device"] == device and after["vault"]["open"]
    assert after["account"]["messages"] == before["account"]["messages"] and after["profile"] == before["profile"]
    assert any(e["what"] == "certificate" for e in laptop.satchel("activity"))
    company.verified(company.order("wipe", device), device)


def test_renewed_while_it_is_locked(company, enrolled):
    laptop, _ = enrolled
    device = laptop.status()["device"]
    company.order("lock", device)
    renewed(company, device)
    assert laptop.status()["state"] == "locked"
    company.verified(company.order("unlock", device), device)


def test_killed_between_the_answer_and_the_first_use(company, enrolled):
    """The keyring does not take the new certificate: the old one goes on, the server gives the same one again, nothing collects."""
    laptop, _ = enrolled
    device = laptop.status()["device"]
    laptop.session.kill_service()
    wait_for(lambda: len(certificates(company, device)) == 2, 2 * LIFE, "a second certificate")
    laptop.kill()
    assert used(company, device) == []
    laptop.session.start_service()
    laptop.start()
    renewed(company, device)
    assert len(certificates(company, device)) == 2
    company.verified(company.order("wipe", device), device)


def test_an_expired_certificate_brings_the_wipe(company, enrolled):
    """A device that slept past its certificate: its mail stays, it gets nothing, and a wipe that is ordered reaches it."""
    laptop, _ = enrolled
    device = laptop.status()["device"]
    laptop.stop()
    pem = certificates(company, device)[0]
    wait_for(lambda: subprocess.run(["openssl", "x509", "-checkend", "0", "-noout"], input=pem, text=True, capture_output=True,
                                    check=False).returncode == 1, 2 * LIFE, "the end of the certificate")
    laptop.start()
    status = laptop.wait_status(lambda s: s["server"].get("text"))
    assert not status["server"]["connected"] and "not valid today" in status["server"]["text"]
    assert status["state"] == "enrolled" and len(laptop.messages()) == 10
    company.verified(company.order("wipe", device, wait=120), device)
    laptop.wait_status(lambda s: s["state"] == "unenrolled")


def test_a_revoked_certificate_brings_the_wipe(company, enrolled):
    laptop, _ = enrolled
    device = laptop.status()["device"]
    company.sql(("UPDATE certificates SET revoked_at = 1 WHERE device = ?", device))
    laptop.wait_status(lambda s: not s["server"]["connected"] and "revoked" in s["server"].get("text", ""), 60)
    assert laptop.status()["state"] == "enrolled" and len(laptop.messages()) == 10
    company.verified(company.order("wipe", device, wait=120), device)
    laptop.wait_status(lambda s: s["state"] == "unenrolled")


def test_revoked_in_the_middle_of_the_wipe(company, enrolled):
    """The server is away during the wipe and comes back with the certificate revoked: the receipt is taken."""
    laptop, _ = enrolled
    device = laptop.status()["device"]
    order = company.order("wipe", device, wait=None)["id"]
    laptop.wait_status(lambda s: s["state"] in ("wiping", "wiped", "unenrolled"))
    company.sql(("UPDATE certificates SET revoked_at = 1, expires_at = 1 WHERE device = ?", device))
    company.verified(company.ended(order, 120), device)
    laptop.wait_status(lambda s: s["state"] == "unenrolled", 90)


def test_enrolled_again_it_is_another_device(company, laptop):
    """What was queued for the old one does not apply: here the records were lost, so the old wipe is still open."""
    login = company.employee()
    old = laptop.enroll(company.link(login), PASSWORD)["device"]
    laptop.stop()
    subprocess.run(["fusermount3", "-u", laptop.vault], check=True)
    order = company.order("wipe", old, wait=None)["id"]
    (laptop.state / "device.json").unlink()
    (laptop.state / "profile.json").unlink()
    subprocess.run(["rm", "-r", laptop.ciphertext, laptop.vault], check=True)
    laptop.start()
    again = laptop.enroll(company.link(login), PASSWORD)
    assert again["device"] != old and again["state"] == "enrolled"
    assert company.server.ctl("order", "show", order)["state"] == "pending"
    version = company.publish()
    laptop.wait_status(lambda s: s["profile"]["version"] == version)
    assert laptop.status()["state"] == "enrolled" and len(laptop.messages()) == 10
