"""The mail engine killed after every durable step, at random moments, and with its state torn: in the end server and Maildir
hold what the model says, nothing lost and nothing doubled.

The program under test is SATCHEL_TEST_MAIL_CHILD: the mail child with mail_hook.c linked in, which kills it after the step
that SATCHEL_TEST_CRASH_AT says.
"""

import contextlib
import itertools
import os
import pathlib
import random
import shutil
import sys

import pytest

SYSTEM = pathlib.Path(__file__).resolve().parent.parent / "system"
sys.path[:0] = [str(SYSTEM / "mail"), str(SYSTEM)]

import mailchild  # noqa: E402
from dovecot import Dovecot  # noqa: E402
from model import READER, Model, see_server  # noqa: E402
from world import World  # noqa: E402

mailchild.program = lambda: os.environ["SATCHEL_TEST_MAIL_CHILD"]

SEED = int(os.environ.get("SATCHEL_MODEL_SEED", "1"))
EVERY = int(os.environ.get("SATCHEL_CRASH_STEPS", "60"))  # steps after each of which it is killed
STRIDE = 9    # beyond them
SHARDS = 4
USERS = 400
NUMBERS = itertools.count()
TORN = range(SEED, SEED + int(os.environ.get("SATCHEL_TORN_TIMES", "5")))


@pytest.fixture(scope="module")
def server():
    with Dovecot() as dovecot:
        for n in range(USERS):  # a running server sees new ones only a second later
            dovecot.add_user("user%d" % n)
        yield dovecot.start()


@pytest.fixture
def make_world(server, tmp_path):
    made = []

    def make(seed):
        login = "user%d" % next(NUMBERS)
        vault = tmp_path / login / "vault"
        vault.mkdir(parents=True, mode=0o700)
        account = {"host": server.host, "port": server.port, "security": "tls", "ca": server.ca_pem, "login": login, "password": "secret"}
        made.append(World(Model(), server, vault, lambda: mailchild.Child(vault, account), seed, login))
        return made[-1]

    yield make
    for world in made:
        world.kill()
        world.there.close()


@contextlib.contextmanager
def crash_at(step):
    os.environ["SATCHEL_TEST_CRASH_AT"] = str(step)
    try:
        yield
    finally:
        del os.environ["SATCHEL_TEST_CRASH_AT"]


def survives(world, step):
    """Runs a pass that is killed after the step; whether it came to its end before."""
    world.kill()
    with crash_at(step):
        world.start()
    try:
        world.child.sync(60)
    except (AssertionError, BrokenPipeError):
        assert world.child.process.wait(10) == -9, world.child.log()
        return False
    finally:
        world.kill()
    return True


def every_kind(world):
    """Two of each operation, as far as there is something to do it to; in another order each time."""
    there = ["append", "append", "flags", "flags", "expunge", "copy", "move", "create", "rename", "delete", "expunge_edited"]
    here = ["new", "new", "flags", "flags", "remove", "move", "move_by_new_file", "copy", "edit", "new_draft", "touch", "make_folder",
            "rename_folder", "remove_folder", "edit_removed"]
    operations = [(world.there, name) for name in there] + [(world.here, name) for name in here]
    operations *= 2
    world.rng.shuffle(operations)
    for hand, name in operations:
        for _ in range(5):
            if getattr(hand, name)(*[True] if hand is world.here else []):
                break


@pytest.mark.parametrize("shard", range(SHARDS))
def test_killed_after_each_step(make_world, shard):
    world = make_world(SEED * 1000 + shard)
    world.fill(messages=40)
    world.settle()
    steps = list(range(1, EVERY + 1)) + list(range(EVERY + STRIDE, 1000, STRIDE))
    reached, survived = 0, 0
    for step in steps[shard::SHARDS]:
        world.kill()
        every_kind(world)
        world.model.note("engine", "killed after step %d" % step)
        if survives(world, step):
            survived += 1
        else:
            reached = step
        world.settle()
        if survived == 2:
            break
    assert reached > EVERY // 2, "the scenario has only %d steps" % reached


def test_folder_renamed_and_a_message_moved_into_it(make_world):
    """A rename that the names of the files do not tell alone; flags and keywords go along, whenever it is killed."""
    for step in range(1, 45, 4):
        world = make_world(step)
        world.there.create("Sent")
        for n in range(13):
            world.there.append("Sent", flags=["todo", "\\Answered"] if n % 2 else ["$Label1", "\\Seen"], copies=1)
        m = world.there.append("INBOX", flags=["\\Draft"], copies=1) and world.model.messages[-1]
        world.settle()
        world.kill()
        world.here.directory("Sent").rename(world.here.directory("Werk"))
        world.model.rename_folder("Sent", "Werk", READER)
        path = pathlib.Path(world.here.locate(m))
        path.rename(world.here.directory("Werk") / "cur" / path.name)
        world.model.move(m, READER, "Werk")
        world.model.note("engine", "killed after step %d" % step)
        survives(world, step)
        world.settle()


