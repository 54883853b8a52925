#!/usr/bin/python3
"""A private desktop session for tests: its own D-Bus and its own GNOME Keyring in a temporary directory.

    with Session() as session:
        subprocess.run([...], env=session.env)
        assert session.items() == []

Runs as root and as an ordinary user, needs no terminal and leaves no process behind: both daemons die with
the process that started them (PR_SET_PDEATHSIG), also when that one is killed. The bus activates nothing, so
a keyring that was killed stays away until start_service().

From a shell, or around a compiled test:  keyring.py run [--locked] [--no-service] -- COMMAND ...
The command finds SATCHEL_TEST_KEYRING_PID and SATCHEL_TEST_BUS_PID in its environment.
"""

import argparse
import ast
import ctypes
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

SECRETS = "org.freedesktop.secrets"
SERVICE_PATH = "/org/freedesktop/secrets"
PR_SET_PDEATHSIG = 1

BUS_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={directory}/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""


def _die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _end(process, sig=signal.SIGKILL):
    """Ends a child of ours, also a stopped one, and reaps it."""
    if process is None or process.poll() is not None:
        return
    process.send_signal(sig)
    process.send_signal(signal.SIGCONT)
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Session:
    """`directory`: where home, runtime directory and sockets go (made when absent, removed by stop() only if it
    was made here). `password`: of the login keyring. `service`: start the keyring together with the bus."""

    def __init__(self, directory=None, password="correct horse battery", service=True):
        self.own_directory = directory is None or not os.path.exists(directory)
        self.directory = str(directory) if directory else tempfile.mkdtemp(prefix="satchel-session.")
        self.password = password
        self.service = service
        self.home = os.path.join(self.directory, "home")
        self.runtime = os.path.join(self.directory, "run")
        self.bus = None
        self.daemon = None
        self.env = self._environment()

    def _environment(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "DBUS_", "GNOME_", "DISPLAY"))}
        env.update(
            HOME=self.home,
            XDG_RUNTIME_DIR=self.runtime,
            XDG_DATA_HOME=os.path.join(self.home, ".local/share"),
            XDG_STATE_HOME=os.path.join(self.home, ".local/state"),
            XDG_CONFIG_HOME=os.path.join(self.home, ".config"),
            XDG_CACHE_HOME=os.path.join(self.home, ".cache"),
            DBUS_SESSION_BUS_ADDRESS="unix:path=%s/bus" % self.directory,
        )
        return env

    # Start and stop.

    def start(self):
        for path in (self.directory, self.home, self.runtime):
            os.makedirs(path, mode=0o700, exist_ok=True)
            os.chmod(path, 0o700)
        for name in ("DATA", "STATE", "CONFIG", "CACHE"):
            os.makedirs(self.env["XDG_%s_HOME" % name], mode=0o700, exist_ok=True)
        try:
            self.start_bus()
            if self.service:
                self.start_service()
        except BaseException:
            self.stop()
            raise
        return self

    def start_bus(self):
        config = os.path.join(self.directory, "bus.conf")
        with open(config, "w", encoding="ascii") as out:
            out.write(BUS_CONFIG.format(directory=self.directory))
        socket = os.path.join(self.directory, "bus")
        if os.path.exists(socket):
            os.unlink(socket)
        reader, writer = os.pipe()
        with open(os.path.join(self.directory, "bus.log"), "ab") as log, os.fdopen(reader, "rb") as ready:
            self.bus = subprocess.Popen(
                ["dbus-daemon", "--nofork", "--nopidfile", "--config-file=" + config, "--print-address=%d" % writer],
                env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[writer],
                preexec_fn=_die_with_parent)
            os.close(writer)
            if not ready.readline():
                raise RuntimeError("dbus-daemon did not start: " + self.log("bus.log"))
        self.env["SATCHEL_TEST_BUS_PID"] = str(self.bus.pid)

    def start_service(self, unlock=True, timeout=15):
        """Starts the keyring. The first start makes the login keyring with the password; later ones unlock it
        with the same password, or leave it locked with unlock=False."""
        args = ["gnome-keyring-daemon", "--foreground", "--components=secrets",
                "--control-directory=" + os.path.join(self.runtime, "keyring")]
        if unlock:
            args.append("--unlock")
        with open(os.path.join(self.directory, "keyring.log"), "ab") as log:
            self.daemon = subprocess.Popen(args, env=self.env, stdin=subprocess.PIPE, stdout=log, stderr=log,
                                           preexec_fn=_die_with_parent)
        # No newline: the daemon takes every byte as part of the password.
        self.daemon.stdin.write(self.password.encode() if unlock else b"")
        self.daemon.stdin.close()
        self.env["SATCHEL_TEST_KEYRING_PID"] = str(self.daemon.pid)
        self._wait_ready(unlock, time.monotonic() + timeout)

    def _wait_ready(self, unlock, deadline):
        pidfd = os.pidfd_open(self.daemon.pid)
        try:
            left = max(1, int(deadline - time.monotonic()))
            subprocess.run(["gdbus", "wait", "--session", "--timeout", str(left), SECRETS], env=self.env,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
            # The name comes before the collection: ask until it is there, or the daemon or the time ends.
            while not (self.default_collection() if unlock else self._has_name()):
                if select.select([pidfd], [], [], 0.02)[0]:
                    raise RuntimeError("gnome-keyring-daemon ended: " + self.log("keyring.log"))
                if time.monotonic() > deadline:
                    raise RuntimeError("gnome-keyring-daemon is not ready: " + self.log("keyring.log"))
            if unlock and self.locked():
                raise RuntimeError("the login keyring stayed locked: " + self.log("keyring.log"))
        finally:
            os.close(pidfd)

    def stop_service(self):
        _end(self.daemon, signal.SIGTERM)
        self.daemon = None

    def kill_service(self):
        _end(self.daemon)
        self.daemon = None

    def suspend_service(self):
        """The keyring keeps its name and answers nothing (SIGSTOP)."""
        self.daemon.send_signal(signal.SIGSTOP)

    def resume_service(self):
        self.daemon.send_signal(signal.SIGCONT)

    def kill_bus(self):
        _end(self.bus)
        self.bus = None

    def stop(self):
        self.stop_service()
        _end(self.bus, signal.SIGTERM)
        self.bus = None
        if self.own_directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    def kill(self):
        self.kill_service()
        self.kill_bus()

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc):
        self.stop()

    # Looking at it from outside.

    def log(self, name):
        try:
            with open(os.path.join(self.directory, name), encoding="utf-8", errors="replace") as source:
                return source.read()[-2000:]
        except OSError:
            return "(no log)"

    def call(self, path, method, *args, timeout=10):
        """The text of a D-Bus call's answer, in GVariant notation; RuntimeError with what D-Bus said."""
        done = subprocess.run(["gdbus", "call", "--session", "--timeout", str(timeout), "--dest", SECRETS,
                               "--object-path", path, "--method", method, *args],
                              env=self.env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr.strip())
        return done.stdout.strip()

    def _get(self, path, interface, name):
        return self.call(path, "org.freedesktop.DBus.Properties.Get", interface, name)

    def _has_name(self):
        try:
            self._get(SERVICE_PATH, "org.freedesktop.Secret.Service", "Collections")
        except RuntimeError:
            return False
        return True

    def default_collection(self):
        """The object path of the default collection, or None."""
        try:
            answer = self.call(SERVICE_PATH, "org.freedesktop.Secret.Service.ReadAlias", "default")
        except RuntimeError:
            return None
        path = re.search(r"'(/[^']*)'", answer).group(1)
        return None if path == "/" else path

    def locked(self):
        return "true" in self._get(self.default_collection(), "org.freedesktop.Secret.Collection", "Locked")

    def lock(self):
        self.call(SERVICE_PATH, "org.freedesktop.Secret.Service.Lock", "['%s']" % self.default_collection())

    def items(self, application="satchel"):
        """The attributes of every item of the application, sorted by kind; of locked collections too."""
        answer = self.call(SERVICE_PATH, "org.freedesktop.Secret.Service.SearchItems",
                           "{'application': '%s'}" % application)
        found = []
        for path in re.findall(r"'(/[^']*)'", answer):
            try:
                text = self._get(path, "org.freedesktop.Secret.Item", "Attributes")
            except RuntimeError as e:
                if "UnknownMethod" in str(e) or "NoSuchObject" in str(e):  # removed since it was found
                    continue
                raise
            found.append(ast.literal_eval(text[text.index("{"):text.rindex("}") + 1]))
        return sorted(found, key=lambda item: (item.get("kind", ""), sorted(item.items())))

    def kinds(self):
        return [item["kind"] for item in self.items()]

    def secret(self, kind):
        """The stored text of one item, or None."""
        done = subprocess.run(["secret-tool", "lookup", "application", "satchel", "kind", kind], env=self.env,
                              capture_output=True, check=False, timeout=10)
        return done.stdout.decode() if done.returncode == 0 else None


def main():
    parser = argparse.ArgumentParser(description="Run a command in a private session with a keyring.")
    parser.add_argument("verb", choices=["run"])
    parser.add_argument("--locked", action="store_true", help="lock the keyring before the command runs")
    parser.add_argument("--no-service", action="store_true", help="a bus without a keyring")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    with Session(service=not options.no_service) as session:
        if options.locked:
            session.lock()
        return subprocess.run(options.command, env=session.env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
