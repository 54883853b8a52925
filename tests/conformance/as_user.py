#!/usr/bin/python3
"""Runs a test program as an ordinary user: as_user.py [--no-fuse] PROGRAM ARGS...

Root changes to `nobody` in a temporary directory of its own, and lets users open /dev/fuse for as long as the program
runs where the machine does not (Debian does: 0666). With --no-fuse the program sees a /dev/fuse that it may not open.
Started by an ordinary user, who is one already, it is skipped (77) with --no-fuse and runs the program otherwise.
"""

import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile

FUSE = "/dev/fuse"


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
    before = None
    try:
        os.chown(directory, user.pw_uid, user.pw_gid)
        program = shutil.copy(args[0], os.path.join(directory, "program"))
        os.chmod(program, 0o755)
        command = ["setpriv", "--reuid=%d" % user.pw_uid, "--regid=%d" % user.pw_gid, "--clear-groups",
                   "env", "HOME=" + directory, "TMPDIR=" + directory, program] + args[1:]
        if no_fuse:
            closed = os.path.join(directory, "closed")
            os.close(os.open(closed, os.O_CREAT | os.O_WRONLY, 0o600))
            command = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" %s && exec "$@"' % FUSE, closed] + command
        elif os.path.exists(FUSE) and not os.stat(FUSE).st_mode & stat.S_IWOTH:
            before = stat.S_IMODE(os.stat(FUSE).st_mode)
            os.chmod(FUSE, 0o666)
        return subprocess.run(command, cwd="/", check=False).returncode
    finally:
        if before is not None:
            os.chmod(FUSE, before)
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
