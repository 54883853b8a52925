"""Random operations on both sides, and what must be in the end: message by message, flag by flag, folder by folder.

Every failure names its seed. SATCHEL_MODEL_OPERATIONS is how many operations each test does, SATCHEL_MODEL_SEED the first seed.
"""

import os
import shutil
import signal

import pytest

from cyrus import Cyrus
from mailchild import until
from model import FLAT_NAMES, READER, SERVER, Message, Model, folder_list, see_server
from server_hand import quoted
from world import World

OPERATIONS = int(os.environ.get("SATCHEL_MODEL_OPERATIONS", "320"))
FIRST_SEED = int(os.environ.get("SATCHEL_MODEL_SEED", "1"))
SERVERS = {
    "full": None,
    "no-qresync": "IMAP4rev1 IDLE UIDPLUS MOVE CONDSTORE ENABLE LITERAL+ SASL-IR",
    "bare": "IMAP4rev1 UIDPLUS",
    "no-uidplus": "IMAP4rev1 IDLE",
    "literal-minus": "IMAP4rev1 IDLE UIDPLUS MOVE ENABLE CONDSTORE QRESYNC LITERAL- ESEARCH LIST-EXTENDED LIST-STATUS SPECIAL-USE "
                     "UNSELECT NAMESPACE",
    "cyrus": None,
}


@pytest.fixture
def make_world(make_server, authority, pair, vault, start):
    made, servers = [], []

    def make(kind, seed):
        if kind == "cyrus":
            server = Cyrus(cert=pair[0], key=pair[1], ca=authority.cert)
            servers.append(server)
            server.add_user("anna")
            model = Model(intermediates=True, folder_names=FLAT_NAMES)
        else:
            server = make_server(capability=SERVERS[kind])
            model = Model(uidplus=kind != "no-uidplus")
        server.start()
        made.append(World(model, server, vault, lambda: start(server), seed))
        return made[-1]

    yield make
    for world in made:
        world.kill()
        world.there.close()
    for server in servers:
        server.stop(remove=True)


@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + 2))
def test_random_operations(make_world, kind, seed):
    world = make_world(kind, seed)
    world.fill()
    world.play(OPERATIONS)


# -- the guard ------------------------------------------------------------------------------------------------------


@pytest.fixture
def large(make_world):
    """30 messages in Sent, 5 in Work, all of them copied."""
    world = make_world("full", 1)
    world.fill(("Sent", "Work"), 0)
    for folder, count in (("Sent", 30), ("Work", 5)):
        for _ in range(count):
            world.there.append(folder, flags=[], copies=1)
    world.settle()
    return world


def confirm(world):
    world.start()
    world.child.send(op="sync", id=77, confirm_deletions=True)
    return world.child.wait(lambda e: e["event"] == "synced" and e["id"] == 77)


def held_back(world, asks=1):
    """A pass that asks instead of removing."""
    world.start()
    world.child.send(op="sync", id=78)
    statuses = []
    answer = world.child.wait(lambda e: statuses.append(e) if e["event"] == "status" else e["event"] == "synced" and e["id"] == 78)
    assert not answer["ok"] and "Sent" in answer["text"], answer
    status = [e for e in world.child.events if e["event"] == "status"][-1]
    assert status["asks"] == asks and "Sent" in status["text"], status


def confirmed(world):
    answer = confirm(world)
    assert answer["ok"], answer
    world.settle()
    assert [e for e in world.child.events if e["event"] == "status"][-1]["asks"] == 0


def mail_in(world, folder):
    return world.model.inside(folder)[:]


@pytest.mark.parametrize("restart", [False, True])
def test_many_files_removed(large, restart):
    victims = mail_in(large, "Sent")[:16]
    large.kill()
    for m in victims:
        os.unlink(large.here.locate(m))
    flagged = mail_in(large, "Sent")[-1]
    large.here.set_flag(flagged, "\\Flagged", "F", True)
    large.here.set_flag(mail_in(large, "Work")[0], "\\Flagged", "F", True)
    large.there.append("Sent", flags=[], copies=1)
    for _ in range(2):
        held_back(large)
        there = see_server(large.there.imap)
        assert len(there["Sent"]) == 31, "removed without being asked"
        assert there["Sent"][flagged.uid].flags == set(), "a folder that waits stands still"
        assert len(large.here_now()["Sent"]) == 14
        assert sum("\\Flagged" in seen.flags for seen in there["Work"].values()) == 1, "the others go on"
        if restart:
            large.kill()
    for m in victims:
        large.model.remove(m, READER)
    confirmed(large)


