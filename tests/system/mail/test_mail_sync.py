"""Both directions against a real server."""

import os
import random
import re
import shutil
import stat

import pytest

from compare import assert_equal, local_side, selected, server_side
from dovecot import FOLDERS, message
from mailchild import files, until


def letters(vault, uid, folder="INBOX"):
    return local_side(vault, folder, bodies=False).get(uid, (None,))[0]


def set_letters(vault, uid, value, folder="INBOX"):
    """What a reader does: rename the file, in cur/."""
    path = files(vault / "Mail" / folder)[uid]
    path.rename(path.parent.parent / "cur" / (path.name.split(":2,")[0] + ":2," + value))


def flags_on_server(server, uid, folder="INBOX"):
    return server_side(server, folder, bodies=False).get(uid, (None,))[0]


def test_first_sync(server, vault, start):
    server.generate("anna", 2000)
    server.start()
    child = start(server)
    answer = child.sync()
    assert answer["ok"], answer
    assert_equal(server, vault, FOLDERS)
    status = [e for e in child.events if e["event"] == "status"][-1]
    assert (status["imap"], status["push"], status["folders"], status["messages"]) == ("ok", "notify", 5, 2000)
    assert status["pending"] == 0 and status["text"] == "" and status["last_sync"].endswith("Z")
    progress = [e for e in child.events if e["event"] == "progress"]
    assert progress[-1]["done"] == progress[-1]["total"] == 2000
    for top, dirs, names in os.walk(vault / "Mail"):
        assert all(stat.S_IMODE(os.stat(os.path.join(top, d)).st_mode) == 0o700 for d in dirs)
        assert all(stat.S_IMODE(os.stat(os.path.join(top, n)).st_mode) == 0o600 for n in names)
        assert os.path.basename(top) != "tmp" or not names
    with selected(server) as imap:
        date = imap.uid("FETCH", "1", "(INTERNALDATE)")[1][0]
    assert int(files(vault / "Mail" / "INBOX")[1].stat().st_mtime) == int(server_time(date))
    assert child.stop() == 0


def server_time(response):
    import calendar
    import imaplib
    import time
    return calendar.timegm(time.gmtime(time.mktime(imaplib.Internaldate2tuple(response))))


def test_starttls(server, vault, start):
    server.generate("anna", 20)
    server.start()
    child = start(server, security="starttls", port=server.starttls_port)
    assert child.sync()["ok"]
    assert_equal(server, vault, FOLDERS)


def peak(child):
    """The child's largest resident size so far, in KiB."""
    with open("/proc/%d/status" % child.process.pid) as f:
        return int(f.read().split("VmHWM:")[1].split()[0])


def test_large_message_in_constant_memory(server, vault, start):
    server.generate("anna", 100)
    server.start()
    child = start(server)
    assert child.sync()["ok"]
    before = peak(child)
    server.deliver("anna", "INBOX", message(1, size=60_000_000))
    assert child.sync(60)["ok"]
    assert_equal(server, vault, ["INBOX"])
    assert peak(child) - before < 20_000


@pytest.mark.parametrize("body", [b"", b"\r\n", b"no header at all", b"Subject: x\r\n\r\n" + bytes(range(1, 256)) * 3],
                         ids=["empty", "line", "headless", "bytes"])
def test_odd_messages(server, vault, start, body):
    server.store("anna", "INBOX", [body])
    server.start()
    child = start(server)
    assert child.sync()["ok"]
    assert_equal(server, vault, ["INBOX"])


def test_new_mail_arrives_by_idle(server, vault, start):
    server.generate("anna", 50)
    server.start()
    child = start(server)
    assert child.sync()["ok"]
    before = set(files(vault / "Mail" / "INBOX"))
    server.deliver("anna", "INBOX", b"Subject: fresh\r\n\r\nhello\r\n")
    until(lambda: set(files(vault / "Mail" / "INBOX")) - before, 2, "new mail in the Maildir")
    (uid,) = set(files(vault / "Mail" / "INBOX")) - before
    path = files(vault / "Mail" / "INBOX")[uid]
    assert path.parent.name == "new" and path.read_bytes() == b"Subject: fresh\r\n\r\nhello\r\n"
    child.status(lambda e: e["messages"] == 51)


