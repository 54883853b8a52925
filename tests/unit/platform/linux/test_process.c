#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/linux/process.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

static int64_t in_ms(int ms) {
    return clock_boot_ms() + ms;
}

/* Runs `sh -c SCRIPT` with descriptor 1 into a buffer; the exit status. */
static int shell(const char *script, struct process_spawn how, struct buf *ret) {
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    const char *const argv[] = {"sh", "-c", script, NULL};
    const struct process_fd fds[] = {{.from = ends[1], .to = 1}, {.from = ends[1], .to = 7}};
    how.path = "/bin/sh";
    how.argv = argv;
    how.fds = fds;
    how.n_fds = 2;
    cleanup(process) struct process p = PROCESS_NONE;
    assert_int_equal(process_spawn(&how, &p), 0);
    (void)close(ends[1]);
    char chunk[4096];
    ssize_t n;
    while ((n = read(ends[0], chunk, sizeof chunk)) > 0)
        assert_int_equal(buf_add(ret, chunk, (size_t)n), 0);
    (void)close(ends[0]);
    int status = -1;
    assert_int_equal(process_wait(&p, in_ms(10000), &status), 0);
    assert_int_equal(p.pid, 0);
    return status;
}

static void test_input_environment_and_status(void **state) {
    (void)state;
    cleanup(buf) struct buf out = {0};
    const char *const env[] = {"A=b", NULL};
    struct process_spawn how = {.env = env, .input = "secret\0text", .input_len = 11};
    assert_int_equal(shell("cat; echo $A$HOME; exit 7", how, &out), 7);
    assert_int_equal(out.len, 11 + 2);
    assert_memory_equal(out.data, "secret\0textb\n", 13);
}

static void test_only_the_named_descriptors_are_there(void **state) {
    (void)state;
    cleanup(fd) int leak = open("/dev/null", O_RDONLY); /* on purpose without O_CLOEXEC */
    assert_true(leak > 2);
    cleanup(buf) struct buf out = {0};
    const char *script = "i=0; while [ $i -lt 64 ]; do [ -e /proc/$$/fd/$i ] && echo $i; i=$((i+1)); done; "
                         "readlink /proc/$$/fd/0";
    assert_int_equal(shell(script, (struct process_spawn){0}, &out), 0);
    assert_string_equal(out.data, "0\n1\n2\n7\n/dev/null\n");
}

