"""A raw IMAP connection over TLS: no parser, so that it is nobody's bottleneck."""

import os
import socket
import ssl
import time

CHUNK = 256 * 1024


class Line:
    """`account`: host, port, ca, login, password. Every answer has `timeout` seconds."""

    def __init__(self, account, timeout=60):
        context = ssl.create_default_context(cadata=account["ca"])
        plain = socket.create_connection((account["host"], account["port"]), timeout=timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = context.wrap_socket(plain, server_hostname=account["host"])
        self.buffer, self.pattern = b"", os.urandom(4).hex()
        self.tag = 0
        assert self.read_line().startswith(b"* OK")
        self.command('LOGIN "%s" "%s"' % (account["login"], account["password"]))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def read_line(self):
        while b"\n" not in self.buffer:
            self._fill()
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line

    def _fill(self):
        data = self.socket.recv(CHUNK)
        if not data:
            raise ConnectionError("the server closed the connection")
        self.buffer += data

    def send(self, text):
        """Sends a command; its tag."""
        self.tag += 1
        tag = "%s%d" % (self.pattern, self.tag)
        self.socket.sendall(("%s %s\r\n" % (tag, text)).encode())
        return tag.encode()

    def command(self, text):
        """A command without literals in its answer; the untagged lines."""
        tag, lines = self.send(text), []
        while not (line := self.read_line()).startswith(tag):
            lines.append(line)
        if not line.startswith(tag + b" OK"):
            raise RuntimeError("%s: %r" % (text, line))
        return lines

    def drain(self, text):
        """A command whose answer is thrown away; how many bytes that was."""
        end, total, tail = self.send(text) + b" OK", 0, b""
        buffer = memoryview(bytearray(CHUNK))
        while end not in tail:
            n = self.socket.recv_into(buffer)
            if n == 0:
                raise ConnectionError("the server closed the connection")
            total += n
            tail = tail[-200:] + buffer[max(0, n - 400):n].tobytes()
        return total

    def append(self, folder, data):
        """The moment when the message began to go out, and the one when the server had it."""
        tag = self.send('APPEND "%s" {%d}' % (folder, len(data)))
        while not self.read_line().startswith(b"+"):
            pass
        began = time.monotonic()
        self.socket.sendall(data + b"\r\n")
        while not (line := self.read_line()).startswith(tag):
            pass
        assert line.startswith(tag + b" OK"), line
        return began, time.monotonic()
