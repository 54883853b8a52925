#include "tests/unit/cm.h"

#include "agent/mail/sync/maildir.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[] = "/tmp/satchel-test-maildir-XXXXXX";
static int root = -1;

#define HASH 0x1234abcdU

static void write_message(const struct maildir *m, uint32_t uid, unsigned flags, enum maildir_place place) {
    struct maildir_part part;
    const struct name_message name = {.seconds = 1000 + uid, .hash = HASH, .uidvalidity = 9, .uid = uid};
    assert_int_equal(maildir_part_open(m, uid, &part), 0);
    assert_int_equal(maildir_part_write(&part, "hello", 5), 0);
    assert_int_equal(maildir_part_close(&part, 1000 + uid), 0);
    assert_int_equal(maildir_place(m, uid, &name, flags, place), 0);
    assert_int_equal(maildir_sync_file(m, &name, flags, place), 0);
}

static void write_and_list(void **state) {
    (void)state;
    cleanup(maildir) struct maildir m = MAILDIR_INIT;
    cleanup(maildir_list) struct maildir_list list = {0};
    bool made = false;
    assert_int_equal(maildir_open(root, "Archive/Übersicht", &made, &m), 0);
    assert_true(made);
    write_message(&m, 7, 8, MAILDIR_CUR);
    write_message(&m, 3, 0, MAILDIR_NEW);
    int fd = openat(m.cur, "1234.567.host:2,S", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    (void)close(fd);
    fd = openat(m.cur, "5.1234abcd_8_7.satchel,U=7:2,", O_CREAT | O_WRONLY | O_CLOEXEC,
                0600); /* other UIDVALIDITY */
    (void)close(fd);
    fd = openat(m.tmp, "satchel.part.99", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    (void)close(fd);
    assert_int_equal(maildir_scan(&m, HASH, 9, &list), 0);
    assert_false(list.steady); /* it was changed a moment ago */
    assert_int_equal(list.n, 2);
    assert_true(list.items[0].uid == 3 && list.items[0].flags == 0 && list.items[0].place == MAILDIR_NEW);
    assert_true(list.items[1].uid == 7 && list.items[1].flags == 8 && list.items[1].place == MAILDIR_CUR);
    struct stat st;
    assert_int_equal(fstatat(m.cur, "1007.1234abcd_9_7.satchel,U=7:2,S", &st, 0), 0);
    assert_true(st.st_mtime == 1007 && (st.st_mode & 07777) == 0600 && st.st_size == 5);
    assert_int_equal(maildir_remove_stale(&m, &list), 0);
    assert_int_equal(maildir_clean(&m), 0);
    assert_int_not_equal(faccessat(m.cur, "5.1234abcd_8_7.satchel,U=7:2,", F_OK, 0), 0);
    assert_int_not_equal(faccessat(m.tmp, "satchel.part.99", F_OK, 0), 0);
    assert_int_equal(faccessat(m.cur, "1234.567.host:2,S", F_OK, 0), 0);
}

static void rename_and_remove(void **state) {
    (void)state;
    cleanup(maildir) struct maildir m = MAILDIR_INIT;
    cleanup(maildir_list) struct maildir_list list = {0};
    bool made = true;
    assert_int_equal(maildir_open(root, "Archive/Übersicht", &made, &m), 0);
    assert_false(made);
    assert_int_equal(maildir_scan(&m, HASH, 9, &list), 0);
    assert_int_equal(maildir_set_flags(&m, &list, &list.items[0], 16), 0); /* out of new/ */
    assert_int_equal(faccessat(m.cur, "1003.1234abcd_9_3.satchel,U=3:2,T", F_OK, 0), 0);
    assert_int_equal(maildir_set_flags(&m, &list, &list.items[0], 0), MAILDIR_VANISHED);
    assert_int_equal(maildir_unlink(&m, &list, &list.items[0]), MAILDIR_VANISHED);
    assert_int_equal(maildir_unlink(&m, &list, &list.items[1]), 0);
}

static void links_are_not_followed(void **state) {
    (void)state;
    cleanup(maildir) struct maildir m = MAILDIR_INIT;
    bool made = false;
    assert_int_equal(symlinkat("/tmp", root, "link"), 0);
    assert_int_equal(maildir_open(root, "link", &made, &m), ERR_INVALID);
    assert_int_equal(maildir_open(root, "link/x", &made, &m), ERR_INVALID);
    assert_int_equal(maildir_open(root, "../x", &made, &m), ERR_INVALID);
}

static void removing_keeps_what_readers_made(void **state) {
    (void)state;
    assert_int_equal(maildir_remove(root, "Archive/Übersicht", HASH), 0);
    assert_int_equal(faccessat(root, "Archive/Übersicht/cur/1234.567.host:2,S", F_OK, 0), 0);
    assert_int_not_equal(faccessat(root, "Archive/Übersicht/new", F_OK, 0), 0);
    assert_int_equal(unlinkat(root, "Archive/Übersicht/cur/1234.567.host:2,S", 0), 0);
    assert_int_equal(maildir_remove(root, "Archive/Übersicht", HASH), 0);
    assert_int_not_equal(faccessat(root, "Archive/Übersicht", F_OK, 0), 0);
    assert_int_equal(maildir_remove(root, "never/there", HASH), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(write_and_list), cmocka_unit_test(rename_and_remove),
                                       cmocka_unit_test(links_are_not_followed),
                                       cmocka_unit_test(removing_keeps_what_readers_made)};
    if (!mkdtemp(directory) || (root = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        return 1;
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    (void)file_remove_tree(AT_FDCWD, directory, NULL);
    (void)close(root);
    return r;
}
