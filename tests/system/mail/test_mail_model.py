"""Random operations on both sides, and what must be in the end: message by message, flag by flag, folder by folder.

Every failure names its seed. SATCHEL_MODEL_OPERATIONS is how many operations each test does, SATCHEL_MODEL_SEED the first seed.
"""

import os
import shutil

import pytest

from cyrus import Cyrus
from model import FLAT_NAMES, READER, SERVER, Model, see_server
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
