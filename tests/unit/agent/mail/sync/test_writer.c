#include "tests/unit/cm.h"

#include "agent/mail/sync/writer.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MANY 400 /* messages: more than may wait at once */
#define LENGTH 10000

static char directory[] = "/tmp/satchel-test-writer-XXXXXX";
static int root = -1;

static void writer_cleanup(struct writer **w) {
    writer_stop(*w);
}

static void open_at(const char *path, struct maildir *m) {
    bool made = false;
    assert_int_equal(maildir_open(root, path, true, &made, m), 0);
    m->hash = 0x1234abcd;
    m->uidvalidity = 9;
}

static int put(struct writer *w, uint32_t uid, uint32_t flags, size_t n) {
    char text[LENGTH];
    memset(text, 'a' + (int)(uid % 26), sizeof text);
    return writer_put(
        w, &(struct state_message){.uid = uid, .flags = flags, .local = flags, .seconds = 1000 + uid}, text,
        n);
}

static void check(int dir, uint32_t uid, const char *suffix, off_t n) {
    char name[128], text[LENGTH + 1];
    struct stat st;
    (void)snprintf(name, sizeof name, "%u.1234abcd_9_%u.satchel,U=%u%s", 1000 + uid, uid, uid, suffix);
    cleanup(fd) int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_true(st.st_mtime == 1000 + (time_t)uid && st.st_mtim.tv_nsec == 0);
    assert_int_equal(read(fd, text, sizeof text), n);
    for (off_t i = 0; i < n; i++)
        assert_int_equal(text[i], 'a' + (int)(uid % 26));
}

static void whole(const char *path, bool in_place, unsigned threads) {
    cleanup(maildir) struct maildir m = MAILDIR_INIT;
    cleanup(maildir_list) struct maildir_list list = {0};
    cleanup(writer) struct writer *w = NULL;
    open_at(path, &m);
    assert_int_equal(writer_start(&m, in_place, MAILDIR_NEW, threads, &w), 0);
    assert_int_equal(writer_wait(w), 0); /* for nothing */
    for (uint32_t uid = 1; uid <= MANY; uid++) {
        assert_int_equal(put(w, uid, uid % 2 ? 8 : 0, uid % 100 ? LENGTH : 0), 0);
        if (uid == MANY / 2)
            assert_int_equal(writer_wait(w), 0);
    }
    assert_int_equal(writer_wait(w), 0);
    for (uint32_t uid = 1; uid <= MANY; uid++)
        check(uid % 2 ? m.cur : m.fresh, uid, uid % 2 ? ":2,S" : "", uid % 100 ? LENGTH : 0);
    assert_int_equal(maildir_scan(&m, &list), 0);
    assert_int_equal(list.n, MANY);
    for (uint32_t i = 0; i < MANY; i++)
        assert_int_equal(list.items[i].uid, i + 1);
}

static void whole_on_a_thread(void **state) {
    (void)state;
    whole("a", true, 1);
    whole("b", false, 1);
}

static void whole_on_many(void **state) {
    (void)state;
    whole("g", true, WRITER_THREADS_MAX);
    whole("h", false, WRITER_THREADS_MAX);
}

static void whole_without(void **state) {
    (void)state;
    whole("c", true, 0);
    whole("d", false, 0);
}

/* A directory is where a file should come. */
static void failure(void **state) {
    (void)state;
    cleanup(maildir) struct maildir m = MAILDIR_INIT;
    cleanup(writer) struct writer *w = NULL;
    open_at("e", &m);
    assert_int_equal(mkdirat(m.cur, "1002.1234abcd_9_2.satchel,U=2:2,S", 0700), 0);
    assert_int_equal(writer_start(&m, true, MAILDIR_NEW, 1, &w), 0);
    assert_int_equal(put(w, 1, 8, 5), 0);
    assert_int_equal(put(w, 2, 8, 5), 0);
    assert_int_equal(writer_wait(w), ERR_SYSTEM);
    assert_non_null(strstr(err_text(), "cannot write mail"));
    check(m.cur, 1, ":2,S", 5);
    assert_int_equal(put(w, 3, 8, 5), ERR_SYSTEM);
    assert_int_equal(writer_wait(w), ERR_SYSTEM);
    assert_int_not_equal(faccessat(m.cur, "1003.1234abcd_9_3.satchel,U=3:2,S", F_OK, 0), 0);
}

static void stop_with_work_left(void **state) {
    (void)state;
    cleanup(maildir) struct maildir m = MAILDIR_INIT;
    cleanup(writer) struct writer *w = NULL;
    open_at("f", &m);
    assert_int_equal(writer_start(&m, true, MAILDIR_NEW, WRITER_THREADS_MAX, &w), 0);
    for (uint32_t uid = 1; uid <= 50; uid++)
        assert_int_equal(put(w, uid, 8, LENGTH), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(whole_on_a_thread), cmocka_unit_test(whole_on_many),
                                       cmocka_unit_test(whole_without), cmocka_unit_test(failure),
                                       cmocka_unit_test(stop_with_work_left)};
    if (!mkdtemp(directory) || (root = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        return 1;
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    (void)file_remove_tree(AT_FDCWD, directory, NULL);
    (void)close(root);
    return r;
}
