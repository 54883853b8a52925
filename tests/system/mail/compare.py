"""The server's side and the Maildir, message by message."""

import contextlib
import re

from dovecot import mutf7
from mailchild import files

LETTERS = {"\\Draft": "D", "\\Flagged": "F", "\\Answered": "R", "\\Seen": "S", "\\Deleted": "T"}


@contextlib.contextmanager
def selected(server, folder="INBOX", login="anna"):
    with server.client(login) as imap:
        result, text = imap.select('"%s"' % mutf7(folder))
        assert result == "OK", text
        yield imap


def server_side(server, folder="INBOX", bodies=True):
    """{UID: (letters, body)} of a folder on the server."""
    found = {}
    with selected(server, folder) as imap:
        result, data = imap.uid("FETCH", "1:*", "(UID FLAGS BODY.PEEK[])" if bodies else "(UID FLAGS)")
        assert result == "OK"
        for item in data or []:
            if item is None or item == b")":
                continue
            head, body = item if isinstance(item, tuple) else (item, b"")
            uid = re.search(rb"UID (\d+)", head)
            if not uid:  # the server tells of a change beside what was asked
                continue
            uid = int(uid.group(1))
            flags = re.search(rb"FLAGS \(([^)]*)\)", head).group(1).decode().split()
            found[uid] = ("".join(sorted(LETTERS[f] for f in flags if f in LETTERS)), body)
    return found


def local_side(vault, folder="INBOX", bodies=True):
    found = {}
    for uid, path in files(vault / "Mail" / folder).items():
        letters = path.name.rsplit(":2,", 1)[1] if ":2," in path.name else ""
        found[uid] = (letters, path.read_bytes() if bodies else b"")
    return found


def assert_equal(server, vault, folders, bodies=True):
    for folder in folders:
        there, here = server_side(server, folder, bodies), local_side(vault, folder, bodies)
        assert there.keys() == here.keys(), folder
        for uid, message in there.items():
            assert message == here[uid], (folder, uid)
