#include "tests/unit/cm.h"

#include "agent/mail/sync/state.h"
#include "platform/base/err.h"
#include "platform/base/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char directory[] = "/tmp/satchel-test-state-XXXXXX";
static char path[64];

static int setup(void **state) {
    (void)state;
    (void)snprintf(path, sizeof path, "%s/sync.db", directory);
    static const char *const parts[] = {"", "-wal", "-journal"};
    for (size_t i = 0; i < 3; i++) {
        char name[80];
        (void)snprintf(name, sizeof name, "%s%s", path, parts[i]);
        (void)unlink(name);
    }
    return 0;
}

static void folders_and_messages(void **unused) {
    (void)unused;
    struct state *s = NULL;
    struct state_folder inbox, again, other;
    int64_t count = -1;
    assert_int_equal(state_open(path, &s), 0);
    assert_int_equal(state_folder_get(s, "INBOX", "INBOX", &inbox), 0);
    assert_int_equal(inbox.uidvalidity, 0);
    inbox.uidvalidity = UINT32_MAX;
    inbox.uidnext = UINT32_MAX;
    inbox.modseq = INT64_MAX;
    inbox.messages = 3;
    assert_int_equal(state_folder_put(s, &inbox), 0);
    assert_int_equal(state_folder_get(s, "Sent", "Sent", &other), 0);
    assert_int_equal(state_folder_get(s, "Sent.", "Sent", &other), ERR_REFUSED);
    assert_int_equal(state_folder_get(s, "Sent", "Elsewhere", &other), ERR_REFUSED);
    assert_int_equal(state_begin(s), 0);
    for (uint32_t uid = 3; uid > 0; uid--)
        assert_int_equal(
            state_message_put(s, inbox.id,
                              &(struct plan_base){.uid = uid, .flags = (uint8_t)uid, .gone = uid == 2}),
            0);
    assert_int_equal(state_message_put(s, inbox.id, &(struct plan_base){.uid = 3, .flags = 9}), 0);
    assert_int_equal(state_commit(s), 0);
    state_close(s);

    assert_int_equal(state_open(path, &s), 0); /* it was durable */
    assert_int_equal(state_folder_get(s, "INBOX", "INBOX", &again), 0);
    assert_true(again.id == inbox.id && again.uidvalidity == UINT32_MAX && again.uidnext == UINT32_MAX &&
                again.modseq == INT64_MAX && again.messages == 3);
    struct plan_base *list = NULL;
    size_t n = 0;
    assert_int_equal(state_messages(s, inbox.id, &list, &n), 0);
    assert_int_equal(n, 3);
    assert_true(list[0].uid == 1 && list[1].uid == 2 && list[1].gone && list[2].uid == 3 &&
                list[2].flags == 9);
    free(list);
    assert_int_equal(state_count(s, &count), 0);
    assert_int_equal(count, 2);
    assert_int_equal(state_folder_reset(s, inbox.id, 7), 0);
    assert_int_equal(state_folder_get(s, "INBOX", "INBOX", &again), 0);
    assert_true(again.uidvalidity == 7 && again.modseq == 0);
    assert_int_equal(state_count(s, &count), 0);
    assert_int_equal(count, 0);
    state_close(s);
}

static void what_is_not_committed_is_not_there(void **unused) {
    (void)unused;
    struct state *s = NULL;
    struct state_folder inbox;
    int64_t count = -1;
    assert_int_equal(state_open(path, &s), 0);
    assert_int_equal(state_folder_get(s, "INBOX", "INBOX", &inbox), 0);
    state_close(s);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) { /* dies with a transaction open */
        if (state_open(path, &s) == 0 && state_begin(s) == 0 &&
            state_message_put(s, inbox.id, &(struct plan_base){.uid = 1}) == 0)
            _exit(0);
        _exit(1);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(state_open(path, &s), 0);
    assert_int_equal(state_count(s, &count), 0);
    assert_int_equal(count, 0);
    state_close(s);
}

static void one_process_at_a_time(void **unused) {
    (void)unused;
    struct state *s = NULL;
    assert_int_equal(state_open(path, &s), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct state *other = NULL;
        _exit(state_open(path, &other) == ERR_SYSTEM ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    state_close(s);
}

static void damage_makes_a_new_one(void **unused) {
    (void)unused;
    struct state *s = NULL;
    struct state_folder inbox;
    assert_int_equal(state_open(path, &s), 0);
    assert_int_equal(state_folder_get(s, "INBOX", "INBOX", &inbox), 0);
    state_close(s);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "this is no database, is it?", 27, 0), 27);
    (void)close(fd);
    assert_int_equal(state_open(path, &s), 0);
    assert_int_equal(state_folder_get(s, "INBOX", "INBOX", &inbox), 0);
    assert_int_equal(inbox.uidvalidity, 0);
    state_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(folders_and_messages, setup),
        cmocka_unit_test_setup(what_is_not_committed_is_not_there, setup),
        cmocka_unit_test_setup(one_process_at_a_time, setup),
        cmocka_unit_test_setup(damage_makes_a_new_one, setup),
    };
    log_init("test", LOG_LEVEL_ERROR);
    if (!mkdtemp(directory))
        return 1;
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    (void)setup(NULL);
    (void)rmdir(directory);
    return r;
}
