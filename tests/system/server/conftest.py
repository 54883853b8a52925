import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from server import Device, Server  # noqa: E402


@pytest.fixture
def server():
    """A server with the user anna, on fresh ports, in a directory of its own."""
    with Server() as s:
        s.add_user("anna", name="Anna Ott")
        yield s
        if s.process:
            assert s.process.poll() is None, s.log()
        for word in ("ERROR: AddressSanitizer", "runtime error:", "LeakSanitizer"):
            assert word not in s.log(), s.log()


@pytest.fixture
def device(server):
    """A device that anna enrolled."""
    d = Device(server)
    d.enroll(server.enroll_code("anna"))
    return d