def test_mail_one_by_one_is_told_of_each_time(server, vault, start):
    server.generate("anna", 1, folders=("INBOX",))
    server.start()
    child = start(server)
    assert child.sync()["ok"]
    for n in range(2, 12):
        server.deliver("anna", "INBOX", b"Subject: %d\r\n\r\n" % n)
        until(lambda: len(files(vault / "Mail" / "INBOX")) == n, what="message %d by itself" % n)


def test_a_sync_order_sees_what_was_there_before_it(server, vault, start):
    """Also where the server has not yet told the waiting session."""
    server.generate("anna", 50)
    server.start()
    child = start(server)
    assert child.sync()["ok"]
    for n in range(10):
        server.deliver("anna", "INBOX", b"Subject: %d\r\n\r\n" % n)
        assert child.sync()["ok"]
        assert len(files(vault / "Mail" / "INBOX")) == 11 + n
        with selected(server) as imap:
            imap.uid("STORE", str(n + 1), "+FLAGS", "(\\Flagged)")
        assert child.sync()["ok"]
        assert "F" in letters(vault, n + 1)


def test_flags_go_up_within_a_second_and_come_down(server, vault, start):
    server.generate("anna", 50)
    server.start()
    child = start(server)
    assert child.sync()["ok"]
    for value in ("FS", "RS", "", "DFRST", "S"):
        set_letters(vault, 2, value)
        until(lambda: flags_on_server(server, 2) == value, 2, "%r on the server" % value)
    with selected(server) as imap:
        imap.uid("STORE", "3", "+FLAGS", "(\\Flagged \\Answered)")
    until(lambda: "FR" in (letters(vault, 3) or ""), 2, "flags in the Maildir")
    with selected(server) as imap:
        imap.uid("STORE", "3", "-FLAGS", "(\\Flagged \\Answered)")
    until(lambda: not {"F", "R"} & set(letters(vault, 3)), 2, "flags gone from the Maildir")
    # in a folder that is not watched on the server, with the next pass; both sides at once merge flag by flag
    set_letters(vault, 2, "F", "Sent")
    with selected(server, "Sent") as imap:
        imap.uid("STORE", "2", "+FLAGS", "(\\Answered)")
    assert child.sync()["ok"]
    assert_equal(server, vault, FOLDERS)
    assert letters(vault, 2, "Sent") == "FR"


def test_letters_that_are_no_flags_stay(server, vault, start):
    server.generate("anna", 50)
    server.start()
    child = start(server)
    assert child.sync()["ok"]
    set_letters(vault, 2, "PSab")
    until(lambda: flags_on_server(server, 2) == "S", 2, "the flag on the server")
    with selected(server) as imap:
        imap.uid("STORE", "2", "+FLAGS", "(\\Flagged)")
    until(lambda: letters(vault, 2) == "FPSab", 2, "the flag in the Maildir")


def test_removals_go_both_ways(server, vault, start):
    server.generate("anna", 100)
    server.start()
    child = start(server)
    assert child.sync()["ok"]
    files(vault / "Mail" / "INBOX")[5].unlink()
    until(lambda: 5 not in server_side(server, bodies=False), 3, "the removal on the server")
    with selected(server) as imap:
        imap.uid("STORE", "7", "+FLAGS", "(\\Deleted)")
        imap.uid("EXPUNGE", "7")
    until(lambda: 7 not in files(vault / "Mail" / "INBOX"), 3, "the removal in the Maildir")
    with selected(server, "Sent") as imap:
        imap.uid("STORE", "2:4", "+FLAGS", "(\\Deleted)")
        imap.expunge()
    assert child.sync()["ok"]
    assert_equal(server, vault, FOLDERS)
    # a T is \\Deleted and no more
    set_letters(vault, 9, "T")
    until(lambda: flags_on_server(server, 9) == "T", 2, "the flag on the server")
    assert 9 in server_side(server, bodies=False)


