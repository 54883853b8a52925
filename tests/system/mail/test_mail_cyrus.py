"""The same mail child against a second IMAP server, whose answers are in another style: Cyrus."""

import os
import shutil

import pytest

from cyrus import Cyrus
from dovecot import FOLDERS
from mailchild import until
from model import FLAT_NAMES, READER, SERVER, Model, see_server
from world import World


@pytest.fixture(scope="module")
def cyrus(authority, pair):
    with Cyrus(cert=pair[0], key=pair[1], ca=authority.cert) as server:
        yield server.start()


@pytest.fixture
def world(cyrus, vault, start, request):
    """An account of its own on the module's server, with a few messages in every folder."""
    login = "user%d" % len(cyrus.users)
    cyrus.add_user(login)
    world = World(Model(intermediates=True, folder_names=FLAT_NAMES), cyrus, vault, lambda: start(cyrus, login=login), seed=1, login=login)
    world.fill(FOLDERS, 30)
    yield world
    world.kill()
    world.there.close()


def inside(world, folder="INBOX"):
    return world.model.inside(folder)[0]


def letters(world, folder, uid):
    return world.here_now()[folder][uid][1].flags


def test_first_sync(world):
    world.settle()
    status = [e for e in world.child.events if e["event"] == "status"][-1]
    assert (status["imap"], status["text"], status["pending"]) == ("ok", "", 0)
    assert status["messages"] == 30 and status["push"] in ("idle", "notify")
    assert world.child.stop() == 0


def test_flags_and_keywords(world):
    flags = ("\\Flagged", "\\Seen", "$Forwarded", "todo")
    world.settle()
    for on in (True, False):
        for folder in FOLDERS:
            for flag in flags:
                world.there.store(world.model.inside(folder)[0], flag, on)
        world.settle()
        for folder in FOLDERS:
            for flag in flags:
                letter = world.here.letters(folder, [flag], offline=False)
                assert letter and world.here.set_flag(world.model.inside(folder)[1], flag, letter, on)
        world.settle()


def test_pushed_down_and_up(world):
    """Without an order: by IDLE, and by the watch on the Maildir."""
    world.settle()
    m, other = world.model.inside("INBOX")[:2]
    on = "\\Answered" not in m.flags
    world.there.store(m, "\\Answered", on)
    until(lambda: ("\\Answered" in letters(world, "INBOX", m.uid)) == on, 5, "the flag in the Maildir")
    world.there.append("INBOX", flags=[], copies=1)
    until(lambda: len(world.here_now()["INBOX"]) == len(world.model.inside("INBOX")), 5, "the mail in the Maildir")
    world.here.set_flag(other, "\\Draft", "D", "\\Draft" not in other.flags)
    until(lambda: see_server(world.there.imap)["INBOX"][other.uid].flags == other.flags, 5, "the flag on the server")
    world.settle()


@pytest.mark.parametrize("side", [SERVER, READER])
@pytest.mark.parametrize("running", [False, True])
def test_new_removed_moved_copied(world, side, running):
    world.settle()
    for operation in (["append", "expunge", "move", "copy"] if side == SERVER else
                      ["new", "remove", "move", "move_by_new_file", "copy", "edit", "new_draft", "touch"]):
        if not running:
            world.kill()
        for _ in range(3):
            until(getattr(world.there, operation) if side == SERVER else lambda: getattr(world.here, operation)(not running))
        world.settle()


@pytest.mark.parametrize("side", [SERVER, READER])
def test_folders(world, side):
    world.settle()
    if side == SERVER:
        world.there.create("Neu")
        world.there.append("Neu")
        world.settle()
        until(world.there.rename)
        world.settle()
        until(world.there.delete)
    else:
        world.here.make_folder(False, "Neu")
        world.here.new(False, "Neu")
        world.settle()
        until(lambda: world.here.rename_folder(False))
        world.settle()
        until(lambda: world.here.remove_folder(False))
    world.settle()


def test_nothing_changed(world):
    """A pass over folders in which nothing happened fetches nothing: QRESYNC says so in one answer."""
    world.settle()
    world.kill()
    files = {path: path.stat() for path in (world.vault / "Mail").rglob("cur/*")}
    world.settle()
    assert not [e for e in world.child.events if e["event"] == "progress"]
    after = {path: path.stat() for path in (world.vault / "Mail").rglob("cur/*")}
    assert {p: (s.st_ino, s.st_ctime_ns) for p, s in files.items()} == {p: (s.st_ino, s.st_ctime_ns) for p, s in after.items()}


def test_killed_and_started_again(world):
    world.settle()
    for step in range(8):
        world.start()
        world.operate(5, offline=False)
        world.order()
        world.child.receive(step * 0.02)
        world.kill()
        world.operate(5, offline=False)
    world.settle()


def test_state_removed(world):
    world.settle()
    world.kill()
    shutil.rmtree(world.vault / "mail-state")
    world.settle()


def test_server_goes_away_and_comes_back(world, cyrus):
    world.settle()
    world.there.close()
    cyrus.stop()
    world.child.status(lambda e: e["imap"] == "unreachable", 20)
    world.here.new(False, "INBOX")
    cyrus.start()
    world.there.connect()
    world.settle()
    assert os.listdir(world.vault / "Mail" / "INBOX" / "tmp") == []
