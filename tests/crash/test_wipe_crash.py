"""The wipe on real parts (gocryptfs and FUSE, or fscrypt; GNOME Keyring), killed at every step, with every fault: the end is the same.

The driver is fscrypt below tests/conformance/fscrypt_image.py, else gocryptfs.

The program under test is SATCHEL_TEST_WIPE_DEVICE (wipe_device.c); runs as root and as an ordinary user.
"""

import fcntl
import hashlib
import json
import os
import random
import select
import signal
import struct
import subprocess
import sys
import time

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))
from keyring import Session  # noqa: E402

PROGRAM = os.environ["SATCHEL_TEST_WIPE_DEVICE"]
CANARY = "canary-%d-feathers" % random.SystemRandom().getrandbits(48)
STEPS = ["kill-mail-child", "destroy-key", "end-holders", "close-vault", "remove-ciphertext", "remove-secrets",
         "remove-account", "verify"]
LETTERS = 40
IMAGE = os.environ.get("SATCHEL_IMAGE")
DRIVER = "fscrypt" if IMAGE else "gocryptfs"
KEY = "fscrypt.key" if IMAGE else "gocryptfs.conf"
KEY_STATUS = 0xc080661a  # FS_IOC_GET_ENCRYPTION_KEY_STATUS of linux/fscrypt.h
KEY_ABSENT = 1
gocryptfs_only = pytest.mark.skipif(DRIVER != "gocryptfs", reason="about gocryptfs")
# The journal is written when the wipe begins, before and after each step, once with the count of files, and with the result.
DURABLE_STEPS = 1 + 2 * len(STEPS) + 1 + 1


