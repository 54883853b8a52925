"""What must be in the account after any mixture of operations on both sides, and the comparison with what is.

A Message is one message of one folder. The two hands (server_hand.py, reader_hand.py) do something for real and tell the
Model; compare() then demands that server, Maildir and Model hold the same. Between two comparisons (a round) the model allows
operations whose common outcome the written rules say, whenever and in whatever order the engine sees them:

- one side alone changes a message: that is what it becomes;
- both change flags, each other ones: all of them count;
- one removes it, the other changed its flags: it is removed;
- the server removes it (or its folder) while a reader edits its text, makes it anew or moves it there, with no engine running:
  the reader's text survives.
"""

import base64
import collections
import imaplib
import os
import re
import time

from dovecot import mutf7

SERVER, READER = "server", "reader"
LETTER_FLAGS = {"D": "\\Draft", "F": "\\Flagged", "R": "\\Answered", "S": "\\Seen", "T": "\\Deleted", "P": "$Forwarded"}
FLAG_LETTERS = {flag: letter for letter, flag in LETTER_FLAGS.items()}
KEYWORDS = ("$Label1", "$Label2", "NonJunk", "todo", "a.very-long_keyword")
FOLDER_NAMES = ("Work", "Work/Sub", "Werk", "Über uns", "a&b", "100%", "Archiv/2024", "x y", "Werk/Sub")
FLAT_NAMES = ("Work", "Werk", "Über uns", "a&b", "x y")  # for Cyrus: it has no %, and makes the folders above one by itself
REMOVALS = 9  # of a folder, by one side: the mass-deletion guard asks about 11 of 20 at the earliest
WINDOW = 12   # seconds in which what readers remove counts as at once, and a little more
GUARD = 20
OUR_NAME = re.compile(r"(\d+)\.[0-9a-f]{8}_(\d+)_(\d+)\.satchel,U=(\d+)(?::2,([A-Za-z]*))?")

Seen = collections.namedtuple("Seen", "flags content date")


