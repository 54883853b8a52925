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

static void open_at(const char *path, bool make, struct maildir *m) {
    bool made = false;
    assert_int_equal(maildir_open(root, path, make, &made, m), 0);
    m->hash = HASH;
    m->uidvalidity = 9;
}

static void write_message(const struct maildir *m, uint32_t uid, uint32_t flags, enum maildir_place unread) {
    struct maildir_part part;
    int64_t have = -1;
    assert_int_equal(maildir_part_open(m, uid, 0, &have, &part), 0);
    assert_int_equal(have, 0);
    assert_int_equal(maildir_part_write(&part, "hello", 5), 0);
    assert_int_equal(maildir_part_place(m, &part, uid, 1000 + uid, flags, unread), 0);
    assert_int_equal(maildir_sync_file(m, uid, 1000 + uid, flags, unread), 0);
}

static void make_file(int dir, const char *name, const char *text) {
    cleanup(fd) int fd = openat(dir, name, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static bool is_there(int dir, const char *name) {
    return faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool keep_five(void *ctx, uint32_t uid) {
    (void)ctx;
    return uid == 5;
}

static void write_and_list(void **state) {
    (void)state;
    cleanup(maildir) struct maildir m = MAILDIR_INIT;
    cleanup(maildir_list) struct maildir_list list = {0};
    open_at("Archive/Übersicht", true, &m);
    write_message(&m, 7, 8, MAILDIR_NEW);
    write_message(&m, 3, 0, MAILDIR_NEW);
    assert_int_equal(maildir_create(&m, 4, 1004, 0, MAILDIR_CUR, "in place", 8), 0);
    make_file(m.cur, "1234.567.host:2,S", "x");
    make_file(m.cur, ".hidden", "x");
    make_file(m.cur, "5.1234abcd_8_7.satchel,U=7:2,", "x"); /* other UIDVALIDITY */
    make_file(m.fresh, "5.1234abce_9_7.satchel,U=7", "x");  /* other mailbox */
    make_file(m.cur, "1009.1234abcd_9_9.satchel,U=9:2,SX", "x");
    make_file(m.tmp, "satchel.part.9_99", "x");
    make_file(m.tmp, "satchel.part.9_5", "x");
    assert_int_equal(maildir_scan(&m, &list), 0);
    assert_false(list.steady); /* it was changed a moment ago */
    assert_int_equal(list.n, 4);
    assert_true(list.items[0].uid == 3 && list.items[0].flags == 0 && list.items[0].place == MAILDIR_NEW);
    assert_true(list.items[1].uid == 4 && !list.items[1].edited && list.items[1].place == MAILDIR_CUR);
    assert_true(list.items[2].uid == 7 && list.items[2].flags == 8 && list.items[2].place == MAILDIR_CUR);
    assert_true(list.items[3].uid == 9 && list.items[3].odd && list.items[3].edited);
    assert_true(maildir_has_entry(&list.foreign, MAILDIR_CUR, "1234.567.host:2,S"));
    assert_true(maildir_has_entry(&list.foreign, MAILDIR_NEW, "5.1234abce_9_7.satchel,U=7"));
    assert_false(maildir_has_entry(&list.foreign, MAILDIR_CUR, ".hidden"));
    assert_true(maildir_has_entry(&list.stale, MAILDIR_CUR, "5.1234abcd_8_7.satchel,U=7:2,"));
    struct stat st;
    assert_int_equal(fstatat(m.cur, "1007.1234abcd_9_7.satchel,U=7:2,S", &st, 0), 0);
    assert_true(st.st_mtime == 1007 && (st.st_mode & 07777) == 0600 && st.st_size == 5);
    assert_int_equal(maildir_clean(&m, keep_five, NULL), 0);
    assert_false(is_there(m.tmp, "satchel.part.9_99"));
    assert_true(is_there(m.tmp, "satchel.part.9_5"));
    /* a name that is not ours to write keeps its letters */
    assert_int_equal(maildir_set_flags(&m, &list.names, &list.items[3], 16), 0);
    assert_true(is_there(m.cur, "1009.1234abcd_9_9.satchel,U=9:2,TX"));
    assert_int_equal(unlinkat(m.cur, "1009.1234abcd_9_9.satchel,U=9:2,TX", 0), 0);
    assert_int_equal(unlinkat(m.cur, "5.1234abcd_8_7.satchel,U=7:2,", 0), 0);
    assert_int_equal(unlinkat(m.fresh, "5.1234abce_9_7.satchel,U=7", 0), 0);
}

static void rename_and_remove(void **state) {
    (void)state;
    cleanup(maildir) struct maildir m = MAILDIR_INIT;
    open_at("Archive/Übersicht", false, &m);
    struct plan_local three = {.uid = 3, .seconds = 1003}, seven = {.uid = 7, .seconds = 1007, .flags = 8};
    assert_int_equal(maildir_exists(&m, NULL, &three), 0); /* looked for in new/ as well */
    assert_int_equal(maildir_set_flags(&m, NULL, &three, 16), 0);
    assert_true(is_there(m.cur, "1003.1234abcd_9_3.satchel,U=3:2,T"));
    assert_int_equal(maildir_set_flags(&m, NULL, &three, 0), MAILDIR_VANISHED);
    assert_int_equal(maildir_unlink(&m, NULL, &three), MAILDIR_VANISHED);
    assert_int_equal(maildir_unlink(&m, NULL, &seven), 0);
    assert_int_equal(maildir_exists(&m, NULL, &seven), MAILDIR_VANISHED);
}

static void an_edit_shows(void **state) {
    (void)state;
    cleanup(maildir) struct maildir m = MAILDIR_INIT;
    cleanup(buf) struct buf foreign = {0};
    open_at("Archive/Übersicht", false, &m);
    struct plan_local four = {.uid = 4, .seconds = 1004};
    uint32_t crc = content_crc(0, "in place", 8);
    bool edited = true;
    assert_int_equal(maildir_is_edited(&m, NULL, &four, 8, crc, &edited), 0);
    assert_false(edited);
    assert_int_equal(utimensat(m.cur, "1004.1234abcd_9_4.satchel,U=4:2,", NULL, 0), 0);
    edited = true;
    assert_int_equal(maildir_is_edited(&m, NULL, &four, 8, crc, &edited), 0); /* touched alone */
    assert_false(edited);
    struct stat st;
    assert_int_equal(fstatat(m.cur, "1004.1234abcd_9_4.satchel,U=4:2,", &st, 0), 0);
    assert_int_equal(st.st_mtime, 1004);
    make_file(m.cur, "1004.1234abcd_9_4.satchel,U=4:2,", "IN PLACE");
    assert_int_equal(maildir_is_edited(&m, NULL, &four, 8, crc, &edited), 0);
    assert_true(edited);
    assert_int_equal(maildir_detach(&m, NULL, &four, &foreign), 0);
    assert_int_equal(maildir_exists(&m, NULL, &four), MAILDIR_VANISHED);
    assert_true(foreign.len > 10 && is_there(m.cur, foreign.data + 1));
    assert_int_equal(fstatat(m.cur, foreign.data + 1, &st, 0), 0);
    assert_int_equal(maildir_entry_adopt(&m, foreign.data, &st.st_mtim, 11, 5000, 8), 0);
    assert_true(is_there(m.cur, "5000.1234abcd_9_11.satchel,U=11:2,S"));
    assert_int_equal(maildir_unlink(&m, NULL, &(struct plan_local){.uid = 11, .seconds = 5000, .flags = 8}),
                     0);
}

static void parts_go_on(void **state) {
    (void)state;
    cleanup(maildir) struct maildir m = MAILDIR_INIT;
    struct maildir_part part;
    struct content content;
    int64_t have = -1;
    open_at("Archive/Übersicht", false, &m);
    assert_int_equal(maildir_part_open(&m, 20, 0, &have, &part), 0);
    assert_int_equal(maildir_part_write(&part, "0123456789", 10), 0);
    maildir_part_close(&part);
    assert_int_equal(maildir_part_open(&m, 20, 4, &have, &part), 0);
    assert_int_equal(have, 4);
    assert_int_equal(maildir_part_write(&part, "abc", 3), 0);
    assert_int_equal(content_measure(part.fd, &content), 0);
    assert_true(content.size == 7 && content.crc == content_crc(0, "0123abc", 7));
    maildir_part_close(&part);
    assert_int_equal(maildir_part_open(&m, 20, 99, &have, &part), 0); /* less than was said */
    assert_int_equal(have, 0);
    maildir_part_close(&part);
    maildir_part_drop(&m, 20);
    assert_false(is_there(m.tmp, "satchel.part.9_20"));
}

static void links_are_not_followed(void **state) {
    (void)state;
    cleanup(maildir) struct maildir m = MAILDIR_INIT;
    bool made = false;
    assert_int_equal(symlinkat("/tmp", root, "link"), 0);
    assert_int_equal(maildir_open(root, "link", true, &made, &m), ERR_INVALID);
    assert_int_equal(maildir_open(root, "link/x", true, &made, &m), ERR_INVALID);
    assert_int_equal(maildir_open(root, "../x", true, &made, &m), ERR_INVALID);
    assert_int_equal(maildir_open(root, "never/there", false, &made, &m), MAILDIR_VANISHED);
}

static void folders_move(void **state) {
    (void)state;
    assert_int_equal(maildir_rename(root, "Archive/Übersicht", "Neu/Ort"), 0);
    assert_true(is_there(root, "Neu/Ort/cur/1234.567.host:2,S"));
    assert_false(is_there(root, "Archive/Übersicht"));
    assert_int_equal(maildir_rename(root, "never/there", "Neu/Ort"), MAILDIR_VANISHED);
    assert_int_equal(maildir_rename(root, "Neu/Ort", "Archive/Übersicht"), 0);
    cleanup(maildir) struct maildir there =
        MAILDIR_INIT; /* a folder with something in it is there: both in one */
    bool made = false;
    assert_int_equal(maildir_open(root, "Neu", true, &made, &there), 0);
    close(openat(there.cur, "theirs:2,", O_WRONLY | O_CREAT, 0600));
    assert_int_equal(maildir_rename(root, "Archive/Übersicht", "Neu"), 0);
    assert_true(is_there(root, "Neu/cur/1234.567.host:2,S") && is_there(root, "Neu/cur/theirs:2,"));
    assert_false(is_there(root, "Archive/Übersicht"));
    assert_int_equal(unlinkat(there.cur, "theirs:2,", 0), 0);
    assert_int_equal(maildir_rename(root, "Neu", "Archive/Übersicht"), 0);
}

static void removing_keeps_what_readers_made(void **state) {
    (void)state;
    bool left = false;
    assert_int_equal(maildir_remove(root, "Archive/Übersicht", HASH, &left), 0);
    assert_true(left);
    assert_true(is_there(root, "Archive/Übersicht/cur/1234.567.host:2,S"));
    assert_true(is_there(root, "Archive/Übersicht/new")); /* it still is a folder */
    assert_int_equal(unlinkat(root, "Archive/Übersicht/cur/1234.567.host:2,S", 0), 0);
    assert_int_equal(unlinkat(root, "Archive/Übersicht/cur/.hidden", 0), 0);
    assert_int_equal(maildir_remove(root, "Archive/Übersicht", HASH, &left), 0);
    assert_false(left);
    assert_false(is_there(root, "Archive/Übersicht"));
    assert_int_equal(maildir_remove(root, "never/there", HASH, &left), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(write_and_list),
                                       cmocka_unit_test(rename_and_remove),
                                       cmocka_unit_test(an_edit_shows),
                                       cmocka_unit_test(parts_go_on),
                                       cmocka_unit_test(links_are_not_followed),
                                       cmocka_unit_test(folders_move),
                                       cmocka_unit_test(removing_keeps_what_readers_made)};
    if (!mkdtemp(directory) || (root = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        return 1;
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    (void)file_remove_tree(AT_FDCWD, directory, NULL);
    (void)close(root);
    return r;
}
