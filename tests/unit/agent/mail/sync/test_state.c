#include "tests/unit/cm.h"

#include "agent/mail/sync/state.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char place[] = "/tmp/satchel-test-state-XXXXXX";
static char path[64];

static int setup(void **state) {
    (void)state;
    (void)snprintf(path, sizeof path, "%s/sync.db", place);
    static const char *const parts[] = {"", "-wal", "-journal"};
    for (size_t i = 0; i < 3; i++) {
        char name[80];
        (void)snprintf(name, sizeof name, "%s%s", path, parts[i]);
        (void)unlink(name);
    }
    return 0;
}

static struct state *open_state(bool expect_new) {
    struct state *s = NULL;
    bool is_new = !expect_new;
    assert_int_equal(state_open(path, &is_new, &s), 0);
    assert_int_equal(is_new, expect_new);
    return s;
}

static struct state_folder get(struct state *s, const char *mailbox) {
    struct state_folder row = {0};
    cleanup(buf) struct buf directory = {0};
    assert_int_equal(state_folder_get(s, mailbox, mailbox, 1000, &directory, &row), 0);
    return row;
}

static void put(struct state *s, int64_t folder, uint32_t uid, enum plan_message kind, uint32_t seconds) {
    struct state_message row = {.uid = uid,
                                .kind = kind,
                                .flags = uid,
                                .local = uid,
                                .seconds = seconds,
                                .size = 7,
                                .crc = 9,
                                .part = -1};
    assert_int_equal(state_message_put(s, folder, &row), 0);
}

static void folders_and_messages(void **unused) {
    (void)unused;
    struct state_folder other;
    struct state *s = open_state(true);
    struct state_folder inbox = get(s, "INBOX");
    assert_true(inbox.uidvalidity == 0 && inbox.hash == 1000);
    inbox.uidvalidity = UINT32_MAX;
    inbox.uidnext = UINT32_MAX;
    inbox.modseq = INT64_MAX;
    inbox.messages = 3;
    assert_int_equal(state_folder_put(s, &inbox), 0);
    assert_int_equal(get(s, "Sent").hash, 1001); /* another one than INBOX */
    cleanup(buf) struct buf aside = {0}, elsewhere = {0};
    assert_int_equal(state_folder_get(s, "Sent.", "Sent", 5, &aside, &other), 0);
    assert_string_equal(aside.data, ".satchel-00000005"); /* another one has that directory */
    assert_int_equal(state_folder_get(s, "Sent", "Elsewhere", 5, &elsewhere, &other), ERR_REFUSED);
    assert_int_equal(state_begin(s), 0);
    for (uint32_t uid = 3; uid > 0; uid--)
        put(s, inbox.id, uid, uid == 2 ? PLAN_GONE : PLAN_HAVE, 100 * uid);
    assert_int_equal(state_message_flags(s, inbox.id, 3, UINT32_MAX, 9), 0);
    assert_int_equal(state_commit(s), 0);
    state_close(s);

    s = open_state(false); /* it was durable */
    struct state_folder again = get(s, "INBOX");
    assert_true(again.id == inbox.id && again.uidvalidity == UINT32_MAX && again.uidnext == UINT32_MAX &&
                again.modseq == INT64_MAX && again.messages == 3);
    struct plan_base *list = NULL;
    size_t n = 0;
    assert_int_equal(state_messages(s, inbox.id, &list, &n), 0);
    assert_int_equal(n, 3);
    assert_true(list[0].uid == 1 && list[1].uid == 2 && list[1].kind == PLAN_GONE && list[2].uid == 3 &&
                list[2].flags == UINT32_MAX && list[2].local == 9 && list[2].seconds == 300);
    free(list);
    struct state_message row;
    assert_int_equal(state_message_get(s, inbox.id, 1, &row), 0);
    assert_true(row.size == 7 && row.crc == 9 && row.part == -1);
    assert_int_equal(state_message_get(s, inbox.id, 99, &row), 1);
    struct state_counts counts;
    assert_int_equal(state_counts_all(s, &counts), 0);
    assert_true(counts.have == 2 && counts.wanted == 0 && counts.all == 3);
    assert_int_equal(state_folder_reset(s, inbox.id, 7), 0);
    again = get(s, "INBOX");
    assert_true(again.uidvalidity == 7 && again.modseq == 0);
    assert_int_equal(state_counts_of(s, inbox.id, &counts), 0);
    assert_int_equal(counts.all, 0);
    state_close(s);
}

static void what_is_wanted_and_what_is_old(void **unused) {
    (void)unused;
    struct state *s = open_state(true);
    int64_t id = get(s, "INBOX").id;
    uint32_t uids[8], *range = NULL;
    struct plan_base old[8];
    size_t n = 0, n_range = 0;
    for (uint32_t uid = 1; uid <= 6; uid++)
        put(s, id, uid, uid < 4 ? PLAN_HAVE : PLAN_WANTED, 100 * uid);
    assert_int_equal(state_message_part(s, id, 5, 4096), 0);
    assert_int_equal(state_wanted(s, id, false, UINT32_MAX, uids, 8, &n), 0);
    assert_true(n == 2 && uids[0] == 6 && uids[1] == 4);
    assert_int_equal(state_wanted(s, id, false, 6, uids, 8, &n), 0);
    assert_true(n == 1 && uids[0] == 4);
    assert_int_equal(state_wanted(s, id, true, UINT32_MAX, uids, 8, &n), 0);
    assert_true(n == 1 && uids[0] == 5);
    assert_int_equal(state_range(s, id, (struct uidset_range){2, UINT32_MAX}, &range, &n_range), 0);
    assert_true(n_range == 5 && range[0] == 2 && range[4] == 6);
    free(range);
    assert_int_equal(state_aged(s, id, 300, old, 8, &n), 0);
    assert_true(n == 2 && old[0].uid == 1 && old[1].uid == 2);
    assert_int_equal(state_message_flags(s, id, 1, 0, 8), 0); /* changed, and not yet up */
    assert_int_equal(state_aged(s, id, 300, old, 8, &n), 0);
    assert_true(n == 1 && old[0].uid == 2);
    assert_int_equal(state_message_kind(s, id, 2, PLAN_OLD), 0);
    assert_int_equal(state_want(s, id, 250, false), 0);
    assert_int_equal(state_wanted(s, id, false, 4, uids, 8, &n), 0);
    assert_int_equal(n, 0);
    assert_int_equal(state_want(s, id, 200, false), 0);
    assert_int_equal(state_wanted(s, id, false, 4, uids, 8, &n), 0);
    assert_true(n == 1 && uids[0] == 2);
    uint32_t newest = 0;
    assert_int_equal(state_newest(s, id, UINT32_MAX, &newest), 0);
    assert_int_equal(newest, 3);
    state_close(s);
}

