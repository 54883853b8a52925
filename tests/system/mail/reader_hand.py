"""The Maildir's side of the model: what mail readers and people do to the files. Each operation picks what it may change,
does it, and tells the model; False: there was nothing to do it to.

With an engine at work a file may get another name at any moment. A reader knows it by its inode, as its directory shows it, and
looks again; what is not to be found is left alone.
"""

import contextlib
import os
import shutil
import time

from model import (FLAG_LETTERS, GUARD, KEYWORDS, LETTER_FLAGS, READER, SERVER, Message, compose, directory_name,
                   keyword_table, letters_of, plain)


class ReaderHand:
    def __init__(self, model, vault, rng):
        self.model, self.mail, self.rng = model, vault / "Mail", rng
        self.files = 0

    def operation(self, offline):
        kinds = [(self.new, 4), (self.flags, 8), (self.remove, 2), (self.move, 2), (self.move_by_new_file, 1), (self.copy, 1.5),
                 (self.edit, 1.5), (self.new_draft, 1), (self.touch, 0.5), (self.make_folder, 0.8), (self.rename_folder, 0.5),
                 (self.remove_folder, 0.3)]
        if offline:
            kinds += [(self.edit_removed, 1), (self.remove_folder_with_news, 0.2)]
        return self.rng.choices([k for k, _ in kinds], [w for _, w in kinds])[0](offline)

    # -- files ------------------------------------------------------------------------------------------------

    def directory(self, folder):
        return self.mail / directory_name(folder)

    def entries(self, folder):
        for part in ("cur", "new"):
            with contextlib.suppress(FileNotFoundError):
                yield from os.scandir(self.directory(folder) / part)

    def locate(self, m):
        """The path of its file now, or None. By its inode; the engine may also have written it anew."""
        others = {other.inode for other in self.model.messages if other is not m and other.folder == m.folder}
        found = None
        for entry in self.entries(m.folder):
            if entry.inode() == m.inode or entry.inode() not in others:
                with contextlib.suppress(FileNotFoundError), open(entry.path, "rb") as f:
                    if plain(f.read()) == plain(m.content):
                        found = entry.path
            if found and entry.inode() == m.inode:
                break
        return found

    def attempt(self, m, action):
        """Does action(path); again when the file had another name by then. False: it is not there."""
        for _ in range(50):
            path = self.locate(m)
            if path:
                try:
                    action(path)
                    return True
                except FileNotFoundError:
                    continue
        return False

    def choose(self, good):
        found = [m for m in self.model.messages if m.inode is not None and good(m)]
        return self.rng.choice(found) if found else None

    def choose_folder(self, *without):
        found = [f for f in self.model.folders if self.model.free(f, READER) and f not in without]
        return self.rng.choice(found) if found else None

    def choose_target(self, m):
        folder = self.choose_folder(m.folder)
        return None if folder is None or self.model.has_twin(m, folder, READER) else folder

    def name(self):
        """A name as readers make them."""
        self.files += 1
        return "%d.%d_%d.laptop" % (time.time(), os.getpid(), self.files)

    def letters(self, folder, flags, offline):
        """The letters for flags in that folder, or None where a keyword has none and cannot get one."""
        table = {keyword: letter for letter, keyword in keyword_table(self.directory(folder)).items()}
        for keyword in flags:
            if keyword not in FLAG_LETTERS and keyword not in table:
                if not offline:
                    return None
                free = next(n for n in range(26) if chr(97 + n) not in table.values())
                with open(self.directory(folder) / "dovecot-keywords", "a", encoding="utf-8") as f:
                    f.write("%d %s\n" % (free, keyword))
                table[keyword] = chr(97 + free)
        return "".join(sorted(FLAG_LETTERS.get(f) or table[f] for f in flags))

    def write(self, folder, content, letters, in_new=False, date=None):
        """By way of tmp/, as all readers do. The inode."""
        name = self.name()
        temporary = self.directory(folder) / "tmp" / name
        temporary.write_bytes(content)
        if date:
            os.utime(temporary, (date, date))
        inode = temporary.stat().st_ino
        temporary.rename(self.directory(folder) / ("new" if in_new else "cur") / (name if in_new else name + ":2," + letters))
        return inode

    # -- messages ---------------------------------------------------------------------------------------------

    def new(self, offline, folder=None):
        rng = self.rng
        folder = folder or self.choose_folder()
        in_new = rng.random() < 0.3
        flags = [] if in_new else rng.sample([*FLAG_LETTERS, *KEYWORDS], rng.choice((0, 1, 1, 2)))
        letters = self.letters(folder, flags, offline)
        if letters is None:
            return False
        token = self.model.new_token()
        content = compose(token, 1, rng, identified=rng.random() < 0.7)
        for _ in range(2 if rng.random() < 0.1 else 1):  # sometimes the same twice
            date = int(time.time()) - rng.randrange(10**8) if rng.random() < 0.5 else None
            data = content.replace(b"\n", b"\r\n") if rng.random() < 0.2 else content
            inode = self.write(folder, data, letters, in_new, date)
            m = self.model.add(Message(token, 1, content, folder, flags, date), READER)
            m.inode = inode
            self.model.note(READER, "new", m)
        return True

    def flags(self, offline):
        flag = self.rng.choice([*FLAG_LETTERS, *KEYWORDS])
        m = self.choose(lambda m: self.model.may_flag(m, READER, flag))
        letter = m and self.letters(m.folder, [flag], offline)
        if not letter or m.source and not self.same_letters(m.source, m.folder, letter):
            return False
        on = flag not in m.flags
        return self.set_flag(m, flag, letter, on)

    def set_flag(self, m, flag, letter, on):
        def rename(path):
            folder, name = os.path.dirname(os.path.dirname(path)), os.path.basename(path)
            letters = set(letters_of(name)) - {letter} | ({letter} if on else set())
            os.rename(path, os.path.join(folder, "cur", name.split(":2,")[0] + ":2," + "".join(sorted(letters))))

        if not self.attempt(m, rename):
            return False
        self.model.flag(m, READER, flag, on)
        self.model.note(READER, "+" + flag if on else "-" + flag, m)
        return True

    def remove(self, offline):
        m = self.choose(lambda m: self.model.may_remove(m, READER))
        if not m or not self.attempt(m, os.unlink):
            return False
        self.model.note(READER, "remove", m)
        self.model.remove(m, READER)
        return True

    def same_letters(self, source, target, letters):
        """Whether the keywords among them mean the same in both folders."""
        here, there = keyword_table(self.directory(source)), keyword_table(self.directory(target))
        return all(letter in LETTER_FLAGS or here.get(letter) == there.get(letter) for letter in letters)

    def is_there(self, folder, name):
        base = name.split(":2,")[0]
        return any(entry.name.split(":2,")[0] == base for entry in self.entries(folder))

    def move(self, offline):
        """The file under its name to another folder."""
        m = self.choose(lambda m: self.model.may_remove(m, READER))
        target = m and self.choose_target(m)
        path = target and self.locate(m)
        if not path or self.is_there(target, os.path.basename(path)):
            return False
        source, moved = m.folder, []

        def rename(path):
            if self.same_letters(source, target, letters_of(path)):
                part = os.path.basename(os.path.dirname(path))
                os.rename(path, self.directory(target) / part / os.path.basename(path))
                moved.append(path)

        if not self.attempt(m, rename) or not moved:
            return False
        self.model.note(READER, "move to " + target, m)
        m.source = m.source or m.folder
        self.model.move(m, READER, target)
        return True

    def move_by_new_file(self, offline):
        """A new file in another folder, the old one removed, as mutt does it."""
        m = self.choose(lambda m: self.model.may_remove(m, READER, alone=True))
        target = m and self.choose_target(m)
        return bool(target) and self.replace(m, m.content, m.version, target, offline)

    def new_draft(self, offline):
        """Another text in a new file, the old one removed."""
        m = self.choose(lambda m: self.model.may_remove(m, READER, alone=True))
        return bool(m) and self.replace(m, self.next_version(m), m.version + 1, m.folder, offline)

    def next_version(self, m):
        return compose(m.token, m.version + 1, self.rng, identified=b"\nMessage-ID:" in m.content)

    def replace(self, m, content, version, target, offline):
        letters = self.letters(target, m.flags, offline)
        path = self.locate(m)
        if letters is None or not path:
            return False
        inode = self.write(target, content, letters)
        if not self.attempt(m, os.unlink):
            raise AssertionError("a reader lost sight of %s" % m)
        origin = (m.folder, m.uid) if m.uid is not None else m.origin
        self.model.remove(m, READER)
        new = self.model.add(Message(m.token, version, content, target, m.flags), READER)
        new.inode, new.origin, new.survives = inode, origin, True
        self.model.note(READER, "new file and remove", m, new)
        return True

    def copy(self, offline):
        """The file under its name to another folder: with its time, with a new one, or as a second name of the same file."""
        m = self.choose(lambda m: self.model.may_change(m, READER))
        target = m and self.choose_target(m)
        path = target and self.locate(m)
        if not path or self.is_there(target, os.path.basename(path)) or target == m.source:  # there it is what it was before
            return False
        how = self.rng.choice((shutil.copy2, shutil.copy2, shutil.copy))
        copies = []

        def copy(path):
            if self.same_letters(m.folder, target, letters_of(path)):
                temporary = self.directory(target) / "tmp" / os.path.basename(path)
                how(path, temporary)
                copies.append(temporary.stat().st_ino)
                temporary.rename(self.directory(target) / os.path.basename(os.path.dirname(path)) / os.path.basename(path))

        if not self.attempt(m, copy) or not copies:
            return False
        new = self.model.add(Message(m.token, m.version, m.content, target, m.flags), READER)
        new.inode, new.source, m.copied = copies[0], m.source or m.folder, True
        self.model.touch(READER, m.folder)
        self.model.note(READER, "copy", m, new)
        return True

    def edit(self, offline):
        m = self.choose(lambda m: self.model.may_remove(m, READER, alone=True) and not m.survives)
        return bool(m) and self.edit_file(m, offline)

    def edit_file(self, m, offline):
        """Another text in the file: written into it, or by renaming a new one over it."""
        content = self.next_version(m)
        path = self.locate(m)
        if not path:
            return False
        if offline and self.rng.random() < 0.5:
            temporary = self.directory(m.folder) / "tmp" / self.name()
            temporary.write_bytes(content)
            m.inode = temporary.stat().st_ino
            temporary.rename(path)
        else:
            with open(path, "r+b") as f:
                f.write(content)
                f.truncate()
        self.model.note(READER, "edit", m)
        self.model.edit(m, content)
        return True

    def edit_removed(self, offline):
        """The server has removed it, and the engine has not seen that."""
        found = [m for m in self.model.removed if m.folder in self.model.folders and self.model.free(m.folder, READER)
                 and not m.flaggers and self.model.may_go(m.folder, READER)]
        m = self.rng.choice(found) if found else None
        if not m or not self.edit_file(m, offline):
            return False
        self.model.removed.remove(m)
        self.model.gone.remove(m)
        m.origin = None
        self.model.add(m, READER)
        return True

    def touch(self, offline):
        """A new time and the same text: nothing changes, but the date of a message that has to go up for another reason."""
        m = self.choose(lambda m: self.model.may_change(m, READER) and m.changer is None)
        if not m or not self.attempt(m, os.utime):
            return False
        m.date = None
        self.model.note(READER, "touch", m)
        return True

    # -- folders ----------------------------------------------------------------------------------------------

    def choose_name(self):
        found = [n for n in self.model.folder_names if self.model.may_take_name(n, READER)]
        return self.rng.choice(found) if found else None

    def make_folder(self, offline, name=None):
        name = name or self.choose_name()
        if not name or self.directory(name).exists() and any(self.directory(name).glob("cur")):
            return False
        for part in ("tmp", "new", "cur"):
            (self.directory(name) / part).mkdir(parents=True, exist_ok=True)
        self.model.add_folder(name, READER)
        self.model.note(READER, "make folder", name)
        return True

    def rename_folder(self, offline):
        names = [f for f in self.model.folders if self.model.own(f, READER) and self.directory(f).exists()]
        new = self.choose_name()
        if not names or not new:
            return False
        name = self.rng.choice(names)
        if new.startswith(name + "/") or self.directory(new).exists() or \
                any(not self.model.may_take_name(new + f[len(name):], READER) for f in self.model.below(name)):
            return False
        self.directory(new).parent.mkdir(parents=True, exist_ok=True)
        self.directory(name).rename(self.directory(new))
        self.model.rename_folder(name, new, READER)
        self.model.note(READER, "rename folder", name, new)
        return True

    def small(self, name):
        return self.model.folders[name].base < GUARD and len(self.model.inside(name)) < GUARD and self.model.below(name) == [name]

    def remove_folder(self, offline):
        names = [f for f in self.model.folders if self.model.own(f, READER) and self.small(f) and self.directory(f).exists()]
        if not names:
            return False
        name = self.rng.choice(names)
        self.remove_directory(name)
        self.model.remove_folder(name, READER)
        self.model.note(READER, "remove folder", name)
        return True

    def remove_directory(self, name):
        directory = self.directory(name)
        if self.rng.random() < 0.5:  # at once
            trash = self.mail.parent / ("trash-" + self.name())
            directory.rename(trash)
            directory = trash
        for _ in range(100):  # file by file, with an engine that may still write
            shutil.rmtree(directory, ignore_errors=True)
            if not directory.exists():
                return
        raise AssertionError("%s cannot be removed" % directory)

    def remove_folder_with_news(self, offline):
        """A folder for which the server has something that the device never saw: it comes back with that at least."""
        names = [f for f, folder in self.model.folders.items() if f != "INBOX" and folder.owner is None and self.small(f)
                 and not folder.moved_out and self.directory(f).exists()
                 and any(m.changer == SERVER and m.uid is not None for m in self.model.inside(f))
                 and not any(m.changer == READER for m in self.model.inside(f))]
        if not names:
            return False
        name = self.rng.choice(names)
        self.remove_directory(name)
        for m in self.model.inside(name):
            self.model.went(name, READER)  # one by one, perhaps, and the folder is the same afterwards
            if m.changer != SERVER:
                m.maybe = m.loose = True
        for m in self.model.gone:
            if m.folder == name and m not in self.model.removed:  # by a reader, which is forgotten then
                self.model.leave_open(m)
        self.model.folders[name].owner = self.model.names[name] = "nobody"
        self.model.note(READER, "remove folder with news", name)
        return True
