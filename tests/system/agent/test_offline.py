"""Without contact: locked after so many days, wiped after more, warned before; no clock, reboot or lost file changes that.

The days pass by libfaketime (Debian: faketime). FAKETIME moves every clock of a program, CLOCK_BOOTTIME too; with
DONT_FAKE_MONOTONIC only the wall clock, as somebody does who sets it by hand."""

import contextlib
import json
import os
import pathlib
import subprocess

import pytest

import jws
from company import PASSWORD
from waiting import wait_for

LIBRARY = pathlib.Path("/usr/lib/%s-linux-gnu/faketime/libfaketimeMT.so.1" % os.uname().machine)
LOCK, WIPE = 14, 30
HOUR = 1 / 24


class Traveler:
    """An enrolled laptop and the day it is on, counted from its enrollment."""

    def __init__(self, company, laptop, lock=LOCK, wipe=0, wall_only=False, check_in=900):
        self.company, self.laptop = company, laptop
        self.clock = laptop.home.parent / "clock"
        self.set_clock(0)
        laptop.extra = {"LD_PRELOAD": str(LIBRARY), "FAKETIME_TIMESTAMP_FILE": str(self.clock), "FAKETIME_NO_CACHE": "1"}
        if wall_only:
            laptop.extra["DONT_FAKE_MONOTONIC"] = "1"
        laptop.env["ASAN_OPTIONS"] += ":verify_asan_link_order=0"
        profile = company.profile(company.version + 1)
        profile["policy"] = {"check_in_seconds": check_in, "offline_lock_days": lock, "offline_wipe_days": wipe}
        company.version += 1
        company.server.publish(profile)
        self.login = company.employee()
        self.device = laptop.enroll(company.link(self.login), PASSWORD)["device"]
        wait_for(lambda: self.record("device.json")["contact"], 10, "a record of the contact")

    def set_clock(self, days):
        """Atomically, as a running program reads it at any time."""
        new = self.clock.with_suffix(".new")
        new.write_text("%+d" % round(days * 86400))
        new.rename(self.clock)

    def to(self, days):
        """Off, and on again on that day (in the same boot)."""
        self.laptop.stop()
        self.set_clock(days)
        self.laptop.start()
        return self.wait(lambda s: s["keyring"]["available"])

    def wait(self, look, seconds=30):
        return self.laptop.wait_status(look, seconds)

    def record(self, name="contact.json"):
        return json.loads((self.laptop.state / name).read_text())

    def change_record(self, **members):
        path = self.laptop.state / "contact.json"
        path.write_text(json.dumps({**self.record(), **members}))

    def drop_copy(self):
        subprocess.run(["secret-tool", "clear", "application", "satchel", "kind", "contact"], env=self.laptop.session.env, check=True)
        assert "contact" not in self.laptop.session.kinds()

    def left(self, what="lock"):
        """Seconds without contact that are left, once that is known."""
        return self.wait(lambda s: s["offline"]["lock_in_seconds"] is not None)["offline"][what + "_in_seconds"]

    def said(self, what):
        return [e["text"] for e in self.laptop.satchel("activity") if e["what"] == what]

    def locked(self):
        status = self.wait(lambda s: s["state"] == "locked" and not s["vault"]["open"])
        assert status["lock"]["cause"] == "offline" and self.laptop.messages() == [] and self.laptop.ciphertext.is_dir()
        return status

    def open(self):
        self.wait(lambda s: s["state"] == "enrolled" and s["vault"]["open"])
        wait_for(lambda: len(self.laptop.messages()) == 10, 30, "the mail")


@contextlib.contextmanager
def server_away(company):
    company.server.terminate()
    try:
        yield
    finally:
        company.server.start()


def test_locked_and_open_again_by_contact(company, laptop):
    """With its warnings two days and one hour before; a device that is back in contact opens by itself."""
    t = Traveler(company, laptop)
    with server_away(company):
        t.to(LOCK - 3)
        t.open()
        assert t.said("warning") == [] and 2.9 * 86400 < t.left() <= 3 * 86400
        t.to(LOCK - 1.9)
        wait_for(lambda: len(t.said("warning")) == 1)
        assert "locked here in 2 days" in t.said("warning")[0]
        t.to(LOCK - 1)
        t.open()
        assert len(t.said("warning")) == 1  # each once, also through restarts
        t.to(LOCK - HOUR / 2)
        wait_for(lambda: len(t.said("warning")) == 2)
        assert "locked here in 1 hour" in t.said("warning")[1]
        t.to(LOCK + 0.01)
        t.locked()
        assert "too long" in laptop.run("status").stdout and t.left() == 0
        assert {"vault-key", "mail-credential", "device-key"} <= set(laptop.session.kinds())
        t.to(LOCK + 300)  # it stays so, and is not wiped without a policy for that
        t.locked()
    t.open()
    assert "lock" not in laptop.status() and len(t.said("locked")) == 1 and len(t.said("unlocked")) == 1
    with server_away(company):  # counted from the contact anew
        t.to(LOCK + 300 + LOCK - 3)
        t.open()