static void test_signals_and_session(void **state) {
    (void)state;
    sigset_t blocked, before;
    (void)sigemptyset(&blocked);
    (void)sigaddset(&blocked, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &blocked, &before);
    struct sigaction ignore = {.sa_handler = SIG_IGN}, old;
    (void)sigaction(SIGUSR1, &ignore, &old);
    cleanup(buf) struct buf out = {0};
    struct process_spawn how = {.new_session = true, .no_core = true};
    /* Read by the shell itself, which blocks everything for a moment while it starts another program. */
    int status = shell("while read -r k v; do case $k in SigBlk:|SigIgn:) printf '%s\\t%s\\n' $k $v;; esac; "
                       "done </proc/$$/status; ulimit -c; "
                       "set -- $(cat /proc/$$/stat); [ $6 = $$ ] && echo session; kill -USR1 $$",
                       how, &out);
    (void)sigaction(SIGUSR1, &old, NULL);
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    assert_int_equal(status, 128 + SIGUSR1);
    assert_string_equal(out.data, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n0\nsession\n");
}

static void test_what_cannot_be_started(void **state) {
    (void)state;
    const char *const argv[] = {"none", NULL};
    struct process p = PROCESS_NONE;
    struct process_spawn how = {.path = "/nonexistent/none", .argv = argv};
    assert_int_equal(process_spawn(&how, &p), ERR_SYSTEM);
    assert_non_null(strstr(err_text(), "No such file"));
    assert_int_equal(p.pid, 0);
    how.path = "/dev/null";
    assert_int_equal(process_spawn(&how, &p), ERR_SYSTEM);
    char large[PROCESS_INPUT_MAX + 1] = {0};
    how = (struct process_spawn){.path = "/bin/sh", .argv = argv, .input = large, .input_len = sizeof large};
    assert_int_equal(process_spawn(&how, &p), ERR_TOO_LARGE);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* nothing is left to reap */
}

static void start_sleeper(struct process *ret) {
    const char *const argv[] = {"sleep", "1000", NULL};
    struct process_spawn how = {.path = "/bin/sleep", .argv = argv, .die_with_parent = true};
    assert_int_equal(process_spawn(&how, ret), 0);
}

static void test_deadline_and_kill(void **state) {
    (void)state;
    cleanup(process) struct process p = PROCESS_NONE;
    start_sleeper(&p);
    pid_t pid = p.pid;
    assert_int_equal(process_wait(&p, in_ms(20), NULL), ERR_TIMEOUT);
    assert_int_equal(p.pid, pid);
    assert_int_equal(process_signal(&p, SIGSTOP), 0);
    assert_int_equal(process_kill(&p, in_ms(10000)), 0);
    assert_int_equal(kill(pid, 0), -1);
    assert_int_equal(process_kill(&p, 0), 0);
}

static bool is_the_sleeper(const struct process_info *info, void *userdata) {
    return info->parent == *(pid_t *)userdata && process_has_argument(info, "1000") &&
           strstr(info->exe, "sleep") && strcmp(info->name, "sleep") == 0;
}

static void test_find_and_open_again(void **state) {
    (void)state;
    cleanup(process) struct process p = PROCESS_NONE, again = PROCESS_NONE;
    start_sleeper(&p);
    pid_t self = getpid();
    cleanup(process_ids) struct process_ids ids = {0};
    assert_int_equal(process_find(is_the_sleeper, &self, &ids), 0);
    assert_int_equal(ids.n, 1);
    assert_int_equal(ids.list[0].pid, p.pid);
    struct process_id other = ids.list[0];
    other.start_time++;
    assert_int_equal(process_open(other, &again), 1); /* the number is of another process now */
    assert_int_equal(process_open(ids.list[0], &again), 0);
    assert_int_equal(process_kill(&again, in_ms(10000)), 0);
    assert_int_equal(process_wait(&p, in_ms(10000), NULL), 0);
    assert_int_equal(process_open(ids.list[0], &again), 1);
    cleanup(process_ids) struct process_ids none = {0};
    assert_int_equal(process_find(is_the_sleeper, &self, &none), 0);
    assert_int_equal(none.n, 0);
}

static int probe_result(const void *arg) {
    return *(const int *)arg;
}

static int probe_hangs(const void *arg) {
    (void)arg;
    while (pause() == -1)
        continue;
    return 1;
}

static void test_probe(void **state) {
    (void)state;
    int wanted = 42, got = -1;
    assert_int_equal(process_probe(probe_result, &wanted, in_ms(10000), &got), 0);
    assert_int_equal(got, 42);
    assert_int_equal(process_probe(probe_hangs, NULL, in_ms(30), &got), ERR_TIMEOUT);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static atomic_bool stop;

static void *allocate(void *arg) {
    while (!atomic_load(&stop))
        free(malloc(64));
    return arg;
}

static void test_start_from_many_threads(void **state) {
    (void)state;
    pthread_t busy[4];
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&busy[i], NULL, allocate, NULL), 0);
    for (int i = 0; i < 20; i++) {
        cleanup(buf) struct buf out = {0};
        assert_int_equal(shell("echo yes", (struct process_spawn){0}, &out), 0);
        assert_string_equal(out.data, "yes\n");
    }
    atomic_store(&stop, true);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_join(busy[i], NULL), 0);
}

static void test_find_program(void **state) {
    (void)state;
    cleanup(free) char *found = NULL;
    char before[4096];
    const char *path = getenv("PATH");
    (void)snprintf(before, sizeof before, "%s", path ? path : "/usr/bin:/bin");
    assert_int_equal(setenv("PATH", "relative:/nonexistent::/bin", 1), 0);
    assert_int_equal(process_find_program("sh", &found), 0);
    assert_string_equal(found, "/bin/sh");
    char *none = NULL;
    assert_int_equal(process_find_program("no-such-program", &none), ERR_NOT_FOUND);
    assert_null(none);
    assert_int_equal(setenv("PATH", before, 1), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_input_environment_and_status),
        cmocka_unit_test(test_only_the_named_descriptors_are_there),
        cmocka_unit_test(test_signals_and_session),
        cmocka_unit_test(test_what_cannot_be_started),
        cmocka_unit_test(test_deadline_and_kill),
        cmocka_unit_test(test_find_and_open_again),
        cmocka_unit_test(test_probe),
        cmocka_unit_test(test_start_from_many_threads),
        cmocka_unit_test(test_find_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