def test_without_uidplus_a_removal_leaves_deleted(make_server, vault, start):
    server = make_server(capability="IMAP4rev1 IDLE")
    server.generate("anna", 50)
    server.start()
    child = start(server)
    assert child.sync()["ok"]
    files(vault / "Mail" / "INBOX")[5].unlink()
    until(lambda: "T" in (flags_on_server(server, 5) or ""), 3, "\\Deleted on the server")
    assert child.sync()["ok"] and 5 not in files(vault / "Mail" / "INBOX")
    with selected(server) as imap:  # somebody takes it back
        imap.uid("STORE", "5", "-FLAGS", "(\\Deleted)")
    for _ in range(2):
        answer = child.sync()
        assert answer["ok"], answer
    assert_equal(server, vault, ["INBOX"])


def test_without_idle_and_condstore(make_server, vault, start):
    server = make_server(capability="IMAP4rev1 UIDPLUS")
    server.generate("anna", 50)
    server.start()
    child = start(server)
    assert child.sync()["ok"]
    assert child.events[-2]["push"] == "poll"
    server.deliver("anna", "INBOX", b"Subject: polled\r\n\r\n")
    set_letters(vault, 2, "F")
    until(lambda: flags_on_server(server, 2) == "F", 2, "the flag on the server")
    assert child.sync()["ok"]
    assert_equal(server, vault, FOLDERS)


@pytest.mark.parametrize("connections", [10, 1])
def test_folders_in_use_have_connections_of_their_own(make_server, vault, start, connections):
    """Where the server does not tell of all folders on one; and where it takes no more of them, they are asked for."""
    server = make_server(capability="IMAP4rev1 IDLE UIDPLUS", extra="mail_max_userip_connections = %d" % connections)
    server.generate("anna", 50)
    server.start()
    child = start(server)
    assert child.sync()["ok"]
    assert child.events[-2]["push"] == "idle"
    uid = min(files(vault / "Mail" / "Sent"))
    set_letters(vault, uid, "F", "Sent")  # in use from now on
    told = "watched by a connection of its own" if connections > 1 else "asked for from time to time"
    until(lambda: told in child.log(), 20, "the log: " + told)
    count = len(files(vault / "Mail" / "Sent"))
    for n in range(1, 4 if connections > 1 else 2):
        server.store("anna", "Sent", [b"Subject: %d\r\n\r\n" % n])  # no connection is left for a delivery by IMAP
        until(lambda: len(files(vault / "Mail" / "Sent")) == count + n, 20, "message %d by itself" % n)
    assert child.sync()["ok"]
    assert child.stop() == 0
    assert_equal(server, vault, FOLDERS)


def test_changes_made_while_the_child_is_away(server, vault, start):
    server.generate("anna", 100)
    server.start()
    first = start(server)
    assert first.sync()["ok"]
    first.kill()
    set_letters(vault, 2, "FS")
    files(vault / "Mail" / "INBOX")[3].unlink()
    with selected(server) as imap:
        imap.uid("STORE", "4", "+FLAGS", "(\\Answered)")
        imap.uid("STORE", "6", "+FLAGS", "(\\Deleted)")
        imap.uid("EXPUNGE", "6")
    server.deliver("anna", "INBOX", b"Subject: meanwhile\r\n\r\n")
    answer = start(server).sync()
    assert answer["ok"], answer
    assert_equal(server, vault, FOLDERS)
    assert 3 not in files(vault / "Mail" / "INBOX") and flags_on_server(server, 2) == "FS"


def test_mass_removal_is_held_back(server, vault, start):
    server.generate("anna", 200)
    server.start()
    child = start(server)
    assert child.sync()["ok"]
    for uid, path in files(vault / "Mail" / "INBOX").items():
        if uid > 10:
            path.unlink()
    status = child.status(lambda e: e["asks"] == 1, 5)
    assert "INBOX" in status["text"]
    answer = child.sync()
    assert not answer["ok"] and "deleted on this device" in answer["text"]
    assert len(server_side(server, bodies=False)) == 40


