"""`satchel doctor`: what it finds on a well device, and on one where something is missing."""

import json
import os
import pathlib
import subprocess

import pytest

from waiting import wait_for


def doctor(laptop, expected, **extra):
    done = subprocess.run(laptop.command("doctor", "--json"), env=dict(laptop.environment(), **extra), capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == expected, (done.stdout, done.stderr)
    document = json.loads(done.stdout)
    assert document["ok"] == (expected == 0)
    return document["findings"]


def found(findings, what):
    return [f for f in findings if f["what"] == what]


def states(findings, what):
    return [f["state"] for f in found(findings, what)]


def swap_is_clear():
    return len(pathlib.Path("/proc/swaps").read_text().splitlines()) > 1


@pytest.mark.skipif(swap_is_clear(), reason="this machine swaps, which doctor may have to say")
def test_all_is_well(enrolled):
    laptop, _ = enrolled
    laptop.wait_status(lambda s: s["server"]["connected"] and s["account"]["imap"] == "ok")
    findings = doctor(laptop, 0)
    for what in ("agent", "server", "mail", "keyring", "landlock", "seccomp", "enforced", "core-dumps", "swap"):
        assert set(states(findings, what)) <= {"ok", "hint"} and states(findings, what), what
    assert laptop.status()["vault"]["driver"] in found(findings, "vault")[0]["text"]
    assert "is encrypted" in found(findings, "vault")[0]["text"]
    text = laptop.run("doctor").stdout
    assert "All is well" in text and "!!" not in text


def test_the_mail_process_is_confined(enrolled):
    """What the kernel says of the running processes, not what they say of themselves."""
    laptop, _ = enrolled
    mine = [p for p in pathlib.Path("/proc").glob("[0-9]*") if is_mail_child_of(p, laptop)]
    assert len(mine) == 1
    status = dict(line.split(":\t", 1) for line in (mine[0] / "status").read_text().splitlines() if ":\t" in line)
    assert status["Seccomp"] == "2" and status["NoNewPrivs"] == "1"
    limits = (mine[0] / "limits").read_text()
    assert laptop.status()["protection"]["calls"] and "Confined:" in laptop.run("status").stdout
    assert any(line.split()[4:6] == ["0", "0"] for line in limits.splitlines() if line.startswith("Max core file size"))


def is_mail_child_of(process, laptop):
    try:
        arguments = (process / "cmdline").read_bytes().split(b"\0")
        parent = int((process / "stat").read_text().rsplit(")", 1)[1].split()[1])
    except (OSError, IndexError):
        return False
    return b"--role=mail" in arguments and parent == laptop.agent_pid()


def test_not_enrolled_and_nothing_started(laptop):
    findings = doctor(laptop, 1 if swap_is_clear() else 0)
    assert states(findings, "agent") == ["ok"] and not found(findings, "server")
    assert "would be" in found(findings, "vault")[0]["text"]
    assert not (laptop.home / ".local/share/satchel").exists() and not laptop.state.exists()


def test_what_is_missing_is_said(enrolled):
    laptop, _ = enrolled
    laptop.stop()
    findings = doctor(laptop, 1)
    assert states(findings, "agent") == ["attention"] and "satcheld" in found(findings, "agent")[0]["advice"]
    laptop.session.kill_service()
    findings = doctor(laptop, 1)
    assert states(findings, "keyring") == ["attention"] and found(findings, "keyring")[0]["advice"]
    laptop.session.start_service()


def test_no_vault_possible(laptop):
    """Without its program: the sentence names the package."""
    findings = doctor(laptop, 1, PATH=os.fspath(laptop.home))
    vault = found(findings, "vault")[0]
    if "fscrypt" not in vault["text"]:
        assert vault["state"] == "attention" and "gocryptfs" in vault["text"]


def test_lost_server(company, enrolled):
    laptop, _ = enrolled
    company.server.terminate()
    wait_for(lambda: not laptop.status()["server"]["connected"], 60)
    findings = doctor(laptop, 1)
    assert states(findings, "server") == ["attention"]
    company.server.start()