def test_many_removed_on_the_server(large):
    victims = mail_in(large, "Sent")[:16]
    large.there.select("Sent")
    uids = ",".join(str(m.uid) for m in victims)
    large.there.ok(large.there.imap.uid("STORE", uids, "+FLAGS.SILENT", "(\\Deleted)"))
    large.there.ok(large.there.imap.uid("EXPUNGE", uids))
    for _ in range(2):
        held_back(large)
        assert len(large.here_now()["Sent"]) == 30
        large.kill()
    for m in victims:
        large.model.remove(m, SERVER)
    held_back(large)
    confirmed(large)


@pytest.mark.parametrize("side", [SERVER, READER])
def test_large_folder_removed(large, side):
    large.kill()
    if side == SERVER:
        large.there.unselect()
        large.there.ok(large.there.imap.delete("Sent"))
    else:
        shutil.rmtree(large.here.directory("Sent"))
    for _ in range(2):
        held_back(large)
        if side == SERVER:
            assert len(large.here_now()["Sent"]) == 30
        else:
            assert len(see_server(large.there.imap)["Sent"]) == 30
    large.model.remove_folder("Sent", side)
    confirmed(large)


def test_files_that_come_back_need_no_confirmation(large):
    large.kill()
    moved = []
    for m in mail_in(large, "Sent")[:16]:
        path = large.here.locate(m)
        moved.append((path, large.vault.parent / os.path.basename(path)))
        shutil.move(*moved[-1])
    held_back(large)
    for path, aside in moved:
        shutil.move(aside, path)
    large.settle()
    assert len(see_server(large.there.imap)["Sent"]) == 30


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("kind", ["full", "bare"])
def test_many_files_moved(make_world, kind, running):
    """They are not gone: nobody is asked."""
    world = make_world(kind, 1)
    world.fill(("Sent", "Work"), 0)
    for _ in range(24):
        world.there.append("Sent", flags=[], copies=1)
    world.settle()
    world.child.process.send_signal(signal.SIGSTOP) if running else world.kill()
    for m in mail_in(world, "Sent")[:20]:
        reader_moves(world, m, "Work")
    if running:
        world.child.process.send_signal(signal.SIGCONT)
    world.settle()


def test_ten_of_twenty_are_no_accident(make_world):
    world = make_world("full", 1)
    for _ in range(20):
        world.there.append("INBOX", flags=[], copies=1)
    world.settle()
    world.kill()
    for m in mail_in(world, "INBOX")[:10]:
        os.unlink(world.here.locate(m))
        world.model.remove(m, READER)
    world.settle()


# -- a new UIDVALIDITY ------------------------------------------------------------------------------------------------


def renumber(maildir):
    """Dovecot counts every folder anew from 1 under another UIDVALIDITY."""
    for path in maildir.rglob("dovecot.*"):
        path.unlink()
    for path in maildir.rglob("dovecot-uidlist"):
        version, uidvalidity, _, guid = path.read_text().split("\n")[0].split()
        path.write_text("%s V%d N1 %s\n" % (version, int(uidvalidity[1:]) + 1000, guid))


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + 3))
def test_new_uidvalidity(make_world, make_server, seed):
    """All UIDs are new, and readers have changed something: nothing is lost, sent again or fetched twice."""
    world = make_world("full", seed)
    world.fill()
    world.settle()
    world.kill()
    for operation in ("new", "flags", "remove", "edit", "move", "copy", "new_draft", "flags", "new"):
        getattr(world.here, operation)(True)
    server = world.there.server
    world.there.close()
    server.stop()
    renumber(server.home("anna") / "Maildir")
    server.start()
    world.there.connect()
    world.model.forget_agreement()
    world.settle()