def test_inbox_removed_with_its_directory_comes_back(server, vault, start):
    server.generate("anna", 100)
    server.start()
    child = start(server)
    assert child.sync()["ok"]
    child.kill()
    shutil.rmtree(vault / "Mail" / "INBOX")
    answer = start(server).sync()
    assert answer["ok"], answer
    assert_equal(server, vault, FOLDERS)


def subjects(server, folder="INBOX"):
    return sorted(line[9:].strip() for _, body in server_side(server, folder).values() for line in body.splitlines()
                  if line.startswith(b"Subject: "))


def test_new_messages_of_readers_go_up(server, vault, start):
    server.generate("anna", 50)
    server.start()
    child = start(server)
    assert child.sync()["ok"]
    inbox = vault / "Mail" / "INBOX"
    (inbox / "tmp" / "half").write_bytes(b"Subject: half\n\n")
    (inbox / "cur" / ".hidden").write_bytes(b"Subject: hidden\n\n")
    (inbox / "cur" / "empty:2,S").write_bytes(b"")
    for place, name, text in (("cur", "1234.567_8.host:2,FSb", b"Message-ID: <1@x>\nSubject: mine 1\n\nno end"),
                              ("new", "1234.568.host", b"Subject: mine 2\r\n\r\nx\r\n"),
                              ("new", "1234.569.host", b"Subject: mine 2\r\n\r\nx\r\n")):  # the same twice
        (inbox / "tmp" / name).write_bytes(text)
        os.utime(inbox / "tmp" / name, (1600000000, 1600000000))
        (inbox / "tmp" / name).rename(inbox / place / name)
    until(lambda: subjects(server).count(b"mine 2") == 2 and b"mine 1" in subjects(server), 5, "the messages on the server")
    assert child.sync()["ok"]
    with selected(server) as imap:
        (uid,) = imap.uid("SEARCH", "SUBJECT", '"mine 1"')[1]
        date = imap.uid("FETCH", uid.decode(), "(INTERNALDATE)")[1][0]
    assert flags_on_server(server, int(uid)) == "FS"
    assert server_time(date) == 1600000000
    (inbox / "cur" / "empty:2,S").unlink()
    (inbox / "cur" / ".hidden").rename(inbox / "tmp" / "hidden")
    local = local_side(vault)
    assert local[int(uid)][0] == "FSb"  # a letter that stands for nothing is kept
    assert len(local) == 13 and (inbox / "tmp" / "half").exists()
    child.kill()
    answer = start(server).sync()
    assert answer["ok"], answer
    assert len(server_side(server, bodies=False)) == 13


def test_moves_and_copies_of_readers(server, vault, start):
    server.generate("anna", 100)
    server.start()
    child = start(server)
    assert child.sync()["ok"]
    inbox, sent = files(vault / "Mail" / "INBOX"), vault / "Mail" / "Sent" / "cur"
    bodies = {uid: path.read_bytes() for uid, path in inbox.items()}
    inbox[4].rename(sent / inbox[4].name)  # the file itself
    (sent / "77.copy.host:2,S").write_bytes(inbox[5].read_bytes())  # as mutt saves
    inbox[5].unlink()
    shutil.copy2(inbox[6], sent / inbox[6].name)
    until(lambda: len(server_side(server, "Sent", bodies=False)) == 23 and not {4, 5} & set(server_side(server, bodies=False)), 5,
          "all of it on the server")
    assert child.sync()["ok"]
    assert_equal(server, vault, ["INBOX"])
    there = [body for _, body in server_side(server, "Sent").values()]
    assert all(there.count(bodies[uid]) == 1 for uid in (4, 5, 6))
    assert len(files(vault / "Mail" / "Sent")) == 23 and 6 in server_side(server, bodies=False)