class Device:
    """One device in a directory of its own; the keyring session is shared and emptied in between."""

    def __init__(self, session, root):
        self.session, self.root = session, str(root)
        self.ciphertext = os.path.join(self.root, "data/satchel/vault.enc")
        self.mount = os.path.join(self.root, "data/satchel/vault")
        self.personal = os.path.join(self.root, "home/personal")
        os.makedirs(self.personal)
        for i in range(5):
            with open(os.path.join(self.personal, "diary-%d" % i), "w", encoding="ascii") as out:
                out.write("my own words, volume %d\n" % i)

    def start(self, verb, *args, **env):
        return subprocess.Popen([PROGRAM, verb, self.root, *args], env=dict(self.session.env, **env),
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, verb, *args, **env):
        process = self.start(verb, *args, **env)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def setup(self):
        code, _, err = self.run("setup", CANARY)
        assert code == 0, err
        assert self.letters() == LETTERS
        # Links from inside to outside, as somebody could plant them.
        for place in (self.ciphertext, self.mount):
            os.symlink(self.personal, os.path.join(place, "planted-link"))
            os.symlink(os.path.join(self.personal, "diary-0"), os.path.join(place, "planted-file-link"))
        os.link(os.path.join(self.personal, "diary-1"), os.path.join(self.ciphertext, "planted-hard-link"))
        os.symlink(os.path.join(self.personal, "diary-2"), os.path.join(self.ciphertext, KEY + ".link"))
        os.link(os.path.join(self.personal, "diary-3"), os.path.join(self.ciphertext, KEY + ".hard"))
        self.manifest = self.take_manifest()
        if IMAGE:
            with open(os.path.join(self.ciphertext, "fscrypt.id"), encoding="ascii") as source:
                self.key_id = bytes.fromhex(source.read())
        return self

    def letters(self):
        return sum(len(files) for _, _, files in os.walk(self.mount) if files and CANARY in files[0])

    def take_manifest(self):
        found = {}
        for name in sorted(os.listdir(self.personal)):
            path = os.path.join(self.personal, name)
            st = os.lstat(path)
            with open(path, "rb") as source:
                found[name] = (hashlib.sha256(source.read()).hexdigest(), st.st_ino, st.st_mode, st.st_mtime_ns)
        return found

    def servers(self):
        """The pids of gocryptfs processes of this vault."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open("/proc/%s/cmdline" % pid, "rb") as source:
                    args = source.read().split(b"\0")
            except OSError:
                continue
            if self.ciphertext.encode() in args and b"-fg" in args:
                found.append(int(pid))
        return found

    def is_open(self):
        """Mounted, or the kernel has the key, or some of it in files that are in use."""
        if not IMAGE:
            return self.is_mounted()
        question = bytearray(struct.pack("II16s16x", 2, 0, self.key_id) + bytes(88))
        directory = os.open(self.root, os.O_RDONLY)
        try:
            fcntl.ioctl(directory, KEY_STATUS, question)
        finally:
            os.close(directory)
        return struct.unpack_from("I", question, 64)[0] != KEY_ABSENT

    def wait_closed(self, seconds):
        deadline = time.monotonic() + seconds
        while self.is_open() and time.monotonic() < deadline:
            select.select([], [], [], 0.01)
        return not self.is_open()

    def is_mounted(self):
        with open("/proc/self/mountinfo", encoding="utf-8") as source:
            return any(line.split()[4] == self.mount for line in source)

    def wipe(self, expected="done"):
        code, out, err = self.run("wipe")
        assert code == 0, err
        result = json.loads(out)
        assert result["result"] == expected, (result.get("reason"), err)
        assert [step["name"] for step in result["steps"]] == STEPS
        return result

    def check_gone(self, result):
        assert result["result"] == "done" and "reason" not in result
        assert all(step["outcome"] in ("done", "nothing-to-do") for step in result["steps"])
        assert [line["found"] for line in result["checked"]] == [0] * len(result["checked"])
        assert result["unreadable_at"] and result["vault"] == {"driver": DRIVER}
        assert not self.is_open() and not self.servers()
        assert os.listdir(os.path.join(self.root, "data/satchel")) == []
        assert os.listdir(os.path.join(self.root, "home/.client")) == [] == os.listdir(os.path.join(self.root, "run"))
        assert os.listdir(os.path.join(self.root, "state/satchel")) == ["wipe.json"]
        assert self.session.kinds() == ["device-certificate", "device-key"]
        assert self.take_manifest() == {k: v for k, v in self.manifest.items()}
        for place in (self.root, self.session.directory):
            assert find_canary(place) == []
        assert not IMAGE or not raw_image_has(CANARY)
        assert self.run("finish")[0] == 0
        assert os.listdir(os.path.join(self.root, "state/satchel")) == []

    def end(self):
        """Whatever a failed test left."""
        for pid in self.servers():
            os.kill(pid, signal.SIGKILL)
        if self.is_mounted():
            subprocess.run(["fusermount3", "-uz", self.mount], check=False)


def find_canary(place):
    """Files with the canary in their content or name."""
    found = []
    for directory, _, names in os.walk(place):
        for name in names:
            path = os.path.join(directory, name)
            if CANARY in name:
                found.append(path)
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as source:
                    if CANARY.encode() in source.read():
                        found.append(path)
    return found


def raw_image_has(text):
    """Whether the bytes of the file system's image have it, in a file or in what is no file any more."""
    os.sync()
    return subprocess.run(["grep", "-qaF", text, IMAGE], check=False).returncode == 0


@pytest.fixture(scope="module", name="session")
def make_session():
    with Session() as session:
        yield session


@pytest.fixture(name="device")
def make_device(session, tmp_path):
    device = Device(session, tmp_path / "device").setup()
    yield device
    device.end()
    for kind in session.kinds():
        subprocess.run(["secret-tool", "clear", "application", "satchel", "kind", kind], env=session.env, check=True)


def test_canary_is_found_where_it_is(device):
    """The search can fail: it sees the letters while the vault is open, and none in the ciphertext."""
    assert len(find_canary(device.mount)) >= LETTERS
    assert find_canary(device.ciphertext) == []
    if IMAGE:
        assert not raw_image_has(CANARY)
        with open(os.path.join(device.root, "clear"), "w", encoding="ascii") as out:
            out.write("a search that can fail: %s" % CANARY[::-1])
        assert raw_image_has(CANARY[::-1])
        os.unlink(os.path.join(device.root, "clear"))