@pytest.mark.parametrize("step", range(1, 9))
def test_folder_renamed_and_another_made_below_its_old_name(make_world, step):
    world = make_world(step)
    world.fill(["Work"], 20)
    world.settle()
    world.kill()
    world.here.directory("Work").rename(world.here.directory("A"))
    world.model.rename_folder("Work", "A", READER)
    world.here.make_folder(True, "Work/Sub")
    world.model.note("engine", "killed after step %d" % step)
    survives(world, step)
    world.settle()


@pytest.mark.parametrize("step", [1, 2, 3, 5, 8, 13, 21, 34, 55])
def test_first_sync_killed(make_world, step):
    world = make_world(step)
    world.fill(messages=60)
    survives(world, step)
    world.model.note("engine", "killed after step %d" % step)
    every_kind_of_arrival(world)
    world.settle()


def every_kind_of_arrival(world):
    """What the server alone does; of the Maildir only half is there."""
    for name in ("append", "flags", "expunge", "copy", "move", "rename"):
        getattr(world.there, name)()


@pytest.mark.parametrize("seed", range(SEED, SEED + 4))
def test_killed_again_and_again(make_world, seed):
    """Killed while it makes good what it was killed in before."""
    world = make_world(seed)
    world.fill(messages=40)
    world.settle()
    for _ in range(3):
        world.kill()
        every_kind(world)
        for _ in range(4):
            step = world.rng.randint(1, 12)
            world.model.note("engine", "killed after step %d" % step)
            survives(world, step)
        world.settle()


@pytest.mark.parametrize("seed", range(SEED, SEED + 3))
def test_killed_at_random_moments_under_load(make_world, seed):
    world = make_world(seed)
    world.fill(messages=40)
    world.settle()
    for _ in range(150):
        world.there.append()
        world.here.new(False)
    world.operate(60, offline=False)
    for _ in range(8):
        world.start()
        world.order()
        world.child.receive(world.rng.random() * 0.4)
        world.operate(5, offline=False)
        world.kill()
        world.operate(5, offline=False)
    world.settle()


# -- torn state -----------------------------------------------------------------------------------------------------


def cut(path, rng):
    if path.exists():
        os.truncate(path, rng.randrange(path.stat().st_size + 1))


def overwrite(path, rng):
    """Whole sectors, as a disk would."""
    sectors = path.stat().st_size // 512
    with open(path, "r+b") as f:
        for _ in range(3 if sectors else 0):
            at = rng.randrange(sectors)
            f.seek(at * 512)
            f.write(rng.randbytes(512 * min(rng.randint(1, 8), sectors - at)))


def tear(world, how):
    state, rng = world.vault / "mail-state", world.rng
    if how == "wal-cut":
        cut(state / "sync.db-wal", rng)
    elif how == "wal-removed":
        (state / "sync.db-wal").unlink(missing_ok=True)
    elif how == "wal-overwritten":
        if (state / "sync.db-wal").exists():
            overwrite(state / "sync.db-wal", rng)
    elif how == "overwritten":
        overwrite(state / "sync.db", rng)
    elif how == "cut":
        cut(state / "sync.db", rng)
    elif how == "removed":
        shutil.rmtree(state)
    world.model.note("test", how)


HOWS = ["wal-cut", "wal-removed", "wal-overwritten", "overwritten", "cut", "removed"]


@pytest.mark.parametrize("how", HOWS)
def test_state_torn_at_rest(make_world, how):
    """Both sides agreed: not one message gets another UID, and none is fetched again."""
    world = make_world(SEED)
    world.fill(messages=40)
    world.settle()
    for _ in range(2):
        world.kill()
        every_kind(world)
        world.settle()
        world.kill()
        tear(world, how)
        before = see_server(world.there.imap)
        world.settle()
        assert see_server(world.there.imap) == before


@pytest.mark.parametrize("seed", TORN)
@pytest.mark.parametrize("how", HOWS)
def test_state_torn_in_the_middle(make_world, how, seed):
    """Killed in the middle of both directions, and what it knew is older than what it did, or gone."""
    world = make_world(seed)
    world.fill(messages=30)
    world.settle()
    world.kill()
    for name in ["new"] * 4 + ["flags", "remove", "edit", "move", "move_by_new_file", "copy", "new_draft"]:
        getattr(world.here, name)(True)
    for name in ["append"] * 4 + ["flags", "expunge"]:
        getattr(world.there, name)()
    step = world.rng.randint(1, 60)
    world.model.note("engine", "killed after step %d" % step)
    survives(world, step)
    tear(world, how)
    world.model.forget_agreement()
    world.settle()


def test_state_torn_in_the_first_sync(make_world):
    rng = random.Random(SEED)
    for how in HOWS:
        world = make_world(rng.randrange(10**6))
        world.fill(messages=40)
        survives(world, rng.randint(3, 40))
        if (world.vault / "mail-state" / "sync.db").exists():
            tear(world, how)
        world.settle()
        assert len(world.here_now()) == len(world.model.folders)