static void folders_are_renamed(void **unused) {
    (void)unused;
    struct state *s = open_state(true);
    int64_t id = get(s, "A").id;
    put(s, id, 1, PLAN_HAVE, 1);
    assert_int_equal(state_folder_rename(s, id, "B", "C", true), 0); /* the server is still to follow */
    cleanup(buf) struct buf directory = {0};
    struct state_folder row = {0};
    assert_int_equal(state_folder_get(s, "B", "B", 5, &directory, &row), 0);
    assert_true(row.id == id && row.renamed);
    assert_string_equal(directory.data, "C");
    assert_int_equal(state_folder_rename(s, id, "C", "C", false), 0);
    assert_int_equal(get(s, "C").id, id);
    assert_false(get(s, "C").renamed);
    assert_int_not_equal(get(s, "A").id, id);
    row.inode = UINT64_MAX;
    row.object = 7;
    assert_int_equal(state_folder_put(s, &row), 0);
    assert_true(get(s, "C").inode == UINT64_MAX && get(s, "C").object == 7);
    state_close(s);
}

static void keywords_and_uploads(void **unused) {
    (void)unused;
    struct state *s = open_state(true);
    int64_t id = get(s, "INBOX").id, intent = 0;
    struct keywords k = {0}, back = {0};
    assert_int_equal(keyword_slot(&k, "NonJunk", 7, true), 0);
    assert_int_equal(keyword_slot(&k, "$Label1", 7, true), 1);
    assert_int_equal(state_keywords_put(s, id, &k), 0);
    assert_int_equal(state_keywords_get(s, id, &back), 0);
    assert_string_equal(back.names[1], "$Label1");
    assert_null(back.names[2]);
    keyword_finish(&k);
    keyword_finish(&back);
    struct state_upload up = {.folder = id,
                              .name = "c12.x:2,S",
                              .uidnext = 5,
                              .wire_size = 1ULL << 40,
                              .wire_crc = UINT32_MAX,
                              .message_id = UINT64_MAX},
                        *list = NULL;
    size_t n = 0;
    assert_int_equal(state_upload_add(s, &up, &intent), 0);
    state_close(s);
    s = open_state(false);
    assert_int_equal(state_uploads(s, &list, &n), 0);
    assert_true(n == 1 && list[0].id == intent && list[0].wire_size == 1ULL << 40 &&
                list[0].wire_crc == UINT32_MAX && list[0].message_id == UINT64_MAX);
    assert_string_equal(list[0].name, up.name);
    free(list);
    list = NULL;
    assert_int_equal(state_upload_remove(s, intent), 0);
    assert_int_equal(state_uploads(s, &list, &n), 0);
    assert_int_equal(n, 0);
    free(list);
    state_close(s);
}

static void what_is_not_committed_is_not_there(void **unused) {
    (void)unused;
    struct state *s = open_state(true);
    int64_t id = get(s, "INBOX").id;
    state_close(s);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) { /* dies with a transaction open */
        bool is_new = false;
        if (state_open(path, &is_new, &s) == 0 && state_begin(s) == 0 &&
            state_message_put(s, id, &(struct state_message){.uid = 1}) == 0)
            _exit(0);
        _exit(1);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    s = open_state(false);
    struct state_counts counts;
    assert_int_equal(state_counts_all(s, &counts), 0);
    assert_int_equal(counts.all, 0);
    state_close(s);
}

static void one_process_at_a_time(void **unused) {
    (void)unused;
    struct state *s = open_state(true);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct state *other = NULL;
        bool is_new = false;
        _exit(state_open(path, &is_new, &other) == ERR_SYSTEM ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    state_close(s);
}

static void damage_makes_a_new_one(void **unused) {
    (void)unused;
    struct state *s = open_state(true);
    (void)get(s, "INBOX");
    state_close(s);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "this is no database, is it?", 27, 0), 27);
    (void)close(fd);
    s = open_state(true);
    assert_int_equal(get(s, "INBOX").uidvalidity, 0);
    state_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(folders_and_messages, setup),
        cmocka_unit_test_setup(what_is_wanted_and_what_is_old, setup),
        cmocka_unit_test_setup(folders_are_renamed, setup),
        cmocka_unit_test_setup(keywords_and_uploads, setup),
        cmocka_unit_test_setup(what_is_not_committed_is_not_there, setup),
        cmocka_unit_test_setup(one_process_at_a_time, setup),
        cmocka_unit_test_setup(damage_makes_a_new_one, setup),
    };
    log_init("test", LOG_LEVEL_ERROR);
    if (!mkdtemp(place))
        return 1;
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    (void)setup(NULL);
    (void)rmdir(place);
    return r;
}
