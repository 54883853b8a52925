"""The company's mail server with its accounts, filled with the same mail each time."""

import contextlib
import os
import random
import subprocess

from dovecot import Dovecot
from line import Line

PASSWORD = "secret"
SPREAD = {"INBOX": 8, "Archive/2025": 3, "Lists": 2, "Projects/Atlas": 2, "Sent": 1}  # sixteenths
SIGMA = 1.1  # of the logarithm of a text's length: most mail is short, and some is long
COPY_SECONDS = 600


def texts(count, total, seed):
    """`count` messages of about `total` bytes together."""
    rng = random.Random(seed)
    words = rng.randbytes(1 << 19).hex()
    text = "\r\n".join(words[i:i + 72] for i in range(0, len(words), 72)).encode()
    weights = [rng.lognormvariate(0, SIGMA) for _ in range(count)]
    scale = max(0, total - 330 * count) / sum(weights)
    for n, weight in enumerate(weights):
        size = min(int(weight * scale), len(text) // 2)
        at = rng.randrange(len(text) // 2)
        yield message("%d.%d" % (seed, n), text[at:at + size])


def message(name, text):
    return ("From: Anna Example <anna@acme.example>\r\nTo: Ben Example <ben@acme.example>\r\nSubject: Report %s of the quarter\r\n"
            "Date: Mon, 01 Sep 2025 10:00:00 +0200\r\nMessage-ID: <%s@acme.example>\r\nMIME-Version: 1.0\r\n"
            "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" % (name, name)).encode() + text + b"\r\n"


class Accounts:
    def __init__(self, root):
        self.server = Dovecot(directory=root / "dovecot")
        self.folders = {}  # login: {folder: messages}
        self.serial = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.stop(remove=True)

    def fill(self, login, messages, total, spread):
        """Before the server starts: two thirds of the mail are read."""
        self.server.add_user(login, PASSWORD)
        shares = SPREAD if spread else {"INBOX": 16}
        self.folders[login] = {}
        source = texts(messages, total, seed=len(self.folders))
        for folder, share in shares.items():
            count = messages * share // 16 if folder != "Sent" else messages - sum(self.folders[login].values())
            self.server.store(login, folder, (next(source) for _ in range(count)), flags=lambda i: "" if i % 3 == 0 else "S")
            self.folders[login][folder] = count

    def clone(self, login):
        """An account of its own with the same mail, that a case may change; its name."""
        self.serial += 1
        name = "%s-%d" % (login, self.serial)
        subprocess.run(["cp", "-a", self.server.home(login), self.server.home(name)], check=True, timeout=COPY_SECONDS)
        self.folders[name] = dict(self.folders[login])
        self.server.add_user(name, PASSWORD)
        return name

    def total(self, login):
        return sum(self.folders[login].values())

    def account(self, login, port=None):
        return {"host": self.server.host, "port": port or self.server.port, "security": "tls", "ca": self.server.ca_pem, "login": login,
                "password": PASSWORD}

    def add(self, login, count):
        """New mail, unread, over the folders by their share; the server knows of it, nobody else was told."""
        have = self.folders[login]
        shares = {folder: count * n // self.total(login) for folder, n in have.items()}
        shares["INBOX"] += count - sum(shares.values())
        for folder, share in shares.items():
            if share:
                self.serial += 1
                self.server.store(login, folder, texts(share, share * 7500, seed=1000 + self.serial))
                have[folder] += share
        self.look(login)

    def look(self, login):
        """Every folder opened once, so that no case pays for what the server does at a first sight; the messages there."""
        with Line(self.account(login)) as line:
            return sum(int(row.split()[1]) for folder in self.folders[login]
                       for row in line.command('SELECT "%s"' % folder) if row.rstrip().endswith(b" EXISTS"))

    def flagged(self, login):
        with Line(self.account(login)) as line:
            found = 0
            for folder in self.folders[login]:
                line.command('EXAMINE "%s"' % folder)
                found += sum(len(row.split()) - 2 for row in line.command("UID SEARCH FLAGGED") if row.startswith(b"* SEARCH"))
            return found


@contextlib.contextmanager
def settled():
    """What was written before is on the disk, and is not paid for by what comes."""
    os.sync()
    yield