# -- what random operations found ---------------------------------------------------------------------------------------


@pytest.fixture
def small(make_world):
    """20 messages in three folders, all of them copied, with the engine waiting."""
    world = make_world("full", 1)
    world.fill(("Sent", "Work"), 0)
    for n in range(20):
        world.there.append(("INBOX", "Sent", "Work")[n % 3], flags=["todo"], copies=1, date=1700000000 + n)
    world.settle()
    return world


def reader_moves(world, m, target):
    path = world.here.locate(m)
    os.rename(path, world.here.directory(target) / "cur" / os.path.basename(path).replace(":2,a", ":2,"))
    world.model.move(m, READER, target)


def nameless(world, folder, text):
    """A message without Message-ID."""
    content = b"Subject: nothing to know it by\n\n%s\n" % text
    world.there.ok(world.there.imap.append(quoted(folder), None, None, content.replace(b"\n", b"\r\n")))
    world.model.messages.append(Message(text.decode(), 1, content, folder))
    return world.model.messages[-1]


def reader_edits(world, m, content):
    with open(world.here.locate(m), "r+b") as f:
        f.write(content)
        f.truncate()
    world.model.edit(m, content)


def reader_removes(world, m):
    os.unlink(world.here.locate(m))
    world.model.remove(m, READER)


def test_moved_into_a_new_folder_while_its_flags_change_on_the_server(small):
    m = mail_in(small, "Sent")[1]
    small.there.store(m, "todo", False)
    small.there.store(m, "\\Seen", True)
    small.here.make_folder(False, "Neu")
    path = small.here.locate(m)
    os.rename(path, small.here.directory("Neu") / "cur" / os.path.basename(path))
    small.model.move(m, READER, "Neu")
    small.settle()


def test_folder_made_and_renamed_at_once(small):
    small.here.make_folder(False, "Neu")
    until(lambda: "Neu" in folder_list(small.there.imap), 5, "the folder on the server")
    small.here.directory("Neu").rename(small.here.directory("Alt"))
    small.model.rename_folder("Neu", "Alt", READER)
    small.settle()


@pytest.mark.parametrize("folder", ["INBOX", "Sent"])
def test_edit_and_removal_without_message_id(small, folder):
    edited, removed = nameless(small, folder, b"one"), nameless(small, "Sent", b"two")
    small.settle()
    small.child.process.send_signal(signal.SIGSTOP)
    reader_edits(small, edited, b"Subject: nothing to know it by\n\nan edited text\n")
    reader_removes(small, removed)
    small.child.process.send_signal(signal.SIGCONT)
    small.settle()


@pytest.mark.parametrize("newest", ["expunged", "flagged", "edited"])
def test_large_folder_renamed_on_the_server(large, newest):
    m = mail_in(large, "Sent")[-1]
    large.kill()
    large.there.unselect()
    large.there.ok(large.there.imap.rename("Sent", "Werk"))
    if newest == "flagged":
        large.here.set_flag(m, "\\Flagged", "F", True)
    elif newest == "edited":
        reader_edits(large, m, large.here.next_version(m))
    large.model.rename_folder("Sent", "Werk", SERVER)
    if newest == "expunged":
        large.there.really_expunge("Werk", m.uid)
        large.model.remove(m, SERVER)
    large.settle()


def test_large_folder_renamed_to_the_name_of_one_that_went(large):
    large.kill()
    large.there.unselect()
    large.there.ok(large.there.imap.delete("Work"))
    large.model.remove_folder("Work", SERVER)
    large.there.ok(large.there.imap.rename("Sent", "Work"))
    large.model.rename_folder("Sent", "Work", SERVER)
    large.settle()


@pytest.mark.parametrize("state", ["kept", "lost"])
def test_unseen_edit(small, state):
    small.kill()
    m = mail_in(small, "Sent")[0]
    reader_edits(small, m, small.here.next_version(m))
    if state == "lost":
        shutil.rmtree(small.vault / "mail-state")
        small.model.forget_agreement()
    small.settle()


