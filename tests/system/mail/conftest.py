import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from dovecot import Authority, Dovecot  # noqa: E402
from mailchild import Child  # noqa: E402


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """One certificate for all servers: making one takes longer than starting a server."""
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def pair(authority):
    return authority.issue()


@pytest.fixture
def make_server(authority, pair):
    servers = []

    def make(**options):
        server = Dovecot(cert=pair[0], key=pair[1], ca=authority.cert, **options)
        servers.append(server)
        server.add_user("anna", "secret")
        return server

    yield make
    for server in servers:
        server.stop(remove=True)


@pytest.fixture
def server(make_server):
    return make_server()


@pytest.fixture
def vault(tmp_path):
    path = tmp_path / "vault"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def account(authority):
    def make(server, **changes):
        return dict({"host": "127.0.0.1", "port": server.port, "security": "tls", "ca": authority.ca_pem, "login": "anna",
                     "password": "secret"}, **changes)

    return make


@pytest.fixture
def start(vault, account):
    """Starts the child for a server; ends it whatever happens."""
    children = []

    def make(server, keep_days=0, configure=True, **changes):
        child = Child(vault, account(server, **changes), keep_days=keep_days, configure=configure)
        children.append(child)
        return child

    yield make
    for child in children:
        child.kill()
