"""The cases. Each adds what it measured to a Book; every peer is checked to have done the work that is timed."""

import re
import time

import accounts
import peers
import places
from line import Line
from peers import Mbsync, Satchel, drain, is_flagged, resident, set_flag
from relay import Relay
from watching import Arrivals, Listener, wait_flag

LATENCIES = 200
NO_CHANGES = 5  # a run
UID = re.compile(r",U=(\d+)")


def check(what, found, expected):
    assert found == expected, "%s: %d, and should be %d" % (what, found, expected)


class Bench:
    def __init__(self, companies, root, book, options):
        self.accounts, self.root, self.book, self.options = companies, root, book, options
        self.places = [places.PLACES[name] for name in options.where]

    def copy(self, peer, place, login):
        return peer(place.path, self.accounts.account(login), self.accounts.folders[login])

    def say(self, text):
        self.book.say(text)

    # -- first sync -------------------------------------------------------------------------------------------

    def first(self, login):
        """Every peer gets all of an account into an empty directory, by turns."""
        total, account = self.accounts.total(login), self.accounts.account(login)
        drain(account, self.accounts.folders[login])  # what the server keeps for readers is warm for all of them
        for run in range(self.options.runs):
            self.say("first sync of %s, run %d" % (login, run + 1))
            with accounts.settled():
                seconds, size = drain(account, self.accounts.folders[login])
            self.book.add("first", login, "drain", "", "s", seconds)
            self.book.add("first bytes", login, "drain", "", "bytes", size)
            for place in self.places:
                with place(self.root) as empty, accounts.settled():
                    self.book.add("first", login, "files", place.name, "s", peers.files(empty.path, total, size))
                for peer in (Mbsync, Satchel):
                    self._first(login, peer, place, total)

    def _first(self, login, peer, kind, total):
        with kind(self.root) as place, self.copy(peer, place, login) as copy:
            with accounts.settled():
                seconds = copy.first()
            check("messages of %s" % peer.name, copy.count(), total)
            self.book.add("first", login, peer.name, kind.name, "s", seconds)
            self.book.add("first memory", login, peer.name, kind.name, "bytes", copy.peak)

    # -- changes ----------------------------------------------------------------------------------------------

    def steady(self, login, changes):
        """With a copy that is complete, on an account of its own."""
        for kind in self.places:
            for peer in (Mbsync, Satchel):
                mine = self.accounts.clone(login)
                self.say("%s, %s: changes" % (peer.name, kind.name))
                with kind(self.root) as place, self.copy(peer, place, mine) as copy:
                    copy.first(durable=False)
                    check("messages of %s" % peer.name, copy.count(), self.accounts.total(mine))
                    self.book.of(login, peer.name, kind.name)
                    (self._steady_mbsync if peer is Mbsync else self._steady_satchel)(copy, mine, changes)

    def _steady_mbsync(self, copy, login, changes):
        for run in range(self.options.runs):
            for _ in range(NO_CHANGES):
                self.book.note("no change", "s", copy.sync())
            if not changes:
                continue
            seconds = self._flags(copy, login, run)
            self.book.note("flags up", "s", seconds + copy.sync())
            self._check_flags(login, run)
            self.accounts.add(login, self.options.changes)
            with accounts.settled():
                self.book.note("mail down", "s", copy.sync())
            check("messages of mbsync", copy.count(), self.accounts.total(login))
        copy.peak = 0
        with Relay(copy.account["port"]) as relay:
            copy.sync(port=relay.port)
            self.book.note("no change bytes", "bytes", relay.received)
        self.book.note("no change memory", "bytes", copy.peak)

    def _steady_satchel(self, copy, login, changes):
        for run in range(self.options.runs):
            copy.stop()
            self.book.note("no change, start", "s", copy.start())
            for _ in range(NO_CHANGES):
                self.book.note("no change", "s", copy.sync())
            if not changes:
                continue
            seconds = self._flags(copy, login, run)
            self.book.note("flags up", "s", seconds + copy.sync())
            self._check_flags(login, run)
            copy.stop()
            self.accounts.add(login, self.options.changes)
            with accounts.settled():
                self.book.note("mail down", "s", copy.start())
            check("messages of satchel", copy.count(), self.accounts.total(login))
        if changes:
            self._mail_latency(copy)
            self._flag_latency(copy)
        copy.stop()
        copy.peak = 0
        with Relay(copy.account["port"]) as relay:
            copy.start(port=relay.port)
            self.book.note("no change bytes, start", "bytes", relay.received)
            before = relay.received
            copy.sync()
            self.book.note("no change bytes", "bytes", relay.received - before)
            self.book.note("resident", "bytes", resident(copy.child.process.pid, "VmRSS"))
            copy.stop()
        self.book.note("no change memory", "bytes", copy.peak)

    def _flags(self, copy, login, run):
        """A reader marks messages, every other time takes that back; the renames count."""
        with accounts.settled():
            began = time.monotonic()
            copy.flag(self.options.changes, on=run % 2 == 0)
            return time.monotonic() - began

    def _check_flags(self, login, run):
        check("flags on the server", self.accounts.flagged(login), self.options.changes if run % 2 == 0 else 0)

    # -- latency ----------------------------------------------------------------------------------------------

    def _mail_latency(self, copy):
        """One message at a time, into INBOX of a child that waits for news."""
        inbox = copy.folder("INBOX")
        with Arrivals([inbox / "new", inbox / "cur"]) as arrivals, Listener(copy.account, "INBOX") as listener, Line(copy.account) as line:
            for n in range(LATENCIES):
                _, stored = line.append("INBOX", accounts.message("latency.%d" % n, b"x" * 3000))
                came, _ = arrivals.wait()
                told = listener.wait()
                arrivals.clear()
                copy.listen()
                self.book.note("mail latency", "s", came - stored)
                self.book.note("mail latency, server", "s", told - stored)
                self.book.note("mail latency, own", "s", max(0, came - told))
        copy.sync()

    def _flag_latency(self, copy):
        """One rename at a time."""
        with Line(copy.account) as line:
            line.command('EXAMINE "INBOX"')
            for path in list(copy.files("INBOX"))[:LATENCIES]:
                uid, on = int(UID.search(path.name)[1]), not is_flagged(path)
                began = time.monotonic()
                set_flag(path, "F", on)
                self.book.note("flag latency", "s", wait_flag(line, uid, on) - began)
                copy.listen()
