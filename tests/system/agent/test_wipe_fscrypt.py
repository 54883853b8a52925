"""The wipe of test_wipe.py where the vault is encrypted by the kernel: on an ext4 image with the feature "encrypt"."""

import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
IMAGE = HERE.parent.parent / "conformance" / "fscrypt_image.py"
CASES = ["test_wipe", "test_a_running_reader_loses_the_mail", "test_killed_anywhere_it_ends_the_same", "test_leave",
         "test_keyring_away_during_the_wipe"]


def test_the_same_on_fscrypt():
    done = subprocess.run([sys.executable, "-B", IMAGE, sys.executable, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider",
                           *("%s::%s" % (HERE / "test_wipe.py", case) for case in CASES)],
                          capture_output=True, text=True, timeout=300, check=False)
    if done.returncode == 77:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "%d passed" % len(CASES) in done.stdout