def test_asleep_through_the_limit(company, laptop):
    """Suspended while it runs: CLOCK_BOOTTIME goes on. (That the mail child ends only makes the worker look at once.)"""
    t = Traveler(company, laptop)
    t.open()
    with server_away(company):
        t.wait(lambda s: not s["server"]["connected"])
        t.set_clock(LOCK + 1)
        subprocess.run(["pkill", "-KILL", "-P", str(laptop.agent_pid()), "-f", "role=mail"], check=True)
        t.locked()
    t.open()


def test_a_quiet_server_is_contact(company, laptop):
    """Nothing is new for weeks: every 304 carries the time, and only that counts."""
    t = Traveler(company, laptop, check_in=1)
    t.open()
    first = t.record()["server_ms"]
    t.set_clock(LOCK - 1)  # a day is left, if nothing were heard
    t.wait(lambda s: (s["offline"]["lock_in_seconds"] or 0) > (LOCK - 1) * 86400)
    wait_for(lambda: t.record()["server_ms"] > first, 20, "a later contact on the disk")
    t.set_clock(3 * LOCK)
    t.wait(lambda s: s["server"]["connected"] and (s["offline"]["lock_in_seconds"] or 0) > (LOCK - 1) * 86400)
    t.open()


def test_a_server_that_cannot_prove_the_time_is_no_contact(company, laptop):
    """Its key is not in the trust document: connected, and yet without contact."""
    t = Traveler(company, laptop)
    key = company.server.dir / "keys/signing.pem"
    genuine = key.read_text()
    laptop.stop()
    company.server.terminate()
    subprocess.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key], check=True,
                   capture_output=True)
    company.server.start()
    try:
        t.to(LOCK + 1)
        t.wait(lambda s: s["server"]["connected"])
        t.locked()
    finally:
        company.server.terminate()
        key.write_text(genuine)
        company.server.start()
    t.open()


@pytest.mark.parametrize("days", [-4000, 300])
def test_the_wall_clock_is_set(company, laptop, days):
    """By hand, within a boot: neither locks, nor wipes, nor gives time."""
    t = Traveler(company, laptop, LOCK, WIPE, wall_only=True)
    with server_away(company):
        t.to(days)
        t.open()
        assert LOCK * 86400 - 600 < t.left() <= LOCK * 86400
        assert WIPE * 86400 - 600 < t.left("wipe") <= WIPE * 86400
        assert t.said("warning") == []
        t.to(0)
        t.open()


def another_boot(t):
    """Makes the record one of an earlier boot; its copy, which says otherwise, goes."""
    t.laptop.stop()
    t.drop_copy()
    t.change_record(boot="00000000-0000-0000-0000-000000000000")


def test_off_for_long_and_booted(company, laptop):
    """By the wall clock, from one boot to the next: that locks in full, and wipes only when it has run on for the rest."""
    t = Traveler(company, laptop, LOCK, WIPE, wall_only=True)
    with server_away(company):
        another_boot(t)
        t.to(10)
        t.open()
        assert abs(t.left() - 4 * 86400) < 3600
        another_boot(t)
        t.to(5000)  # a year that is far off, as after a mistake in the firmware's clock
        t.locked()
        left = t.left("wipe")
        assert 86400 < left <= 2 * 86400
        another_boot(t)
        t.to(6000)
        t.locked()
        assert 86400 < t.left("wipe") <= left
        another_boot(t)
        t.to(-300)  # and set back: what was counted stays
        t.locked()
    t.open()


@pytest.mark.parametrize("how", ["removed", "damaged", "set back", "without its stamp"])
def test_the_record_is_lost(company, laptop, how):
    """The keyring's copy tells how it was: no time is won, nothing is erased."""
    t = Traveler(company, laptop, LOCK, WIPE)
    path = laptop.state / "contact.json"
    with server_away(company):
        t.to(LOCK - 3)
        t.open()
        laptop.stop()
        if how == "removed":
            path.unlink()
        elif how == "damaged":
            path.write_text("{")
        elif how == "set back":
            t.change_record(counted_ms=0, sure_ms=0, boot_ms=t.record()["boot_ms"])
        else:
            t.change_record(stamp="")
        t.to(LOCK - 2.9)
        t.open()
        assert abs(t.left() - 2.9 * 86400) < 3600
        t.to(LOCK + 1)
        t.locked()
    t.open()


def test_both_records_are_lost(company, laptop):
    """Nobody knows how long: locked until there is contact, not erased."""
    t = Traveler(company, laptop, LOCK, WIPE)
    with server_away(company):
        laptop.stop()
        (laptop.state / "contact.json").unlink()
        t.drop_copy()
        t.to(0.01)
        t.locked()
        assert 86400 < t.left("wipe") <= 2 * 86400
        assert len(t.said("contact")) == 1
    t.open()


