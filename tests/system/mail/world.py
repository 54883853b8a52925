"""An account, its copy, the model of what must be in both, and the engine between them."""

import random
import signal

from model import see_maildir, see_server
from reader_hand import ReaderHand
from server_hand import ServerHand

ROUND = 40  # operations between two comparisons


class World:
    """`start_child` gives a new process of the engine, configured."""

    def __init__(self, model, server, vault, start_child, seed, login="anna"):
        self.rng, self.seed, self.start_child = random.Random(seed), seed, start_child
        self.model, self.vault = model, vault
        self.there = ServerHand(model, server, self.rng, login)
        self.here = ReaderHand(model, vault, self.rng)
        self.there.connect()
        self.child, self.orders = None, 0

    def fill(self, folders=("INBOX", "Sent", "Work", "Projekte/Übersicht"), messages=60):
        for folder in folders:
            if folder != "INBOX":
                self.there.create(folder)
        for _ in range(messages):
            self.there.append(copies=1)

    # -- the engine -------------------------------------------------------------------------------------------

    def start(self):
        if self.child is None:
            self.child = self.start_child()

    def kill(self):
        if self.child:
            self.child.kill()
            self.child = None

    def order(self):
        """A pass that nobody waits for."""
        self.orders += 1
        self.child.send(op="sync", id=1000000 + self.orders)

    def settle(self, timeout=40):
        """Syncs and compares."""
        faults = self.look(timeout)
        if faults:
            report = self.report(faults)
            mended = "by another pass" if not self.look(timeout) else None
            self.kill()
            mended = mended or ("by a new start" if not self.look(timeout) else "not at all")
            raise AssertionError(report.replace("\n", ", mended %s\n" % mended, 1))

    def here_now(self):
        return see_maildir(self.vault / "Mail")[0]

    def look(self, timeout):
        """A pass, and what is wrong after it."""
        self.start()
        answer = self.child.sync(timeout)
        faults = [] if answer["ok"] else ["synced: " + answer["text"]]
        here, odd = see_maildir(self.vault / "Mail")
        return faults + odd + self.model.compare(see_server(self.there.imap), here)

    def report(self, faults):
        return "seed %d\n%s\n-- operations since the last comparison\n%s\n-- the child\n%s" % (
            self.seed, "\n".join(faults), "\n".join(self.model.log), self.child.log())

    # -- rounds -----------------------------------------------------------------------------------------------

    def operate(self, count, offline):
        done = 0
        while done < count:
            hand = self.rng.choice((self.there, self.here))
            done += bool(hand.operation(offline))

    def round_offline(self):
        self.kill()
        self.operate(ROUND, offline=True)
        self.settle()

    def round_online(self, disturb=lambda: None):
        self.start()
        for _ in range(ROUND):
            self.operate(1, offline=False)
            if self.rng.random() < 0.1:
                self.order()
            disturb()
        self.settle()

    def round_killed(self):
        def disturb():
            if self.child is None:
                self.start()
            elif self.rng.random() < 0.1:
                self.child.receive(self.rng.random() * 0.1)
                self.kill()
                self.model.note("engine", "killed")

        self.start()
        for _ in range(ROUND):
            self.operate(1, offline=False)
            if self.child and self.rng.random() < 0.2:
                self.order()
            disturb()
        self.settle()

    def round_stopped(self):
        """The engine stands still in the middle of something while more happens."""
        self.start()
        self.operate(ROUND // 3, offline=False)
        self.order()
        self.child.receive(self.rng.random() * 0.1)
        self.child.process.send_signal(signal.SIGSTOP)
        self.operate(ROUND // 3, offline=False)
        self.child.process.send_signal(signal.SIGCONT)
        self.operate(ROUND // 3, offline=False)
        self.settle()

    def play(self, operations):
        self.settle()
        for _ in range(max(1, operations // ROUND)):
            kind = self.rng.choice((self.round_offline, self.round_online, self.round_killed, self.round_stopped))
            self.model.note("test", kind.__name__)
            kind()
        assert self.child.stop() == 0