def test_nothing_goes_wrong(device):
    result = device.wipe()
    assert result["removed"]["files"] >= LETTERS and result["removed"]["bytes"] >= LETTERS * len(CANARY)
    assert device.wipe() == result
    device.check_gone(result)


@pytest.mark.parametrize("step", range(1, DURABLE_STEPS + 1))
def test_killed_after_each_durable_step(device, step):
    code, out, err = device.run("wipe", SATCHEL_TEST_CRASH_AT=str(step))
    assert code == -signal.SIGKILL and out == "", (code, err)
    assert device.take_manifest() == device.manifest
    result = device.wipe()
    assert result["removed"]["files"] >= LETTERS
    device.check_gone(result)


def test_there_are_no_more_durable_steps(device):
    code, out, err = device.run("wipe", SATCHEL_TEST_CRASH_AT=str(DURABLE_STEPS + 1))
    assert code == 0, err
    device.check_gone(json.loads(out))


def test_killed_at_random_moments(device):
    seed = random.SystemRandom().getrandbits(32)
    print("seed", seed)
    moments = random.Random(seed)
    killed = 0
    for _ in range(12):
        process = device.start("wipe")
        try:
            process.communicate(timeout=moments.uniform(0.01, 0.5))
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            killed += 1
    print("killed", killed)
    device.check_gone(device.wipe())


def test_vault_not_mounted(device):
    os.unlink(os.path.join(device.mount, "planted-link"))
    assert device.run("close")[0] == 0
    result = device.wipe()
    assert next(s for s in result["steps"] if s["name"] == "close-vault")["outcome"] == "nothing-to-do"
    device.check_gone(result)


@gocryptfs_only
def test_gocryptfs_already_dead(device):
    for pid in device.servers():
        os.kill(pid, signal.SIGKILL)
    device.check_gone(device.wipe())


@gocryptfs_only
def test_gocryptfs_does_not_answer(device):
    for pid in device.servers():
        os.kill(pid, signal.SIGSTOP)
    device.check_gone(device.wipe())


def start_holder(device):
    holder = device.start("hold", CANARY)
    word, child = holder.stdout.readline().split()
    assert word == "ready"
    return holder, int(child)


