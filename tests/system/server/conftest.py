import contextlib
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from server import Device, Server  # noqa: E402


@contextlib.contextmanager
def serving():
    with Server() as s:
        s.add_user("anna", name="Anna Ott")
        yield s
        if s.process:
            assert s.process.poll() is None, s.log()
            assert s.terminate() == 0, s.log()
        for word in ("ERROR: AddressSanitizer", "runtime error:", "LeakSanitizer"):
            assert word not in s.log(), s.log()


@pytest.fixture
def server():
    """A server with the user anna, on fresh ports, in a directory of its own."""
    with serving() as s:
        yield s


@pytest.fixture(scope="module")
def shared():
    """The same, one for all tests of a file that leave it as they found it."""
    with serving() as s:
        yield s


def enrolled(server):
    d = Device(server)
    d.enroll(server.enroll_code("anna"))
    return d


@pytest.fixture
def device(server):
    """A device that anna enrolled."""
    return enrolled(server)


@pytest.fixture(scope="module")
def shared_device(shared):
    return enrolled(shared)