def test_an_edit_wins_over_a_removal(server, vault, start):
    server.generate("anna", 50)
    server.start()
    child = start(server)
    assert child.sync()["ok"]
    mine = files(vault / "Mail" / "INBOX")
    mine[2].write_bytes(b"Subject: edited 2\r\n\r\nnew text\r\n")
    until(lambda: b"edited 2" in subjects(server) and 2 not in server_side(server, bodies=False), 5, "the edit on the server")
    os.utime(mine[4])  # touched alone
    child.kill()
    mine[3].write_bytes(b"Subject: edited 3\r\n\r\nnew text\r\n")
    with selected(server) as imap:
        imap.uid("STORE", "3", "+FLAGS", "(\\Deleted)")
        imap.uid("EXPUNGE", "3")
    answer = start(server).sync()
    assert answer["ok"], answer
    assert sorted(s for s in subjects(server) if s.startswith(b"edited")) == [b"edited 2", b"edited 3"]
    assert 4 in server_side(server, bodies=False)
    assert_equal(server, vault, FOLDERS)


def test_folders_of_readers(server, vault, start):
    server.generate("anna", 50)
    server.start()
    child = start(server)
    assert child.sync()["ok"]
    mail = vault / "Mail"

    def listed():
        with server.client("anna") as imap:
            return {line.decode().split(' "/" ')[1].strip('"') for line in imap.list()[1]}

    for part in ("tmp", "new", "cur"):
        (mail / "Lokal" / "Größe" / part).mkdir(parents=True)
    (mail / "Lokal" / "Größe" / "new" / "1.x").write_bytes(b"Subject: local\n\n")
    until(lambda: "Lokal/Gr&APYA3w-e" in listed() and subjects(server, "Lokal/Größe") == [b"local"], 5, "the folder on the server")
    (mail / "Projekte" / "Übersicht").rename(mail / "Umbenannt")
    until(lambda: "Umbenannt" in listed() and "Projekte/&ANw-bersicht" not in listed(), 5, "the new name on the server")
    assert child.sync()["ok"]
    assert_equal(server, vault, ["Umbenannt"])
    shutil.rmtree(mail / "Umbenannt")
    until(lambda: "Umbenannt" not in listed(), 5, "the removal on the server")
    with server.client("anna") as imap:  # and on the other side
        imap.rename("Sent", "Gesendet")
    child.kill()
    answer = start(server).sync()
    assert answer["ok"], answer
    assert_equal(server, vault, ["INBOX", "Archive/2025", "Entwürfe", "Gesendet"])
    assert not (mail / "Sent").exists()


def test_keywords(server, vault, start):
    server.generate("anna", 50)
    server.start()
    child = start(server)
    assert child.sync()["ok"]
    with selected(server) as imap:
        imap.uid("STORE", "2", "+FLAGS", "($Label1 $Forwarded)")
        imap.uid("STORE", "3", "+FLAGS", "(NonJunk)")
    until(lambda: "P" in (letters(vault, 2) or "") and set("ab") & set(letters(vault, 3) or ""), 3, "keywords in the Maildir")
    table = dict(line.split(" ", 1) for line in (vault / "Mail" / "INBOX" / "dovecot-keywords").read_text().splitlines())
    slot = {name: chr(97 + int(n)) for n, name in table.items()}
    assert slot["$Label1"] in letters(vault, 2) and slot["NonJunk"] in letters(vault, 3)
    assert child.sync()["ok"]
    set_letters(vault, 2, "P" + slot["NonJunk"])

    def keywords(uid):
        with selected(server) as imap:
            return imap.uid("FETCH", str(uid), "(FLAGS)")[1][0].decode()

    until(lambda: "NonJunk" in keywords(2) and "$Label1" not in keywords(2) and "$Forwarded" in keywords(2), 3, "keywords on the server")
    with open(vault / "Mail" / "INBOX" / "dovecot-keywords", "a") as f:  # as Dovecot adds one
        f.write("%d Neu\n" % len(table))
    set_letters(vault, 4, chr(97 + len(table)))
    until(lambda: "Neu" in keywords(4), 3, "a reader's keyword on the server")


