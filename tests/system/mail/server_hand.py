"""The server's side of the model: what other clients of the account and arriving mail do. Each operation picks what it may
change, does it, and tells the model; False: there was nothing to do it to."""

import imaplib
import re
import socket
import ssl
import time

from dovecot import mutf7
from model import FLAG_LETTERS, GUARD, KEYWORDS, READER, SERVER, Message, compose


def quoted(folder):
    return '"%s"' % mutf7(folder)


class Connection(imaplib.IMAP4_SSL):
    """Without the 40 ms that the kernel lets pass where one side sends in pieces and the other waits for more."""

    def open(self, *args, **kwargs):
        super().open(*args, **kwargs)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read(self, size):
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return super().read(size)

    def readline(self):
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return super().readline()


class ServerHand:
    def __init__(self, model, server, rng, login="anna"):
        self.model, self.server, self.rng, self.login = model, server, rng, login
        self.imap = None

    def connect(self):
        context = ssl.create_default_context(cadata=self.server.ca_pem)
        self.imap = Connection(self.server.host, self.server.port, ssl_context=context, timeout=20)
        self.imap.login(self.login, self.server.users[self.login])
        return self.imap

    def close(self):
        if self.imap:
            self.imap.logout()
            self.imap = None

    def operation(self, offline):
        """One at random. `offline`: no engine is running."""
        kinds = [(self.append, 5), (self.flags, 8), (self.expunge, 3), (self.copy, 1), (self.move, 2), (self.create, 0.8),
                 (self.rename, 0.5), (self.delete, 0.3)]
        if offline:
            kinds += [(self.expunge_edited, 1), (self.delete_with_unsent, 0.3)]
        return self.rng.choices([k for k, _ in kinds], [w for _, w in kinds])[0]()

    # -- messages ---------------------------------------------------------------------------------------------

    def ok(self, answer):
        assert answer[0] == "OK", answer
        return answer

    def select(self, folder):
        self.ok(self.imap.select(quoted(folder)))

    def unselect(self):
        if self.imap.state == "SELECTED":
            self.imap.unselect()

    def choose(self, good):
        found = [m for m in self.model.messages if m.uid is not None and good(m)]
        return self.rng.choice(found) if found else None

    def choose_folder(self, *without):
        found = [f for f in self.model.folders if self.model.free(f, SERVER) and f not in without]
        return self.rng.choice(found) if found else None

    def new_uid(self, code):
        """The new UID in the APPENDUID or COPYUID of the last answer."""
        return int(re.search(rb"(\d+)\]?$", self.imap.untagged_responses.get(code, [b""])[-1]).group(1))

    def append(self, folder=None, flags=None, copies=None, date=None):
        rng = self.rng
        folder = folder or self.choose_folder()
        token = self.model.new_token()
        content = compose(token, 1, rng, identified=rng.random() < 0.8)
        flags = flags if flags is not None else rng.sample([*FLAG_LETTERS, *KEYWORDS], rng.choice((0, 0, 0, 1, 2)))
        date = date or rng.choice((None, int(time.time()) - rng.randrange(10**8)))
        for _ in range(copies or (2 if rng.random() < 0.05 else 1)):
            self.imap.untagged_responses.clear()
            stamp = imaplib.Time2Internaldate(date) if date else None
            answer = self.ok(self.imap.append(quoted(folder), " ".join(flags) or None, stamp, content.replace(b"\n", b"\r\n")))
            m = self.model.add(Message(token, 1, content, folder, flags, date), SERVER)
            m.uid = int(re.search(rb"APPENDUID \d+ (\d+)", answer[1][0]).group(1))
            self.model.note(SERVER, "append", m)
        return True

    def flags(self):
        flag = self.rng.choice([*FLAG_LETTERS, *KEYWORDS])
        m = self.choose(lambda m: self.model.may_flag(m, SERVER, flag))
        if not m:
            return False
        on = flag not in m.flags if self.rng.random() < 0.9 else flag in m.flags
        self.store(m, flag, on)
        return True

    def store(self, m, flag, on):
        self.select(m.folder)
        _, data = self.ok(self.imap.uid("STORE", str(m.uid), "+FLAGS" if on else "-FLAGS", "(%s)" % flag))
        if any(b"UID %d " % m.uid in line or b"UID %d)" % m.uid in line for line in data if line):
            self.model.flag(m, SERVER, flag, on)
            self.model.note(SERVER, "+" + flag if on else "-" + flag, m)

    def really_expunge(self, folder, uid):
        self.select(folder)
        self.ok(self.imap.uid("STORE", str(uid), "+FLAGS.SILENT", "(\\Deleted)"))
        self.ok(self.imap.uid("EXPUNGE", str(uid)))

    def expunge(self):
        m = self.choose(lambda m: self.model.may_remove(m, SERVER))
        if not m:
            return False
        self.really_expunge(m.folder, m.uid)
        self.model.note(SERVER, "expunge", m)
        self.model.remove(m, SERVER)
        return True

    def expunge_edited(self):
        """One that a reader has edited or moved, and the engine has not seen that: the edited text survives."""
        folders = self.model.folders
        found = [m for m in self.model.messages if m.origin and m.origin[0] in folders and folders[m.origin[0]].owner is None
                 and self.model.may_go(m.origin[0], SERVER)]
        if not found:
            return False
        m = self.rng.choice(found)
        self.really_expunge(*m.origin)
        self.model.note(SERVER, "expunge uid %d of %s, edited or moved by a reader:" % m.origin[::-1], m)
        self.model.touch(SERVER, m.origin[0])
        self.model.went(m.origin[0], SERVER)
        m.maybe, m.origin = not m.survives, None
        m.loose = m.loose or m.maybe
        return True

    def copy(self):
        m = self.choose(lambda m: self.model.may_change(m, SERVER))
        folder = self.choose_folder()
        if not m or self.model.has_twin(m, folder, SERVER):
            return False
        self.select(m.folder)
        self.imap.untagged_responses.clear()
        self.ok(self.imap.uid("COPY", str(m.uid), quoted(folder)))
        m.changer = SERVER
        copy = self.model.add(Message(m.token, m.version, m.content, folder, m.flags, m.date), SERVER)
        copy.uid = self.new_uid("COPYUID")
        self.model.touch(SERVER, m.folder)
        self.model.note(SERVER, "copy", m, copy)
        return True

    def move(self):
        m = self.choose(lambda m: self.model.may_remove(m, SERVER, alone=True))
        folder = m and self.choose_folder(m.folder)
        if not folder or self.model.has_twin(m, folder, SERVER):
            return False
        self.select(m.folder)
        self.imap.untagged_responses.clear()
        self.ok(self.imap.uid("MOVE", str(m.uid), quoted(folder)))
        self.model.note(SERVER, "move to " + folder, m)
        self.model.move(m, SERVER, folder)
        m.uid = self.new_uid("COPYUID")
        return True

    # -- folders ----------------------------------------------------------------------------------------------

    def choose_name(self):
        found = [n for n in self.model.folder_names if self.model.may_take_name(n, SERVER)]
        return self.rng.choice(found) if found else None

    def create(self, name=None):
        name = name or self.choose_name()
        if not name:
            return False
        self.ok(self.imap.create(quoted(name)))
        self.model.add_folder(name, SERVER)
        self.model.note(SERVER, "create folder", name)
        return True

    def rename(self):
        if not self.model.uidplus:  # what is marked as removed there may come down again, when the engine is killed in between
            return False
        names = [f for f in self.model.folders if self.model.own(f, SERVER)]
        new = self.choose_name()
        if not names or not new:
            return False
        name = self.rng.choice(names)
        if new.startswith(name + "/") or any(not self.model.may_take_name(new + f[len(name):], SERVER) for f in self.model.below(name)):
            return False
        self.unselect()
        self.ok(self.imap.rename(quoted(name), quoted(new)))
        self.model.rename_folder(name, new, SERVER)
        self.model.note(SERVER, "rename folder", name, new)
        return True

    def small(self, name):
        return self.model.folders[name].base < GUARD and len(self.model.inside(name)) < GUARD and self.model.below(name) == [name]

    def delete(self):
        names = [f for f in self.model.folders if self.model.own(f, SERVER) and self.small(f)]
        if not names:
            return False
        name = self.rng.choice(names)
        self.unselect()
        self.ok(self.imap.delete(quoted(name)))
        self.model.remove_folder(name, SERVER)
        self.model.note(SERVER, "delete folder", name)
        return True

    def delete_with_unsent(self):
        """A folder in which a reader has put something that the engine has not seen: it is made again for that."""
        names = [f for f, folder in self.model.folders.items() if f != "INBOX" and folder.owner is None and self.small(f)
                 and not folder.moved_out and any(m.changer == READER for m in self.model.inside(f))]
        if not names:
            return False
        name = self.rng.choice(names)
        self.unselect()
        self.ok(self.imap.delete(quoted(name)))
        kept = [m for m in self.model.inside(name) if m.changer == READER]
        self.model.messages = [m for m in self.model.messages if m.folder != name or m.changer == READER]
        self.model.removed = [m for m in self.model.removed if m.folder != name]
        for m in kept:
            m.uid = None
        self.model.folders[name].owner = self.model.names[name] = "nobody"
        self.model.note(SERVER, "delete folder with unsent files", name, *kept)
        return True