def wait_gone(pid, seconds=10):
    """A pidfd is readable when the process has ended."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], seconds)[0])
    finally:
        os.close(fd)


@pytest.mark.parametrize("dead", [False, pytest.param(True, marks=gocryptfs_only)])
def test_holder_with_file_mapping_and_child(device, dead):
    holder, child = start_holder(device)
    bystander = subprocess.Popen(["sleep", "600"])
    try:
        if dead:
            for pid in device.servers():
                os.kill(pid, signal.SIGKILL)
        result = device.wipe()
        assert holder.wait(timeout=10) == -signal.SIGKILL
        if os.getuid() == 0:
            os.kill(child, signal.SIGKILL)  # of root's holders only themselves are ended
        assert wait_gone(child)
        assert bystander.poll() is None
        device.check_gone(result)
    finally:
        holder.kill()
        holder.communicate()
        bystander.kill()
        bystander.wait()


def test_keyring_killed(device, session):
    session.kill_service()
    try:
        result = device.wipe("failed")
        assert "keyring" in result["reason"]
        # The mail is gone all the same; what is not known is not called 0.
        assert not device.is_open() and not os.path.exists(device.ciphertext)
        assert {line["what"]: line["found"] for line in result["checked"]}["keyring-items"] is None
        assert result["unreadable_at"] is None
    finally:
        session.start_service()
    assert "vault-key" in session.kinds()
    device.check_gone(device.wipe())


def test_keyring_silent(device, session):
    """The vault does not wait for the keyring."""
    servers = device.servers()
    session.suspend_service()
    try:
        started = time.monotonic()
        process = device.start("wipe")
        assert device.wait_closed(15) and all(wait_gone(pid, 15) for pid in servers)
        assert time.monotonic() - started < 8
    finally:
        session.resume_service()
    out, err = process.communicate(timeout=60)
    result = json.loads(out)
    if result["result"] == "failed":
        result = device.wipe()
    device.check_gone(result)
    assert process.returncode == 0, err


def test_keyring_locked(device, session):
    session.lock()
    result = device.wipe("failed")
    assert "locked" in result["reason"]
    assert not device.is_open() and not os.path.exists(device.ciphertext)
    session.stop_service()
    session.start_service()
    device.check_gone(device.wipe())


@pytest.mark.parametrize("fault, step", [("destroy_key", "destroy-key"), ("end_holders", "end-holders"), ("force_close", "close-vault"),
                                         ("is_open", "remove-ciphertext"), ("count_servers", "verify")])
def test_each_step_goes_wrong(device, fault, step):
    """Never called done while it does; the other steps are taken all the same; and once it goes right, so does the end."""
    code, out, err = device.run("wipe", SATCHEL_TEST_FAULT=fault)
    assert code == 0, err
    result = json.loads(out)
    assert result["result"] == "failed"
    assert next(s for s in result["steps"] if s["name"] == step)["outcome"] == "failed"
    assert "the disk says no" in json.dumps(result)
    assert device.session.kinds() == ["device-certificate", "device-key"]
    assert not os.path.exists(os.path.join(device.ciphertext, KEY))
    assert device.take_manifest() == device.manifest
    device.check_gone(device.wipe())


def test_write_protected_ciphertext(device):
    for place in (device.ciphertext, device.mount) if IMAGE else (device.ciphertext,):
        for directory, _, _ in list(os.walk(place, topdown=False)):
            os.chmod(directory, 0o500)
    device.check_gone(device.wipe())


def test_file_that_cannot_be_removed(device):
    """The immutable attribute stops even root: failed with the reason, and done once it is off."""
    stuck = device.mount if IMAGE else next(os.path.join(d, files[0]) for d, _, files in os.walk(device.ciphertext)
                                            if files and KEY not in files and d != device.ciphertext)
    if os.getuid() != 0 or subprocess.run(["chattr", "+i", stuck], check=False, capture_output=True).returncode:
        pytest.skip("needs root and a file system with chattr")
    try:
        result = device.wipe("failed")
        assert result["reason"].startswith("remove-ciphertext: ")
        assert not device.is_open() and not os.path.exists(os.path.join(device.ciphertext, KEY))
        assert result["unreadable_at"]
        assert {line["what"]: line["found"] for line in result["checked"]}["vault-directories"] == 1
    finally:
        subprocess.run(["chattr", "-i", stuck], check=True)
    device.check_gone(device.wipe())


def test_nothing_can_be_written(device):
    """A state directory that is full or read-only: nothing is begun, and that is said."""
    state = os.path.join(device.root, "state/satchel")
    os.chmod(state, 0o500)
    if os.getuid() == 0 and subprocess.run(["chattr", "+i", state], check=False, capture_output=True).returncode:
        pytest.skip("needs a file system with chattr")
    try:
        code, out, err = device.run("wipe")
        assert code == 1 and out == "" and "wipe.json" in err
        assert device.letters() == LETTERS
    finally:
        if os.getuid() == 0:
            subprocess.run(["chattr", "-i", state], check=True)
        os.chmod(state, 0o700)
    device.check_gone(device.wipe())


def test_rubbish_in_place_of_the_journal(device):
    with open(os.path.join(device.root, "state/satchel/wipe.json"), "wb") as out:
        out.write(os.urandom(4096))
    result = device.wipe()
    os.unlink(os.path.join(device.root, "state/satchel/wipe.json.bad"))
    device.check_gone(result)


def test_ciphertext_swapped_for_a_link(device):
    """Moved away by somebody: what is moved is unreadable, what the link points to is not touched."""
    moved = os.path.join(device.root, "moved")
    os.rename(device.ciphertext, moved)
    os.symlink(device.personal, device.ciphertext)
    result = device.wipe()
    assert os.path.exists(os.path.join(moved, KEY))
    device.check_gone(result)
