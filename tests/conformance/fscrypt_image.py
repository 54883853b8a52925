#!/usr/bin/python3
"""Runs a command with TMPDIR on a file system that offers encryption: fscrypt_image.py COMMAND ARGS...

An ext4 image with the feature "encrypt", mounted in a mount namespace of its own, which ends with the command; its path
is in SATCHEL_IMAGE. Needs root (for the mount; a program below as_user.py is an ordinary user all the same), a
kernel with fscrypt, and a loop device: without them it says which is missing, and the test is skipped (77).
"""

import os
import shutil
import subprocess
import sys
import tempfile

SIZE = os.environ.get("SATCHEL_IMAGE_SIZE", "128M")
MKFS = shutil.which("mkfs.ext4", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def missing():
    """What is not there, or None."""
    if os.getuid() != 0:
        return "root, to mount an image"
    if not MKFS:
        return "mkfs.ext4 (the package e2fsprogs)"
    if not os.path.exists("/sys/fs/ext4/features/encryption"):
        return "a kernel whose ext4 has encryption"
    if not os.path.exists("/dev/loop-control"):
        return "a loop device"
    return None


def main():
    lack = missing()
    if lack:
        print("skipped: this needs " + lack, file=sys.stderr)
        return 77
    directory = tempfile.mkdtemp(prefix="satchel-fscrypt.", dir="/tmp")
    try:
        image, place = os.path.join(directory, "image"), os.path.join(directory, "place")
        os.mkdir(place)
        subprocess.run(["truncate", "-s", SIZE, image], check=True)
        subprocess.run([MKFS, "-q", "-O", "encrypt", "-N", "32768" if SIZE == "128M" else "400000", image], check=True)
        os.chmod(directory, 0o755)
        script = 'mount -o loop "$0" "$1" && chmod 1777 "$1" && shift && exec "$@"'
        env = dict(os.environ, TMPDIR=place, SATCHEL_IMAGE=image)
        command = ["unshare", "--mount", "sh", "-c", script, image, place] + sys.argv[1:]
        return subprocess.run(command, env=env, check=False).returncode
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