def test_folder_removed_and_made_again_with_other_keywords(small):
    small.kill()
    shutil.rmtree(small.here.directory("Sent"))
    for m in mail_in(small, "Sent"):
        small.model.remove(m, READER)
    for part in ("cur", "new", "tmp"):
        (small.here.directory("Sent") / part).mkdir(parents=True)
    content = b"Subject: x\n\nx\n"
    letters = small.here.letters("Sent", ["NonJunk"], offline=True)
    assert letters == "a"
    m = small.model.add(Message("x", 1, content, "Sent", ["NonJunk"]), READER)
    m.inode = small.here.write("Sent", content, letters)
    small.settle()


def test_moved_here_and_removed_there(small):
    """Either it is gone or it is up; nothing waits."""
    small.kill()
    m = mail_in(small, "Sent")[0]
    reader_moves(small, m, "Work")
    small.there.really_expunge("Sent", m.origin[1])
    m.maybe = m.loose = True
    small.settle()


@pytest.mark.parametrize("kind", ["full", "bare", "no-uidplus"])
def test_some_moved_and_some_copied(make_world, kind):
    world = make_world(kind, 1)
    world.fill(("Sent", "Work"), 0)
    for _ in range(12):
        world.there.append("Sent", flags=[], copies=1)
    world.settle()
    world.child.process.send_signal(signal.SIGSTOP)
    for n, m in enumerate(mail_in(world, "Sent")[:8]):
        if n % 2 == 0:
            reader_moves(world, m, "Work")
            continue
        path = world.here.locate(m)
        shutil.copy2(path, world.here.directory("Work") / "cur" / os.path.basename(path))
        world.model.add(Message(m.token, 1, m.content, "Work"), READER)
    world.child.process.send_signal(signal.SIGCONT)
    world.settle()


def reader_renames(world, folder, name):
    world.here.directory(name).parent.mkdir(parents=True, exist_ok=True)
    world.here.directory(folder).rename(world.here.directory(name))
    world.model.rename_folder(folder, name, READER)


@pytest.mark.parametrize("count", [6, 60])
@pytest.mark.parametrize("renames", [["Work:x y", "Sent:Work"], ["Work:x y", "Sent:Work/Sub"], ["Work:A", "Sent:Work/Sub"],
                                     ["Work:aside", "Sent:Work", "aside:Sent"]], ids=" ".join)
def test_folders_renamed_to_names_that_others_had(make_world, renames, count):
    world = make_world("full", 1)
    folders = ("Sent", "Work", "Work/Sub")
    world.fill(folders, 0)
    for n in range(count):
        world.there.append(folders[n % 3], flags=["todo"], copies=1)
    world.settle()
    world.kill()
    for rename in renames:
        reader_renames(world, *rename.split(":"))
    for folder in world.model.below("Work") + world.model.below("Sent"):
        m = mail_in(world, folder)[0]
        world.here.set_flag(m, "NonJunk", world.here.letters(folder, ["NonJunk"], offline=True), True)
    world.settle()


def test_touched_in_a_folder_that_another_one_took_the_place_of(small):
    small.kill()
    for m in mail_in(small, "Sent"):
        os.utime(small.here.locate(m))
    small.there.unselect()
    small.there.ok(small.there.imap.delete("Sent"))
    small.model.remove_folder("Sent", SERVER)
    small.there.ok(small.there.imap.rename("Work", "Sent"))
    small.model.rename_folder("Work", "Sent", SERVER)
    small.settle()


@pytest.mark.parametrize("running", [False, True])
def test_flagged_and_copied(small, running):
    """The name of the copy's source is not the one that the engine knows: it is there all the same."""
    small.child.process.send_signal(signal.SIGSTOP) if running else small.kill()
    m = mail_in(small, "INBOX")[1]
    small.here.set_flag(m, "\\Draft", "D", True)
    path = small.here.locate(m)
    small.here.make_folder(True, "Neu")
    shutil.copy2(path, small.here.directory("Neu") / "cur" / os.path.basename(path).replace(":2,Da", ":2,D"))
    small.model.add(Message(m.token, 1, m.content, "Neu", ["\\Draft"]), READER)
    if running:
        small.child.process.send_signal(signal.SIGCONT)
    small.settle()
