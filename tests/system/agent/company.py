"""A company for the tests: its management server, its mail server, and the profile that joins them."""

import itertools

from dovecot import Dovecot
from server import Server

PASSWORD = "hunter2-and-more"
CANARY = "Zitronenfalter"
_numbers = itertools.count(1)
FOLDERS = ("INBOX", "Archive/2025", "Entwürfe")


class Company:
    """The management server, the mail server, and the profile that joins them."""

    def __init__(self):
        self.server = Server(host="localhost")
        self.mail = Dovecot()
        self.version = 0
        self.publish()

    def stop(self):
        self.server.stop()
        self.mail.stop(remove=True)

    def profile(self, version, **incoming):
        profile = self.server.profile(version=version, host="localhost", port=self.mail.port)
        profile["account"]["incoming"].update({"ca": self.mail.ca_pem}, **incoming)
        return profile

    def publish(self, **incoming):
        self.version += 1
        self.server.publish(self.profile(self.version, **incoming))
        return self.version

    def employee(self, messages=30):
        """A new employee with some mail; each message has the canary in it."""
        login = "user%d" % next(_numbers)
        self.mail.add_user(login, PASSWORD)
        for n, folder in enumerate(FOLDERS):
            self.mail.store(login, folder, (message("%s %s %d" % (login, folder.split("/")[0], i))
                                            for i in range(n, messages, len(FOLDERS))))
        self.server.add_user(login)
        return login

    def link(self, login, expires="24h"):
        return self.server.enroll_code(login, expires)


def message(subject):
    return ("From: Boss <boss@acme.example>\r\nTo: you@acme.example\r\nSubject: %s\r\nMessage-ID: <%s@acme.example>\r\n"
            "Content-Type: text/plain; charset=utf-8\r\n\r\nThe %s is a butterfly.\r\n"
            % (subject.encode("ascii", "replace").decode(), subject.encode().hex(), CANARY)).encode()
