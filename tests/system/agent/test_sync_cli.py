"""`satchel sync` and what `satchel status` says of it: a download that is under way, and deletions that wait for a person."""

import fcntl
import os
import re
import struct
import subprocess
import termios
import threading

import pytest

from company import PASSWORD, message
from relay import Relay
from waiting import wait_for

MESSAGES, FILLING = 400, b"Das Pferd frisst keinen Gurkensalat. " * 110 + b"\r\n"
LINE = re.compile(r"(?:\[([#.]+)\] )?(\d+)/(\d+) messages, ([\d.]+)(?:/([\d.]+))? MB(?:, (\d+)/s, ([\d.]+) MB/s)?(?:, (\d+ \w+) left)?")


class Terminal:
    """A terminal's other end; what is written to it comes together in `text`."""

    def __init__(self, columns):
        self.ours, self.theirs = os.openpty()
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.text = ""
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        while True:
            try:
                self.text += os.read(self.ours, 4096).decode()
            except OSError:
                return

    def close(self):
        os.close(self.theirs)
        self.thread.join(10)
        os.close(self.ours)

    def lines(self):
        """What was drawn, one over the other."""
        return [line.replace("\033[K", "").strip() for line in self.text.split("\r") if line.replace("\033[K", "").strip()]


@pytest.fixture
def slow(company):
    """The company, its mail server behind a relay that can stand still."""
    with Relay(company.mail.port) as relay:
        company.publish(port=relay.port)
        yield relay
    company.publish()


def employee_with_much_mail(company):
    login = company.employee(0)
    company.mail.store(login, "INBOX", (message("%s %d" % (login, i)) + FILLING for i in range(MESSAGES)))
    return login


def on_terminal(laptop, terminal, tmp_path, *args, stdin=""):
    (tmp_path / "stdin").write_text(stdin)
    with open(tmp_path / "stdin", "rb") as source:
        return subprocess.Popen(laptop.command(*args), env=laptop.environment(), stdin=source, stdout=subprocess.PIPE,
                                stderr=terminal.theirs, text=True)


@pytest.mark.parametrize("columns", [120, 70])
def test_a_download_is_seen(company, slow, laptop, tmp_path, columns):
    login = employee_with_much_mail(company)
    terminal = Terminal(columns)
    slow.hold_after(400_000)
    enroll = on_terminal(laptop, terminal, tmp_path, "enroll", company.link(login), "--password-stdin", stdin=PASSWORD + "\n")
    try:
        slow.wait_held()
        begun = laptop.wait_status(lambda s: s["account"]["progress"])["account"]["progress"]
        assert 0 < begun["done"] < begun["total"] <= MESSAGES and begun["bytes"] > 0
        further = begun
        while further["done"] == begun["done"]:  # it is told at most five times a second
            slow.hold_after(50_000)
            slow.wait_held()
            further = laptop.status()["account"]["progress"]
        assert set(further) == {"done", "total", "bytes", "bytes_total", "rate", "byte_rate", "eta_seconds"}
        assert further["bytes"] < further["bytes_total"] and further["byte_rate"] > 0 and further["eta_seconds"] > 0
        said = laptop.run("status").stdout
        shown = LINE.search(next(line for line in said.splitlines() if line.startswith("Download:")))
        assert shown and shown[1] is None and int(shown[2]) >= further["done"] and int(shown[3]) == further["total"], said
        wait_for(lambda: any(LINE.search(line)[8] for line in terminal.lines()), what="a bar with a time left")
        slow.release()
        output = enroll.communicate(timeout=60)[0]
        assert enroll.returncode == 0, (output, terminal.text)
    finally:
        slow.release()
        enroll.kill()
        enroll.wait()
        terminal.close()
    assert "Mail is here: %d messages" % MESSAGES in output
    drawn = [LINE.fullmatch(line) or LINE.match(line) for line in terminal.lines()]
    assert drawn and all(drawn), terminal.lines()
    assert all(len(line) < columns for line in terminal.lines()), terminal.lines()
    assert [int(line[2]) for line in drawn] == sorted(int(line[2]) for line in drawn)
    assert int(drawn[-1][2]) == int(drawn[-1][3]) == MESSAGES, drawn[-1]
    assert terminal.text.endswith("\r\033[K"), "the bar is taken away"
    if columns == 120:
        assert set(drawn[-1][1]) == {"#"} and "." in drawn[0][1]
        assert 1.5 < float(drawn[-1][4]) == float(drawn[-1][5]) < 2 and drawn[-1][6], drawn[-1]
    assert laptop.status()["account"]["progress"] is None
    assert "Download:" not in laptop.run("status").stdout


def test_no_bar_without_a_terminal(enrolled):
    laptop, _ = enrolled
    done = laptop.run("sync", "--wait")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Synchronized: 30 messages in 3 folders")


def count(company, login, folder="INBOX"):
    with company.mail.client(login) as imap:
        return int(imap.select(folder, readonly=True)[1][0])


def is_held_back(laptop, side):
    """The pass fails and says why, and the status says what to do."""
    done = laptop.run("sync", "--wait")
    assert done.returncode == 1 and "INBOX" in done.stderr and side in done.stderr, (done.returncode, done.stderr)
    assert "satchel sync --confirm-deletions" in done.stderr
    status = laptop.status()["account"]
    assert status["asks"] == 1 and "INBOX" in status["text"] and status["imap"] == "ok"
    said = next(line for line in laptop.run("status").stdout.splitlines() if line.startswith("Held back:"))
    assert "in 1 folder." in said and said.endswith("`satchel sync --confirm-deletions`")


def is_done(laptop):
    status = laptop.status()["account"]
    assert status["asks"] == 0 and "text" not in status, status
    assert "Held back:" not in laptop.run("status").stdout


def test_many_deletions_here_wait(company, laptop):
    login = company.employee(120)  # 40 a folder
    laptop.enroll(company.link(login), PASSWORD)
    assert laptop.status()["account"]["asks"] == 0
    for path in laptop.messages()[:30]:
        path.unlink()
    is_held_back(laptop, "on this device")
    assert count(company, login) >= 20  # some may have gone before they were many
    assert "Synchronized: 90 messages" in laptop.run("sync", "--wait", "--confirm-deletions").stdout
    assert count(company, login) == 10
    is_done(laptop)


def test_many_deletions_there_wait(company, laptop):
    login = company.employee(120)
    laptop.enroll(company.link(login), PASSWORD)
    with company.mail.client(login) as imap:
        imap.select("INBOX")
        imap.store("1:30", "+FLAGS.SILENT", "\\Deleted")
        imap.expunge()
    is_held_back(laptop, "on the server")
    assert len(laptop.messages()) == 40
    assert laptop.satchel("sync")["done"] is False
    is_held_back(laptop, "on the server")  # an order without the option changes nothing
    done = laptop.run("sync", "--confirm-deletions")
    assert done.returncode == 0 and done.stdout.startswith("Synchronizing;"), done
    wait_for(lambda: len(laptop.messages()) == 10, what="the deletion in the copy")
    laptop.wait_status(lambda s: s["account"]["asks"] == 0)
    is_done(laptop)


def test_options_are_checked(enrolled):
    laptop, _ = enrolled
    for args in (["--confirm"], ["--wait", "now"], ["INBOX"]):
        done = laptop.run("sync", *args)
        assert done.returncode == 2 and args[-1] in done.stderr, done
    assert "--confirm-deletions" in laptop.run("sync", "--help").stdout
