"""A TCP relay on loopback: counts what the server says, and stands still when told to.

    with Relay(server.port) as relay:
        relay.hold_after(100_000)     # the next 100 kB of the server pass, then nothing
        ... client connects to relay.port ...
        relay.wait_held()
        relay.release()
"""

import contextlib
import socket
import threading


class Relay:
    def __init__(self, port, host="127.0.0.1"):
        self.target = (host, port)
        self.listener = socket.create_server((host, 0))
        self.port = self.listener.getsockname()[1]
        self.received = 0  # bytes of the server so far, over all connections
        self.changed, self.limit, self.held = threading.Condition(), None, False
        self.sockets, self.closed = [], False
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        with self.changed:
            self.closed = True
            sockets, self.sockets = [self.listener, *self.sockets], []
            self.changed.notify_all()
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def hold_after(self, more):
        """Lets `more` bytes of the server pass from now on, then none. (What is read at once passes at once.)"""
        with self.changed:
            self.limit, self.held = self.received + more, False
            self.changed.notify_all()

    def release(self):
        with self.changed:
            self.limit, self.held = None, False
            self.changed.notify_all()

    def wait_held(self, seconds=30):
        with self.changed:
            assert self.changed.wait_for(lambda: self.held, seconds), "the server said too little: %d bytes" % self.received

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
                server = socket.create_connection(self.target)
            except OSError:
                return
            with self.changed:
                self.sockets += [client, server]
            threading.Thread(target=self._pass_on, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._pass_on, args=(server, client, True), daemon=True).start()

    def _pass_on(self, source, sink, of_server):
        with contextlib.suppress(OSError):
            while data := source.recv(16384):
                if of_server:
                    self._count(len(data))
                sink.sendall(data)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _count(self, n):
        with self.changed:
            while self.limit is not None and self.received >= self.limit and not self.closed:
                self.held = True
                self.changed.notify_all()
                self.changed.wait()
            self.received += n
