"""What was measured, as numbers, a table and a picture; and how it compares with what was aimed at."""

import json
import statistics
import sys
import time

FORMATS = {"s": lambda v: "%.2f s" % v if v >= 1 else "%.1f ms" % (v * 1000),
           "bytes": lambda v: "%.1f MB" % (v / 1e6) if v >= 1e6 else "%d B" % v}


TITLES = {
    "first": "First sync into an empty directory", "first bytes": "What the server says in a first sync",
    "first memory": "Most memory in a first sync", "no change": "A sync in which nothing changed (mbsync: a run; satchel: an order)",
    "no change, start": "The same with a start of the process", "no change bytes": "The same: bytes of the server",
    "no change bytes, start": "The same: bytes of the server, with TLS and login", "no change memory": "The same: most memory",
    "resident": "The same: memory afterwards", "flags up": "Flags changed by renames, until the server has them",
    "mail down": "New mail, from the start of the process", "mail latency": "One new message, from the APPEND's OK to the file",
    "mail latency, server": "The same: to when the server tells another client in IDLE",
    "mail latency, own": "The same: from there to the file (0: it was there before)",
    "flag latency": "One flag, from the rename to the server"}


class Book:
    def __init__(self, about):
        self.about, self.rows, self.began, self.key = about, {}, time.monotonic(), None

    def say(self, text):
        print("[%5.0f s] %s" % (time.monotonic() - self.began, text), file=sys.stderr, flush=True)

    def add(self, case, account, peer, place, unit, value):
        self.rows.setdefault((case, account, peer, place), {"unit": unit, "values": []})["values"].append(value)

    def of(self, account, peer, place):
        """What note() is about from now on."""
        self.key = (account, peer, place)

    def note(self, case, unit, value):
        self.add(case, *self.key, unit, value)

    # -- looking ----------------------------------------------------------------------------------------------

    def values(self, *key):
        return self.rows[key]["values"] if key in self.rows else None

    def median(self, *key):
        values = self.values(*key)
        return statistics.median(values) if values else None

    def percentile(self, share, *key):
        values = self.values(*key)
        return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else None

    def document(self):
        results = [dict(zip(("case", "account", "peer", "place"), key), **row, median=self.median(*key),
                        p99=self.percentile(0.99, *key)) for key, row in self.rows.items()]
        return {"about": self.about, "results": results, "goals": [dict(zip(("goal", "value", "met"), g)) for g in self.goals()]}

    def write_json(self, path):
        with open(path, "w", encoding="utf-8") as out:
            json.dump(self.document(), out, indent=1)
            out.write("\n")

    # -- for a person -----------------------------------------------------------------------------------------

    def table(self):
        for key, value in self.about.items():
            if key == "accounts":
                value = ", ".join("%s: %d messages in %d folders" % (name, n["messages"], n["folders"]) for name, n in value.items())
            print("%-10s %s" % (key, value))
        for account in dict.fromkeys(key[1] for key in self.rows):
            for case, title in TITLES.items():
                rows = [(key, row) for key, row in self.rows.items() if key[:2] == (case, account)]
                if rows:
                    print("\n%s (%s)" % (title, account))
                for key, row in rows:
                    print(self._row(key, row["values"], FORMATS[row["unit"]]))
        print("\nGoals")
        for goal, value, met in self.goals():
            print("  %-6s %s: %s" % ("met" if met else "MISSED", goal, value))

    def _row(self, key, values, unit):
        middle = statistics.median(values)
        span = "%s to %s" % (unit(min(values)), unit(max(values))) if len(values) > 1 else ""
        if len(values) >= 100:
            span += ", p99 " + unit(self.percentile(0.99, *key))
        return ("  %-8s %-10s %10s  %-36s %s" % (key[2], key[3], unit(middle), span, self.ratios(*key, middle))).rstrip()

    def ratios(self, case, account, peer, place, middle):
        """This row against the drain, and against mbsync in the same place and on the native file system."""
        said = []
        base = self.median(case, account, "drain", "")
        if base and peer in ("mbsync", "satchel"):
            said.append("%.2fx the drain" % (middle / base))
        if peer == "satchel" and middle:
            for other in dict.fromkeys((place, "native")):
                base = self.median(case.split(",")[0], account, "mbsync", other)
                if base:
                    more = "%.1fx less than mbsync" if base >= middle else "%.1fx more than mbsync"
                    said.append((more + ", %s") % (max(base / middle, middle / base), other))
        return ", ".join(said)

    def goals(self):
        """(goal, value, met) of each that can be told from what was measured."""
        found = []

        def at_most(goal, value, limit, text="%.2f"):
            if value is not None:
                found.append((goal, text % value, value <= limit))

        def ratio(a, b):
            return a / b if a and b else None

        def at_least(goal, value, limit):
            if value is not None:
                found.append((goal, "%.1f" % value, value >= limit))

        for account in sorted({key[1] for key in self.rows if key[0] == "first"}):
            ours, mbsync = ("first", account, "satchel"), self.median("first", account, "mbsync", "native")
            at_most("first sync, %s: at most 1.5 times the drain" % account,
                    ratio(self.median(*ours, "native"), self.median("first", account, "drain", "")), 1.5)
            at_least("first sync, %s: 5 times faster than mbsync" % account, ratio(mbsync, self.median(*ours, "native")), 5)
            at_least("first sync, %s: in gocryptfs 2 times faster than mbsync on the native file system" % account,
                     ratio(mbsync, self.median(*ours, "gocryptfs")), 2)
        for account in sorted({key[1] for key in self.rows if key[0] == "no change"}):
            for place in ("native", "gocryptfs"):
                self._steady_goals(account, place, at_most, at_least, ratio)
        return found

    def _steady_goals(self, account, place, at_most, at_least, ratio):
        where, ours = "%s, %s" % (account, place), (account, "satchel", place)
        size = self.median("no change bytes", *ours)
        folders = self.about["accounts"][account]["folders"]
        at_most("no change, %s: at most 1 KB a folder from the server" % where, ratio(size, folders), 1024, "%.0f B")
        if account == "large":
            mbsync = self.median("no change", account, "mbsync", place)
            at_least("no change, %s: an order 20 times faster than a run of mbsync" % where, ratio(mbsync, self.median("no change", *ours)), 20)
            at_most("memory, %s: less than 16 MB resident" % where,
                    ratio(self.median("no change memory", *ours), 1e6), 16, "%.1f MB")
        for case, name in (("mail latency, own", "new mail, after the server told of it"), ("flag latency", "a flag of a reader to the server")):
            at_most("latency, %s: %s: p99 below 100 ms" % (where, name), ratio(self.percentile(0.99, case, *ours), 0.001), 100, "%.1f ms")

    def plot(self, path):
        """The first sync as bars."""
        bars = [(key, self.median(*key)) for key in self.rows if key[0] == "first"]
        top, height = max(seconds for _, seconds in bars), 26
        out = ['<svg xmlns="http://www.w3.org/2000/svg" width="760" height="%d" font-family="sans-serif" font-size="13">'
               % (height * len(bars) + 20)]
        for n, ((_, account, peer, place), seconds) in enumerate(sorted(bars)):
            y, width = 10 + height * n, 400 * seconds / top
            color = {"drain": "#888888", "files": "#bbbbbb", "mbsync": "#c0504d", "satchel": "#2e75b6"}[peer]
            out.append('<text x="5" y="%d">%s, %s %s</text><rect x="260" y="%d" width="%.1f" height="18" fill="%s"/>'
                       '<text x="%.1f" y="%d">%.2f s</text>' % (y + 14, account, peer, place, y, width, color, 268 + width, y + 14, seconds))
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join([*out, "</svg>", ""]))