def test_wiped_by_the_signed_profile(company, laptop):
    """Locked before, warned before; the receipt says why and proves it; the server learns of it when it can."""
    t = Traveler(company, laptop, LOCK, WIPE)
    with server_away(company):
        t.to(WIPE - 1.5)
        t.locked()
        assert "removed from here in 36 hours" in t.said("warning")[-1]
        t.to(WIPE + 5)  # slept through the limit: an hour more, in which it can reach the server
        t.locked()
        assert "removed from here in 1 hour" in t.said("warning")[-1]
        t.to(WIPE + 5 + 1.1 * HOUR)
        t.wait(lambda s: s["state"] == "wiped")
        assert not laptop.ciphertext.exists() and laptop.mounts() == []
        assert set(laptop.session.kinds()) == {"device-key", "device-certificate"}
        assert "%d days" % WIPE in t.said("wipe")[0]
        laptop.kill()
        laptop.start()
    t.wait(lambda s: s["state"] == "unenrolled", 60)
    assert laptop.session.items() == [] and company.server.ctl("device", "show", t.device)["state"] == "wiped"
    receipt, = company.server.ctl("receipt", "list", t.device)["receipts"]
    assert (receipt["order"], receipt["cause"], receipt["result"]) == (None, "offline", "done")
    assert jws.verifies(receipt["receipt"], company.server.ctl("device", "show", t.device)["certificate"])
    checked = company.server.ctl_raw("receipt", "verify", "-", stdin=json.dumps(receipt), where=["--ca", str(company.server.ca)])
    assert checked.returncode == 0 and "cause: offline" in checked.stdout
    assert "device.wiped-offline" in [e["action"] for e in company.server.ctl("audit", "list")["entries"]]
    assert [p.name for p in laptop.state.iterdir() if p.name in ("contact.json", "device.json", "profile.json", "wipe.json")] == []


def test_contact_within_the_last_hour_saves_the_mail(company, laptop):
    t = Traveler(company, laptop, LOCK, WIPE)
    with server_away(company):
        t.to(WIPE + 5)
        t.locked()
    t.open()
    assert t.said("wipe") == []


@pytest.mark.parametrize("when", ["before its time", "without a policy"])
def test_a_planted_journal_erases_nothing(company, laptop, when):
    """The cause is looked at again: a genuine profile, but the time has not passed, or it demands no wipe at all."""
    t = Traveler(company, laptop, LOCK, WIPE if when == "before its time" else 0)
    with server_away(company):
        laptop.stop()
        profile = t.record("profile.json")
        (laptop.state / "wipe.json").write_text(json.dumps({
            "type": "wipe-journal", "version": 1, "started_at": "2026-11-25T10:00:00.000Z", "steps": [],
            "cause": {"kind": "offline", "jws": profile, "at": "2026-11-25T10:00:00.000Z", "stamp": t.record()["stamp"]}}))
        t.to(1)
        t.open()
        assert not (laptop.state / "wipe.json").exists() and len(t.said("refused")) == 1


def test_an_order_comes_before_the_contact(company, laptop):
    """A device that was locked for want of contact comes back to a lock or a wipe: it is not opened in between."""
    t = Traveler(company, laptop)
    with server_away(company):
        t.to(LOCK + 1)
        t.locked()
        laptop.stop()
    order = company.order("lock", t.device, wait=None)["id"]
    laptop.start()
    company.verified(company.ended(order), t.device)
    status = t.wait(lambda s: s["state"] == "locked" and s["lock"]["cause"] == "order")
    assert not status["vault"]["open"]
    company.verified(company.order("wipe", t.device), t.device)


def test_the_employee_is_told_at_the_desktop(company, laptop):
    """A notification of the desktop, as the bus sees it."""
    t = Traveler(company, laptop)
    laptop.stop()
    with subprocess.Popen(["dbus-monitor", "--session", "interface='org.freedesktop.Notifications'"], env=laptop.session.env,
                          stdout=subprocess.PIPE, text=True) as monitor:
        seen = []
        with server_away(company):
            t.to(LOCK - 1)
            for line in monitor.stdout:
                seen.append(line)
                if "without contact to Acme GmbH" in line:
                    break
        monitor.terminate()
    assert any("member=Notify" in line for line in seen)


@pytest.mark.parametrize("days", [-4000, 5000])
def test_a_wrong_clock_keeps_no_order_away(company, laptop, days):
    """Set by hand to a year in which no certificate is valid: the device is reached and wiped all the same."""
    t = Traveler(company, laptop, wall_only=True)
    t.to(days)
    t.wait(lambda s: s["server"]["connected"])
    company.verified(company.order("wipe", t.device), t.device)
    t.wait(lambda s: s["state"] == "unenrolled")