def test_a_confirmation_carries_out_a_mass_removal(server, vault, start):
    server.generate("anna", 200)
    server.start()
    child = start(server)
    assert child.sync()["ok"]
    for uid, path in files(vault / "Mail" / "INBOX").items():
        if uid > 10:
            path.unlink()
    with selected(server, "Sent") as imap:
        imap.uid("STORE", "1:30", "+FLAGS", "(\\Deleted)")
        imap.expunge()
    answer = child.sync()
    assert not answer["ok"] and "--confirm-deletions" in answer["text"]
    assert child.events[-2]["asks"] == 2
    assert len(server_side(server, bodies=False)) == 40 and len(files(vault / "Mail" / "Sent")) == 40
    child.send(op="sync", id=77, confirm_deletions=True)
    answer = child.wait(lambda e: e["event"] == "synced" and e["id"] == 77)
    assert answer["ok"], answer
    assert len(server_side(server, bodies=False)) == 10 and len(files(vault / "Mail" / "Sent")) == 10
    assert_equal(server, vault, FOLDERS)


def test_what_is_in_the_way_of_one_folder_stops_no_other(server, vault, start, tmp_path):
    server.generate("anna", 50)
    server.start()
    (tmp_path / "elsewhere").mkdir()
    (vault / "Mail").mkdir()
    (vault / "Mail" / "Sent").symlink_to(tmp_path / "elsewhere")
    (vault / "Mail" / "Archive").write_text("a file")
    child = start(server)
    answer = child.sync()
    assert not answer["ok"] and "in its place" in answer["text"]
    assert not any((tmp_path / "elsewhere").iterdir())
    assert_equal(server, vault, ["INBOX", "Entwürfe", "Projekte/Übersicht"])
    (vault / "Mail" / "Sent").unlink()
    (vault / "Mail" / "Archive").unlink()
    assert child.sync()["ok"]
    assert_equal(server, vault, FOLDERS)


def test_folders_come_and_go(server, vault, start):
    server.generate("anna", 50)
    server.start()
    child = start(server)
    assert child.sync()["ok"]
    server.deliver("anna", "Neu/Über & unter", b"Subject: x\r\n\r\n")
    assert child.sync()["ok"]
    assert_equal(server, vault, [*FOLDERS, "Neu/Über & unter"])
    with server.client("anna") as imap:
        assert imap.delete("Sent")[0] == "OK"
    assert child.sync()["ok"]
    assert not (vault / "Mail" / "Sent").exists()
    assert_equal(server, vault, [f for f in FOLDERS if f != "Sent"])


def test_uidvalidity_change_copies_the_folder_again(server, vault, start):
    server.generate("anna", 50)
    server.start()
    child = start(server)
    assert child.sync()["ok"]
    with server.client("anna") as imap:
        imap.delete("Sent")
    for n in range(3):
        server.deliver("anna", "Sent", b"Subject: anew %d\r\n\r\n" % n)
    child.kill()
    answer = start(server).sync()
    assert answer["ok"], answer
    assert_equal(server, vault, FOLDERS)
    assert len(files(vault / "Mail" / "Sent")) == 3


def test_keep_days(server, vault, start):
    server.generate("anna", 10)
    server.start()
    with server.client("anna") as imap:
        imap.append("INBOX", None, '"01-Jan-2020 10:00:00 +0000"', b"Subject: old\r\n\r\n")
    child = start(server, keep_days=30)
    for _ in range(2):
        answer = child.sync()
        assert answer["ok"], answer
    assert len(files(vault / "Mail" / "INBOX")) == 2
    assert len(server_side(server, bodies=False)) == 3


