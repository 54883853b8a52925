"""Waiting for something that tells nobody when it happens: a file, another process, a server's answer."""

import select
import time

LOOK_AGAIN = 0.01  # seconds


def wait_for(look, seconds=20, what=None):
    """The first true value of `look`, which is asked every few milliseconds until the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        value = look()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError("did not happen within %s s: %s" % (seconds, what or getattr(look, "__doc__", None) or look))
        select.select([], [], [], LOOK_AGAIN)
