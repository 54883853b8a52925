"""What the employee can know: `satchel privacy` against what is really sent, and the record that is the employee's own."""

import subprocess

import jws


def names(document, prefix=""):
    """The members of a report: "profile.version"."""
    out = set()
    for key, value in document.items():
        out |= names(value, prefix + key + ".") if isinstance(value, dict) else {prefix + key}
    return out


def test_privacy_says_what_the_company_sees(company, enrolled):
    """Everything of a real report and of real receipts is announced, and so is every order there is."""
    laptop, _ = enrolled
    device = laptop.status()["device"]
    privacy = laptop.satchel("privacy")
    announced = {s["field"] for s in privacy["sees"] if s["when"] == "report"}
    shown = company.server.ctl("device", "show", device)
    assert shown["report"] and names(shown["report"]) <= announced
    assert {s["field"] for s in privacy["sees"] if s["when"] == "enrollment"} == {"name", "os", "agent_version"}
    assert {o["kind"] for o in privacy["orders"]} == {"wipe", "lock", "unlock"}
    assert all(s["text"] for part in ("sees", "orders", "receipt_checks") for s in privacy[part])
    looked = set()
    for kind in ("lock", "unlock", "wipe"):
        looked |= {c["what"] for c in jws.payload(company.order(kind, device)["receipt_jws"])["checked"]}
    assert looked <= {c["check"] for c in privacy["receipt_checks"]}
    words = laptop.run("privacy").stdout
    for text in [s["text"] for s in privacy["sees"] + privacy["orders"]] + privacy["cannot"]:
        assert text in words


def test_privacy_needs_nobody(laptop):
    """Also before an enrollment, and without starting anything."""
    assert laptop.satchel("privacy")["cannot"] and laptop.agent_pid() is None
    assert laptop.run("privacy", "x").returncode == 2


def test_the_record_stays_until_the_employee_removes_it(company, enrolled):
    laptop, _ = enrolled
    device = laptop.status()["device"]
    for kind in ("lock", "unlock", "wipe"):
        company.order(kind, device, "because of " + kind)
    laptop.wait_status(lambda s: s["state"] == "unenrolled")
    told = laptop.satchel("activity")
    for kind in ("lock", "unlock", "wipe"):
        assert any("because of " + kind in e["text"] for e in told)
    assert [e["at"] for e in told] == sorted(e["at"] for e in told)
    assert (laptop.state / "activity.jsonl").stat().st_mode & 0o777 == 0o600
    assert laptop.satchel("activity", "--remove", "--yes") == {"removed": True}
    assert laptop.satchel("activity") == [] and not (laptop.state / "activity.jsonl").exists()
    assert laptop.run("activity", "--remove").returncode == 0  # again; no terminal, so nobody is asked


def test_removing_is_asked_for(laptop):
    laptop.state.mkdir(parents=True)
    record = laptop.state / "activity.jsonl"
    record.write_text('{"at":"2026-11-25T10:00:00.000Z","what":"x","text":"y"}\n')
    command = " ".join(laptop.command("activity", "--remove"))
    for answer, there in (("n", True), ("", True), ("y", False)):
        subprocess.run(["script", "-qec", command, "/dev/null"], env=laptop.environment(), input=answer + "\n", text=True,
                       capture_output=True, check=False, timeout=30)
        assert record.exists() == there
    assert laptop.run("activity", "--yes").returncode == 2


def test_without_a_record(laptop):
    assert laptop.satchel("activity") == [] and laptop.satchel("activity", "--remove") == {"removed": True}