def compose(token, version, rng, identified=True):
    """A message as a reader writes it, lines ended by LF. The same token and version may come with another filling."""
    head = ["X-Token: " + token, "Subject: %s, version %d" % (token, version)]
    if identified:
        head += ["Message-ID: <%s@acme.example>" % token, "From: anna@acme.example", "Date: Mon, 01 Sep 2025 10:00:00 +0200"]
    size = 60000 if rng.random() < 0.02 else rng.randint(1, 2500)
    filling = "".join(rng.choice("abcdefghij Größe\n") for _ in range(min(size, 300))) * (size // 300 + 1)
    return ("\n".join(head) + "\n\n" + filling[:size] + "\n%s/%d\n" % (token, version)).encode()


def plain(data):
    """Text for comparison: how lines end and whether the last one does is the carrier's business."""
    return data.replace(b"\r\n", b"\n").rstrip(b"\n")


def unmutf7(name):
    def part(match):
        text = match.group(1)
        return base64.b64decode(text.replace(",", "/") + "=" * (-len(text) % 4)).decode("utf-16-be") if text else "&"

    return re.sub("&([^-]*)-", part, name)


def directory_name(folder):
    """The path of a folder below Mail, as agent/mail/sync/name.h has it."""
    return folder.replace("%", "%25")


class Message:
    def __init__(self, token, version, content, folder, flags=(), date=None):
        self.token, self.version, self.content, self.folder = token, version, content, folder
        self.flags, self.date = set(flags), date  # date None: whatever it is, the same on both sides
        self.uid = None       # where the server has it: must stay while nobody changes more than flags
        self.inode = None     # what a reader knows a file by
        self.changer = None   # who made, moved, edited or copied it in this round
        self.flaggers = {}    # flag: who changed it in this round
        self.origin = None    # (folder, UID) of the server's message that a reader moved or edited in this round
        self.source = None    # the folder in whose letters its name may be, as a reader moved or copied it in this round
        self.copied = False   # by a reader in this round: whose flags the copy has is open then, if the server changes some
        self.former = None    # its text before that
        self.survives = False # even if the server removes that
        self.maybe = False    # the rules leave open whether it is there
        self.loose = False    # the rules leave open which flags it has

    def __str__(self):
        return "%s/%d in %s uid %s %s" % (self.token, self.version, self.folder, self.uid, sorted(self.flags))

    def settle(self):
        self.changer = self.origin = self.former = self.source = None
        self.flaggers = {}
        self.copied = self.survives = self.maybe = self.loose = False


class Folder:
    def __init__(self, name):
        self.name = name
        self.removed_at = []   # by readers
        self.settle(0)

    def settle(self, base):
        self.base = base       # messages at the start of the round
        self.removals = 0      # by the server in this round
        self.touched = set()   # sides that did anything in it in this round
        self.owner = None      # the side that made or renamed it in this round: the other one leaves it alone
        self.moved_out = False # a reader moved one of its messages elsewhere


class Model:
    def __init__(self, uidplus=True, intermediates=False, folder_names=FOLDER_NAMES):
        self.uidplus = uidplus              # without it, what is removed here stays on the server as \\Deleted
        self.folder_names = folder_names
        self.intermediates = intermediates  # the server makes the missing folders above one
        self.folders, self.messages = {"INBOX": Folder("INBOX")}, []
        self.gone = []      # in this round
        self.removed = []   # those of them that the server removed: still in the Maildir as long as no engine ran
        self.names = {}     # folder names that came or went in this round: by whom
        self.emptied = {}   # folders that readers removed: when how many messages went with them
        self.tokens = 0
        self.log = []

    # -- what may be done -------------------------------------------------------------------------------------

    def free(self, folder, side):
        """Whether the side may do something in that folder."""
        return self.folders[folder].owner in (None, side)

    def may_flag(self, m, side, flag):
        return self.free(m.folder, side) and m.changer in (None, side) and m.flaggers.get(flag, side) == side and \
            not (m.copied and side == SERVER)

    def may_change(self, m, side, alone=True):
        """Whether the side may do more than flags to it. `alone`: only if the other one has not changed its flags."""
        others = any(who != side for who in m.flaggers.values())
        return self.free(m.folder, side) and m.changer in (None, side) and not (alone and others)

    def may_remove(self, m, side, alone=False):
        return self.may_change(m, side, alone) and self.may_go(m.folder, side)

    def below(self, name):
        return [f for f in self.folders if f == name or f.startswith(name + "/")]

    def may_take_name(self, name, side):
        """Whether no folder has it, and the other side did not just give it or one above it up."""
        above = ["/".join(name.split("/")[:n]) for n in range(1, name.count("/") + 2)]
        return name not in self.folders and all(self.names.get(n, side) == side for n in above)

    def own(self, name, side):
        """Whether the side alone was in the folder and those below it, so that it may rename or remove them."""
        return name != "INBOX" and all(self.folders[f].touched <= {side} and self.free(f, side) for f in self.below(name)) and \
            all(who == side for n, who in self.names.items() if n.startswith(name + "/"))

    def has_twin(self, m, folder, side):
        """Whether the other side has put the same text there in this round: after a kill one would do for both."""
        return any(t.content == m.content and t.folder == folder and t.changer not in (None, side) for t in self.messages)

    def inside(self, folder):
        return [m for m in self.messages if m.folder == folder]

    # The mass-deletion guard is left in peace.

    def may_go(self, folder, side):
        """Whether one more message may go from that folder."""
        folder = self.folders[folder]
        if side == SERVER:
            return folder.removals < REMOVALS
        folder.removed_at = [t for t in folder.removed_at if t > time.monotonic() - WINDOW]
        return len(folder.removed_at) < REMOVALS

    def went(self, folder, side):
        self.folders[folder].removals += side == SERVER
        if side == READER:
            self.folders[folder].removed_at.append(time.monotonic())

    # -- what was done ----------------------------------------------------------------------------------------

    def new_token(self):
        self.tokens += 1
        return "token-%04d" % self.tokens

    def note(self, side, what, *about):
        self.log.append("%s %s: %s" % (side, what, "; ".join(map(str, about))))

    def touch(self, side, *folders):
        for name in folders:
            self.folders[name].touched.add(side)

    def add(self, m, side):
        m.changer = side
        self.messages.append(m)
        self.touch(side, m.folder)
        return m

    def flag(self, m, side, flag, on):
        m.flags.add(flag) if on else m.flags.discard(flag)
        m.flaggers[flag] = side
        self.touch(side, m.folder)

    def remove(self, m, side):
        self.messages.remove(m)
        self.gone.append(m)
        self.touch(side, m.folder)
        self.went(m.folder, side)
        if side == SERVER and m.changer is None:
            self.removed.append(m)

    def move(self, m, side, target):
        self.touch(side, m.folder, target)
        self.went(m.folder, side)
        self.folders[m.folder].moved_out |= side == READER
        self.detach(m, side)
        m.folder = target

    def edit(self, m, content):
        """By a reader, in its place."""
        self.touch(READER, m.folder)
        self.went(m.folder, READER)
        self.detach(m, READER)
        m.former = m.former or m.content
        m.content, m.version, m.date, m.survives = content, m.version + 1, None, True

    def detach(self, m, side):
        if side == READER and m.uid is not None:
            m.origin = (m.folder, m.uid)
        m.uid, m.changer = None, side

    def add_folder(self, name, side):
        self.folders[name] = Folder(name)
        self.folders[name].removed_at = self.emptied.pop(name, [])
        self.folders[name].owner = self.names[name] = side

    def rename_folder(self, name, new, side):
        for old in self.below(name):
            to = new + old[len(name):]
            folder = self.folders.pop(old)
            folder.name, folder.owner = to, side
            self.folders[to] = folder
            self.names[old] = self.names[to] = side
            for m in self.messages:
                if m.folder == old:
                    m.folder = to
                    m.uid = None if side == READER else m.uid

    def remove_folder(self, name, side):
        if side == READER:  # made again at once, it is the same folder to the engine, which has lost so many messages
            self.emptied[name] = self.folders[name].removed_at + [time.monotonic()] * len(self.inside(name))
        del self.folders[name]
        self.names[name] = side
        self.messages = [m for m in self.messages if m.folder != name]
        self.removed = [m for m in self.removed if m.folder != name]

    def forget_agreement(self):
        """The engine has lost what it knew before it saw this round: it cannot tell who changed a flag and who removed or
        moved what. So that is left open; nothing may be lost, and nothing sent twice."""
        for m in self.gone:
            if m.folder in self.folders:
                self.leave_open(m)
        for m in self.messages[:]:
            if m.origin and m.origin[0] in self.folders:
                old = Message(m.token, m.version, m.former or m.content, m.origin[0], m.flags)
                self.leave_open(old)
            m.uid, m.loose = None, bool(m.flaggers) or m.loose
        self.note("engine", "has lost its state")

    def leave_open(self, m):
        m.maybe = m.loose = True
        m.uid = None
        self.messages.append(m)

    # -- what must be -----------------------------------------------------------------------------------------

    def compare(self, server, local):
        """Both observations against each other and against the model; takes over UIDs and what was left open. The
        differences as lines, none if all is well."""
        faults = same_sides(server, local, self.uidplus)
        extra = set(local) - set(self.folders)
        if self.intermediates:
            for name in sorted(extra):
                if not local[name] and any(f.startswith(name + "/") for f in {*self.folders, *self.names}):
                    self.folders[name] = Folder(name)
                    extra.discard(name)
        faults += ["folder %s must not be there" % name for name in sorted(extra)]
        faults += ["folder %s is missing" % name for name in sorted(set(self.folders) - set(local))]
        for name in sorted(set(local) & set(self.folders)):
            faults += self.compare_folder(name, {uid: seen for uid, (_, seen) in local[name].items()})
        if not faults:
            self.settle(local)
        return faults

    def compare_folder(self, name, found):
        faults, open_ones = [], []
        wanted = self.inside(name)
        for m in wanted:  # those with a UID first: it must be that very message
            if m.uid is not None and not m.maybe:
                seen = found.get(m.uid)
                if seen is None or not matches(m, seen, m.loose):
                    faults.append("wanted %s, found %s" % (m, describe(seen)))
                found.pop(m.uid, None)
            else:
                open_ones.append(m)
        texts = collections.Counter(m.content for m in open_ones)
        for m in open_ones:
            if texts[m.content] > 1:  # which of them got which date is the engine's business
                m.date = None
        for strict in (True, False):
            for m in sorted(open_ones, key=lambda m: m.maybe):
                uid = next((u for u, seen in sorted(found.items()) if matches(m, seen, m.loose and not strict)), None)
                if uid is not None:
                    m.uid, m.flags, m.date = uid, set(found[uid].flags), found[uid].date
                    del found[uid]
                    open_ones.remove(m)
        for m in open_ones:
            if m.maybe:
                self.messages.remove(m)
            else:
                faults.append("wanted %s, not found" % m)
        faults += ["in %s, uid %d, not wanted: %s" % (name, uid, describe(seen)) for uid, seen in sorted(found.items())]
        return faults

    def settle(self, local):
        inodes = {name: {uid: os.stat(path).st_ino for uid, (path, _) in found.items()} for name, found in local.items()}
        for m in self.messages:
            m.settle()
            m.inode = inodes[m.folder][m.uid]
            m.date = local[m.folder][m.uid][1].date
        for folder in self.folders.values():
            folder.settle(len(self.inside(folder.name)))
        self.gone, self.removed, self.names = [], [], {}
        self.log.clear()


def matches(m, seen, loose):
    return plain(m.content) == plain(seen.content) and (loose or m.flags == seen.flags) and m.date in (None, seen.date)


def describe(seen):
    if seen is None:
        return "nothing"
    last = seen.content.rstrip().rsplit(b"\n", 1)[-1].decode(errors="replace")
    return "%s, %d bytes, date %s, %s" % (last, len(seen.content), seen.date, sorted(seen.flags))


def same_sides(server, local, uidplus):
    faults = ["folder %s is on one side alone" % name for name in sorted(set(server) ^ set(local))]
    for name in sorted(set(server) & set(local)):
        there, here = server[name], local[name]
        for uid in sorted(set(there) | set(here)):
            if uid not in here:
                if uidplus or "\\Deleted" not in there[uid].flags:
                    faults.append("in %s, uid %d is on the server alone: %s" % (name, uid, describe(there[uid])))
            elif uid not in there:
                faults.append("in %s, uid %d is in the Maildir alone: %s" % (name, uid, describe(here[uid][1])))
            elif there[uid]._replace(content=b"") != here[uid][1]._replace(content=b"") or \
                    plain(there[uid].content) != plain(here[uid][1].content):
                faults.append("in %s, uid %d differs: on the server %s; in the Maildir %s" %
                              (name, uid, describe(there[uid]), describe(here[uid][1])))
    return faults


# -- what is ----------------------------------------------------------------------------------------------------


def folder_list(imap):
    """Names of the folders that can be selected."""
    result, lines = imap.list()
    assert result == "OK", lines
    names = []
    for line in lines:
        if line is None:
            continue
        if isinstance(line, tuple):
            attributes, name = line[0].decode(), line[1].decode()
        else:
            attributes, name = re.fullmatch(r'(\(.*?\)) "?.*?"? "?(.*?)"?', line.decode()).groups()
        if "\\Noselect" not in attributes and "\\NonExistent" not in attributes:
            names.append(unmutf7(name))
    return names


def see_server(imap):
    """{folder: {UID: Seen}}."""
    seen = {name: see_mailbox(imap, name) for name in folder_list(imap)}
    return {name: found for name, found in seen.items() if found is not None}


def see_mailbox(imap, name):
    result, count = imap.select('"%s"' % mutf7(name), readonly=True)
    if result != "OK":  # Dovecot lists the old name of a renamed folder, if there is one below it
        return None
    found = {}
    if int(count[0]) == 0:
        return found
    result, data = imap.uid("FETCH", "1:*", "(UID FLAGS INTERNALDATE BODY.PEEK[])")
    assert result == "OK", data
    for item, after in zip(data, data[1:]):
        if not isinstance(item, tuple):
            continue
        text = item[0] + (after if isinstance(after, bytes) else b"")
        uid = int(re.search(rb"UID (\d+)", text).group(1))
        flags = set(re.search(rb"FLAGS \(([^)]*)\)", text).group(1).decode().split()) - {"\\Recent"}
        found[uid] = Seen(frozenset(flags), item[1], int(time.mktime(imaplib.Internaldate2tuple(text))))
    return found


def keyword_table(directory):
    """{letter: keyword} of a Maildir folder."""
    try:
        lines = (directory / "dovecot-keywords").read_text().splitlines()
    except FileNotFoundError:
        return {}
    return {chr(ord("a") + int(line.split(" ", 1)[0])): line.split(" ", 1)[1] for line in lines if line}


def letters_of(name):
    return name.rsplit(":2,", 1)[1] if ":2," in name else ""


def see_maildir(mail):
    """{folder: {UID: (path, Seen)}}, and what is wrong with names: every file must be one of ours, there once, and dated as
    its name says."""
    seen, faults = {}, []
    for top, directories, _ in os.walk(mail):
        if not {"cur", "new"} <= set(directories):
            continue
        directories[:] = [d for d in directories if d not in ("cur", "new", "tmp")]
        folder = mail / top
        name = os.path.relpath(top, mail).replace("%25", "%")
        seen[name] = see_directory(folder, keyword_table(folder), faults)
    return seen, faults


def see_directory(folder, table, faults):
    found = {}
    for path in [*(folder / "cur").iterdir(), *(folder / "new").iterdir()]:
        ours = OUR_NAME.fullmatch(path.name)
        content, date = path.read_bytes(), int(path.stat().st_mtime)
        if not ours:
            faults.append("no name of ours: %s, %s" % (path, describe(Seen((), content, date))))
            continue
        seconds, _, uid, _, letters = ours.groups()
        if int(uid) in found:
            faults.append("UID there twice: %s, %s" % (path, describe(Seen((), content, date))))
        if date != int(seconds):
            faults.append("not dated as its name says: %s, %d" % (path, date))
        flags = frozenset(LETTER_FLAGS.get(c) or table.get(c, "letter " + c) for c in letters or "")
        found[int(uid)] = (path, Seen(flags, content, date))
    return found