def test_keep_days_lets_go_and_takes_back(server, vault, start):
    server.generate("anna", 10)
    server.start()
    with server.client("anna") as imap:
        for n in range(5):
            imap.append("INBOX", None, '"01-Jan-2020 10:00:00 +0000"', b"Subject: old %d\r\n\r\n" % n)
    child = start(server)
    assert child.sync()["ok"] and len(files(vault / "Mail" / "INBOX")) == 7
    child.kill()
    old = [u for u, p in files(vault / "Mail" / "INBOX").items() if b"old" in p.read_bytes()]
    files(vault / "Mail" / "INBOX")[old[0]].write_bytes(b"Subject: old, edited\r\n\r\n")
    set_letters(vault, old[1], "FS")
    child = start(server, keep_days=30)
    answer = child.sync()
    assert answer["ok"], answer
    assert len(server_side(server, bodies=False)) == 7 and flags_on_server(server, old[1]) == "FS"
    kept = [p.read_bytes() for p in files(vault / "Mail" / "INBOX").values()]
    assert len(kept) == 3 and b"Subject: old, edited\r\n\r\n" in kept  # it is as new as its edit
    child.configure(keep_days=0)
    child.status(lambda e: e["imap"] == "ok" and e["messages"] == 15)
    assert child.sync()["ok"]
    assert_equal(server, vault, FOLDERS)


def test_long_messages_hold_up_no_others_and_go_on_where_they_were(make_server, vault, start):
    server = make_server()
    raw = server.dir / "raw"
    raw.mkdir()
    raw.chmod(0o777)
    server.extra = "protocol imap {\n rawlog_dir = %s\n}\n" % raw
    server.store("anna", "INBOX", [message(n) for n in range(300)] + [message(1, size=40_000_000 + n) for n in range(3)])
    server.start()
    child = start(server)
    inbox = vault / "Mail" / "INBOX"
    until(lambda: (inbox / "cur").exists() and len(files(inbox)) >= 300, 20, "the short messages")
    assert all(p.stat().st_size < 1_000_000 for p in files(inbox).values())
    until(lambda: any(p.stat().st_size > 10_000_000 for p in (inbox / "tmp").iterdir()), 20, "a part of a long message")
    child.kill()
    for log in raw.iterdir():
        log.unlink()
    answer = start(server).sync(60)
    assert answer["ok"], answer
    assert_equal(server, vault, ["INBOX"])
    asked = [int(n) for log in raw.glob("*.in") for n in re.findall(rb"BODY.PEEK\[\]<(\d+)\.", log.read_bytes())]
    assert asked and asked[0] >= 8_000_000, asked


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_random_moments_of_the_first_sync(server, vault, start, seed):
    rng = random.Random(seed)
    server.generate("anna", 1000, seed=seed)
    server.start()
    for _ in range(4):
        child = start(server)
        done = rng.randint(1, 900)
        try:
            child.wait(lambda e: e["event"] == "progress" and e["done"] >= done or e["event"] == "status" and e["last_sync"], 20)
            child.receive(rng.random() * 0.1)
        finally:
            child.kill()
        for folder in FOLDERS:
            if (vault / "Mail" / folder / "cur").exists():
                files(vault / "Mail" / folder)  # nothing twice, at any moment
    child = start(server)
    assert child.sync()["ok"]
    assert_equal(server, vault, FOLDERS)
    assert child.events[-2]["messages"] == 1000


def test_damaged_state_is_made_again(server, vault, start):
    server.generate("anna", 100)
    server.start()
    child = start(server)
    assert child.sync()["ok"] and child.stop() == 0
    (vault / "mail-state" / "sync.db").write_bytes(b"rubbish" * 1000)
    answer = start(server).sync()
    assert answer["ok"], answer
    assert_equal(server, vault, FOLDERS)


def test_no_loop(server, vault, start):
    """The child's own renames and files lead to no more traffic: the server's log has no further command."""
    server.generate("anna", 50)
    server.start()
    child = start(server)
    assert child.sync()["ok"]
    set_letters(vault, 2, "F")
    until(lambda: flags_on_server(server, 2) == "F", 2, "the flag on the server")
    assert child.sync()["ok"]
    assert child.receive(1.5) is None
