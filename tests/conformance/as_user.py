#!/usr/bin/python3
"""Runs a test program as an ordinary user: as_user.py [--no-fuse] PROGRAM ARGS...

Root changes to `nobody` in a temporary directory and a mount namespace of its own, in which users may open
/dev/fuse as on an ordinary Debian (a bare machine has it 0600); the machine itself is not changed. Programs of the
build, also those named by SATCHEL_TEST_*, and the tests are copied to where the user can read them, for the tree may lie
where only root gets. With --no-fuse the program sees a /dev/fuse that it may not open. Started by an
ordinary user, who is one already, it is skipped (77) with --no-fuse and runs the program otherwise.
"""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile

FUSE = "/dev/fuse"
TESTS = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))


def copy(program, directory):
    path = shutil.copy(program, directory)
    os.chmod(path, 0o755)
    return path


def with_readable_tests(args, directory):
    """The arguments, those that name something of tests/ now in a copy of it."""
    copied = os.path.join(directory, "tests")
    shutil.copytree(TESTS, copied, ignore=shutil.ignore_patterns("fuzz", "__pycache__"))
    for root, folders, files in os.walk(copied):
        for name in folders + files:
            path = os.path.join(root, name)
            os.chmod(path, os.stat(path).st_mode | (0o555 if name in folders else 0o444))
    os.chmod(copied, 0o755)
    paths = [os.path.realpath(a) if os.sep in a and os.path.exists(a) else a for a in args]
    return [copied + p[len(TESTS):] if p.startswith(TESTS + os.sep) else p for p in paths]


def main():
    args = sys.argv[1:]
    no_fuse = args[0] == "--no-fuse"
    args = args[1:] if no_fuse else args
    if os.getuid() != 0:
        if no_fuse:
            return 77
        os.execv(args[0], args)
    user = pwd.getpwnam("nobody")
    directory = tempfile.mkdtemp(prefix="satchel-user.")
    try:
        os.chown(directory, user.pw_uid, user.pw_gid)
        change = ["setpriv", "--reuid=%d" % user.pw_uid, "--regid=%d" % user.pw_gid, "--clear-groups"]
        args[1:] = with_readable_tests(args[1:], directory)
        variables = ["HOME=" + directory, "TMPDIR=" + directory]
        for name, value in os.environ.items():
            if name.startswith("SATCHEL_TEST_") and os.path.isfile(value):
                variables.append(name + "=" + copy(value, directory))
        program = args[0] if args[0].startswith("/usr/") else copy(args[0], directory)
        command = change + ["env"] + variables + [program] + args[1:]
        node = os.path.join(directory, "dev")
        os.mkdir(node, 0o755)
        prepare = 'mount -t tmpfs -o mode=755 satchel-test "$0" && mknod -m %s "$0/fuse" c 10 229 && ' % (
            "600" if no_fuse else "666") + 'mount --bind "$0/fuse" %s && exec "$@"' % FUSE
        command = ["unshare", "--mount", "sh", "-c", prepare, node] + command
        return subprocess.run(command, cwd="/", check=False).returncode
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
