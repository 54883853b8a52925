/*
 * What every vault driver must do, on real file systems with real holders. Run as root and, through
 * as_user.py, as an ordinary user; `vault no-fuse` checks what is said where /dev/fuse cannot be opened.
 */
#include "agent/vault/vault.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/encode.h"
#include "platform/base/err.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#define CANARY "the quick brown canary"

static const struct vault_driver *driver = &vault_gocryptfs;
static char base[PATH_MAX / 2];
static struct vault v;
static struct buf key = {.secret = true};

/* Paths of the test. */
static char *at(const char *name) {
    static char paths[8][PATH_MAX];
    static size_t next;
    char *path = paths[next++ % 8];
    (void)snprintf(path, sizeof paths[0], "%s/%s", base, name);
    return path;
}

static void put(const char *path, const char *text) {
    cleanup(fd) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static bool has(const char *path, const char *text) {
    char got[256];
    cleanup(fd) int fd = open(path, O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, got, sizeof got);
    return n == (ssize_t)strlen(text) && memcmp(got, text, (size_t)n) == 0;
}

static bool exists(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0;
}

static unsigned mode_of(const char *path) {
    struct stat st;
    assert_int_equal(lstat(path, &st), 0);
    return st.st_mode & 07777;
}

static bool is_open(void) {
    struct vault_status status;
    assert_int_equal(vault_describe(&v, false, &status), 0);
    return status.open;
}

static size_t servers(void) {
    size_t n = 99;
    assert_int_equal(driver->count_servers(&v, &n), 0);
    return n;
}

static int setup(void **state) {
    (void)state;
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(base, sizeof base, "%s/satchel vault,\xc3\xa4.XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(base))
        return -1;
    char bytes[VAULT_KEY_SIZE];
    random_bytes(bytes, sizeof bytes);
    buf_clear(&key);
    return buf_add(&key, bytes, sizeof bytes) < 0
               ? -1
               : vault_init(&v, driver, at("data/vault.enc"), at("data/vault"));
}

static int teardown(void **state) {
    (void)state;
    size_t ended = 0;
    (void)vault_end_holders(&v, NULL, &ended);
    int r = vault_force_close(&v, NULL);
    vault_finish(&v);
    return r < 0 || file_remove_tree(AT_FDCWD, base, NULL) < 0 ? -1 : 0;
}

static int setup_open(void **state) {
    int r = setup(state);
    if (r == 0)
        r = vault_create(&v, &key);
    return r == 0 ? vault_open(&v, &key) : r;
}

/* A process that holds the vault in every way, with a child that holds nothing; waits to be killed. */
struct holder_pids {
    pid_t parent, child;
};

static struct holder_pids start_holder(void) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    put(at("data/vault/held"), CANARY);
    struct holder_pids pids = {.parent = fork()};
    if (pids.parent == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        pids.parent = getpid();
        pids.child = fork();
        if (pids.child == 0)
            (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        while (pids.child == 0)
            (void)pause();
        int fd = open(at("data/vault/held"), O_RDONLY);
        if (fd < 0 || mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED ||
            chdir(at("data/vault")) < 0 || write(ends[1], &pids, sizeof pids) != sizeof pids)
            _exit(1);
        for (;;)
            (void)pause();
    }
    assert_int_equal(read(ends[0], &pids, sizeof pids), sizeof pids);
    (void)close(ends[0]);
    (void)close(ends[1]);
    return pids;
}

static void check_gone(struct holder_pids pids) {
    (void)waitpid(pids.parent, NULL, WNOHANG);
    assert_int_equal(kill(pids.parent, 0), -1);
}

/* Life. */

static void test_create_open_close(void **state) {
    (void)state;
    assert_int_equal(vault_usable(&v), 0);
    assert_false(vault_exists(&v));
    assert_int_equal(vault_open(&v, &key), ERR_NOT_FOUND);
    assert_int_equal(vault_create(&v, &key), 0);
    assert_true(vault_exists(&v));
    assert_int_equal(vault_create(&v, &key), ERR_WRONG_STATE);
    assert_false(is_open());
    assert_int_equal(vault_open(&v, &key), 0);
    assert_true(is_open());
    assert_int_equal(servers(), 1);
    assert_int_equal(mode_of(at("data/vault.enc")), 0700);
    put(at("data/vault/letter"), CANARY);
    assert_int_equal(vault_open(&v, &key), 0); /* once more is no fault */
    assert_int_equal(servers(), 1);
    assert_int_equal(vault_close(&v), 0);
    assert_int_equal(vault_close(&v), VAULT_NOTHING);
    assert_int_equal(servers(), 0);
    assert_false(exists(at("data/vault/letter")));
    assert_int_equal(mode_of(at("data/vault")), 0700);
    assert_int_equal(vault_open(&v, &key), 0);
    assert_true(has(at("data/vault/letter"), CANARY));
}

static void test_nothing_in_the_clear(void **state) {
    (void)state;
    put(at("data/vault/" CANARY), CANARY);
    char command[PATH_MAX];
    (void)snprintf(command, sizeof command, "! grep -rq '%s' '%s' && ! find '%s' | grep -q canary", CANARY,
                   at("data/vault.enc"), at("data/vault.enc"));
    assert_int_equal(system(command), 0);
    /* Nor is the key in the arguments or the environment of any process. */
    cleanup(free) char *text = encode_base64url(key.data, key.len);
    (void)snprintf(command, sizeof command, "! grep -qsF '%s' /proc/%d/cmdline /proc/%d/environ", text,
                   (int)v.server.pid, (int)v.server.pid);
    assert_int_equal(system(command), 0);
}

static void test_describe(void **state) {
    (void)state;
    put(at("data/vault/letter"), CANARY);
    struct vault_status status;
    struct stat st;
    assert_int_equal(vault_describe(&v, true, &status), 0);
    assert_int_equal(stat(at("data/vault"), &st), 0);
    assert_string_equal(status.driver, driver->name);
    assert_string_equal(status.path, v.mount);
    assert_true(status.exists && status.open && status.device == st.st_dev);
    assert_in_range(status.files, 1, 10);
    assert_in_range(status.bytes, strlen(CANARY), 10000);
}

/* Faults that must lose nothing. */

static void test_wrong_key(void **state) {
    (void)state;
    put(at("data/vault/letter"), CANARY);
    assert_int_equal(vault_close(&v), 0);
    key.data[0] ^= 1;
    assert_int_equal(vault_open(&v, &key), ERR_AUTH);
    assert_false(is_open());
    key.data[0] ^= 1;
    struct buf short_key = {.data = key.data, .len = VAULT_KEY_SIZE - 1};
    assert_int_equal(vault_open(&v, &short_key), ERR_INVALID);
    assert_int_equal(vault_open(&v, &key), 0);
    assert_true(has(at("data/vault/letter"), CANARY));
}

static void test_damaged_key_material(void **state) {
    (void)state;
    put(at("data/vault/letter"), CANARY);
    assert_int_equal(vault_close(&v), 0);
    const char *conf = at("data/vault.enc/gocryptfs.conf");
    cleanup(buf) struct buf good = {0};
    assert_int_equal(file_read(AT_FDCWD, conf, 65536, &good), 0);
    static const char *const bad[] = {"", "{", "{}", "rubbish"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(file_write_atomic(AT_FDCWD, conf, bad[i], strlen(bad[i]), 0400), 0);
        int r = vault_open(&v, &key);
        assert_true(r == ERR_INVALID || r == ERR_AUTH || r == ERR_SYSTEM);
        assert_false(is_open());
    }
    assert_int_equal(file_write_atomic(AT_FDCWD, conf, good.data, good.len, 0400), 0);
    assert_int_equal(vault_open(&v, &key), 0);
    assert_true(has(at("data/vault/letter"), CANARY));
}

static void test_mount_directory_in_use(void **state) {
    (void)state;
    assert_int_equal(vault_close(&v), 0);
    put(at("data/vault/mine"), "personal");
    assert_int_equal(vault_open(&v, &key), ERR_WRONG_STATE);
    assert_non_null(strstr(err_text(), "not empty"));
    assert_true(has(at("data/vault/mine"), "personal"));
    assert_int_equal(unlink(at("data/vault/mine")), 0);
    assert_int_equal(rmdir(at("data/vault")), 0);
    assert_int_equal(symlink("/tmp", at("data/vault")), 0);
    assert_true(vault_open(&v, &key) < 0);
    assert_int_equal(unlink(at("data/vault")), 0);
    assert_int_equal(vault_open(&v, &key), 0);
}

static void test_creation_cut_off(void **state) {
    (void)state;
    assert_int_equal(mkdir(at("data"), 0700), 0);
    assert_int_equal(mkdir(at("data/vault.enc"), 0755), 0);
    put(at("data/vault.enc/gocryptfs.conf.tmp"), "half");
    assert_int_equal(vault_create(&v, &key), 0);
    assert_false(exists(at("data/vault.enc/gocryptfs.conf.tmp")));
    assert_int_equal(unlink(at("data/vault.enc/gocryptfs.diriv")), 0);
    assert_false(vault_exists(&v));
    assert_int_equal(vault_create(&v, &key), 0);
    assert_int_equal(vault_open(&v, &key), 0);
    assert_int_equal(mode_of(at("data/vault.enc")), 0700);
}

static void test_creation_over_something(void **state) {
    (void)state;
    assert_int_equal(mkdir(at("data"), 0700), 0);
    assert_int_equal(mkdir(at("data/vault.enc"), 0700), 0);
    put(at("data/vault.enc/mine"), "personal");
    assert_int_equal(vault_create(&v, &key), ERR_WRONG_STATE);
    assert_true(has(at("data/vault.enc/mine"), "personal"));
    assert_int_equal(rename(at("data/vault.enc"), at("elsewhere")), 0);
    assert_int_equal(symlink(at("elsewhere"), at("data/vault.enc")), 0);
    assert_int_equal(vault_create(&v, &key), ERR_WRONG_STATE);
    assert_true(has(at("elsewhere/mine"), "personal"));
}

static void test_programs_missing(void **state) {
    (void)state;
    char before[4096];
    const char *path = getenv("PATH");
    (void)snprintf(before, sizeof before, "%s", path ? path : "/usr/bin:/bin");
    assert_int_equal(setenv("PATH", base, 1), 0);
    assert_int_equal(vault_create(&v, &key), ERR_WRONG_STATE);
    assert_non_null(strstr(err_text(), "gocryptfs is missing"));
    put(at("gocryptfs"), "#!/bin/sh\n");
    assert_int_equal(chmod(at("gocryptfs"), 0700), 0);
    assert_int_equal(vault_create(&v, &key), ERR_WRONG_STATE);
    assert_non_null(strstr(err_text(), "fusermount3 is missing"));
    assert_int_equal(setenv("PATH", before, 1), 0);
    assert_false(exists(at("data/vault.enc")));
}

/* Crashes. */

static void test_adopt_after_a_crash(void **state) {
    (void)state;
    assert_int_equal(vault_create(&v, &key), 0);
    assert_int_equal(vault_adopt(&v), VAULT_NOTHING);
    pid_t earlier = fork();
    if (earlier == 0) {
        if (vault_open(&v, &key) == 0)
            (void)kill(getpid(), SIGKILL);
        _exit(1);
    }
    int status;
    assert_int_equal(waitpid(earlier, &status, 0), earlier);
    assert_true(WIFSIGNALED(status));
    assert_true(is_open());
    put(at("data/vault/letter"), CANARY);
    cleanup(fd) int held = open(at("data/vault/letter"), O_RDONLY);
    assert_int_equal(vault_adopt(&v), 0);
    assert_true(v.server.pid > 0);
    char c;
    assert_int_equal(read(held, &c, 1), 1);
    (void)close(steal_fd(&held));
    assert_int_equal(vault_close(&v), 0);
    assert_int_equal(servers(), 0);
}

static void kill_server(void) {
    pid_t pid = v.server.pid;
    assert_true(pid > 0);
    assert_int_equal(kill(pid, SIGKILL), 0);
    struct stat st;
    /* Until the kernel has cut the connection; a request in between waits for exactly that. */
    while (stat(at("data/vault/nothing"), &st) == 0 || errno != ENOTCONN)
        continue;
}

static void test_server_died(void **state) {
    (void)state;
    put(at("data/vault/letter"), CANARY);
    kill_server();
    assert_true(is_open()); /* the mount is still there, though dead */
    assert_int_equal(vault_adopt(&v), VAULT_NOTHING);
    assert_int_equal(vault_open(&v, &key), 0);
    assert_true(has(at("data/vault/letter"), CANARY));
    kill_server();
    assert_int_equal(vault_close(&v), 0);
    assert_false(is_open());
    assert_int_equal(servers(), 0);
}

/* Holders. */

static void test_close_in_use(void **state) {
    (void)state;
    struct holder_pids pids = start_holder();
    assert_int_equal(vault_close(&v), ERR_WRONG_STATE);
    char who[32];
    (void)snprintf(who, sizeof who, "(%d)", (int)pids.parent);
    assert_non_null(strstr(err_text(), "in use by"));
    assert_non_null(strstr(err_text(), who));
    assert_true(is_open());
    cleanup(holders) struct holders h = {0};
    assert_int_equal(vault_holders(&v, NULL, &h), 0);
    assert_int_equal(h.n, 1);
    size_t ended = 0;
    const struct holders_except except = {.pids = &pids.parent, .n = 1};
    assert_int_equal(vault_end_holders(&v, &except, &ended), VAULT_NOTHING);
    assert_int_equal(vault_end_holders(&v, NULL, &ended), 0);
    assert_int_equal(ended, geteuid() == 0 ? 1 : 2);
    check_gone(pids);
    assert_int_equal(vault_end_holders(&v, NULL, &ended), VAULT_NOTHING);
    assert_int_equal(vault_close(&v), 0);
}

static void test_force_close(void **state) {
    (void)state;
    struct holder_pids pids = start_holder();
    assert_int_equal(vault_force_close(&v, NULL), 0);
    check_gone(pids);
    assert_false(is_open());
    assert_int_equal(servers(), 0);
    assert_false(exists(at("data/vault/held")));
    assert_int_equal(vault_force_close(&v, NULL), VAULT_NOTHING);
}

/* A holder that may not be killed keeps its descriptor, and reads nothing through it. */
static void test_force_close_with_a_spared_holder(void **state) {
    (void)state;
    put(at("data/vault/letter"), CANARY);
    cleanup(fd) int own = open(at("data/vault/letter"), O_RDONLY);
    assert_true(own >= 0);
    assert_int_equal(vault_force_close(&v, NULL), 0);
    assert_false(is_open());
    assert_int_equal(servers(), 0);
    char c;
    assert_int_equal(read(own, &c, 1), -1);
    assert_int_equal(errno, ENOTCONN);
}

/* A stopped server answers nothing; neither looking nor closing may wait for it. */
static void test_force_close_of_a_silent_server(void **state) {
    (void)state;
    struct holder_pids pids = start_holder();
    assert_int_equal(kill(v.server.pid, SIGSTOP), 0);
    int64_t start = clock_boot_ms();
    assert_true(is_open());
    assert_int_equal(vault_force_close(&v, NULL), 0);
    assert_in_range(clock_boot_ms() - start, 0, 10000);
    check_gone(pids);
    assert_false(is_open());
    assert_int_equal(servers(), 0);
}

static void test_force_close_of_a_dead_server(void **state) {
    (void)state;
    struct holder_pids pids = start_holder();
    kill_server();
    assert_int_equal(vault_force_close(&v, NULL), 0);
    check_gone(pids);
    assert_false(is_open());
}

/* A lock. */

static int saved_to = -1;

static void save_and_leave(int sig) {
    (void)sig;
    _exit(write(saved_to, "saved", 5) == 5 ? 0 : 1);
}

/* A program that writes down what it has when it is asked to end; a stubborn one does not listen. */
static pid_t start_editor(bool stubborn) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        saved_to = open(at("data/vault/draft"), O_WRONLY | O_CREAT, 0600);
        if (saved_to < 0 || signal(SIGTERM, stubborn ? SIG_IGN : save_and_leave) == SIG_ERR ||
            write(ends[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            (void)pause();
    }
    char c;
    assert_int_equal(read(ends[0], &c, 1), 1);
    (void)close(ends[0]);
    (void)close(ends[1]);
    return pid;
}

static void test_lock_asks_first(void **state) {
    (void)state;
    pid_t editor = start_editor(false);
    size_t ended = 3;
    assert_int_equal(vault_lock(&v, NULL, &ended), 0);
    assert_int_equal(ended, 4);
    assert_int_equal(kill(editor, 0), -1);
    assert_false(is_open());
    assert_int_equal(servers(), 0);
    assert_false(exists(at("data/vault/draft")));
    assert_int_equal(vault_lock(&v, NULL, &ended), VAULT_NOTHING);
    assert_int_equal(ended, 4);
    assert_true(vault_exists(&v));
    assert_int_equal(vault_open(&v, &key), 0);
    assert_true(has(at("data/vault/draft"), "saved"));
}

static void test_lock_and_who_does_not_listen(void **state) {
    (void)state;
    pid_t editor = start_editor(true);
    struct holder_pids pids = start_holder();
    assert_int_equal(kill(pids.parent, SIGSTOP), 0);
    size_t ended = 0;
    assert_int_equal(vault_lock(&v, NULL, &ended), 0);
    assert_int_equal(ended, geteuid() == 0 ? 2 : 3);
    assert_int_equal(kill(editor, 0), -1);
    check_gone(pids);
    assert_false(is_open());
    assert_int_equal(vault_open(&v, &key), 0);
    assert_true(has(at("data/vault/held"), CANARY));
}

/* The end. */

static void test_destroy_and_remove(void **state) {
    (void)state;
    put(at("data/vault/letter"), CANARY);
    assert_int_equal(symlink(at("personal"), at("data/vault/link")), 0);
    put(at("personal"), "personal");
    assert_int_equal(symlink(at("personal"), at("data/vault.enc/link")), 0);
    assert_int_equal(link(at("personal"), at("data/vault.enc/hard")), 0);
    assert_int_equal(vault_destroy_key(&v), 0);
    assert_int_equal(vault_destroy_key(&v), VAULT_NOTHING);
    assert_false(exists(at("data/vault.enc/gocryptfs.conf")));
    assert_false(vault_exists(&v));
    assert_int_equal(vault_force_close(&v, NULL), 0);
    assert_int_equal(vault_open(&v, &key), ERR_NOT_FOUND);
    struct file_removed count = {0};
    assert_int_equal(vault_remove(&v, &count), 0);
    assert_int_equal(vault_remove(&v, &count), VAULT_NOTHING);
    assert_in_range(count.files, 4, 6);
    assert_false(exists(at("data/vault.enc")) || exists(at("data/vault")));
    assert_true(has(at("personal"), "personal"));
    struct vault_left left;
    assert_int_equal(vault_look_for_rest(&v, &left), 0);
    assert_false(left.paths || left.mounts || left.servers);
}

static void test_every_copy_of_the_key_material(void **state) {
    (void)state;
    assert_int_equal(vault_close(&v), 0);
    put(at("personal"), "personal");
    put(at("data/vault.enc/gocryptfs.conf.bak"), "copy");
    put(at("linked"), "copy with two names");
    assert_int_equal(symlink(at("personal"), at("data/vault.enc/gocryptfs.conf.link")), 0);
    assert_int_equal(link(at("linked"), at("data/vault.enc/gocryptfs.conf.hard")), 0);
    cleanup(fd) int watched = open(at("data/vault.enc/gocryptfs.conf"), O_RDONLY);
    assert_int_equal(vault_destroy_key(&v), 0);
    char text[64] = "";
    assert_true(pread(watched, text, sizeof text - 1, 0) > 0);
    assert_null(strstr(text, "Creator")); /* overwritten before it lost its name */
    static const char *const names[] = {"", ".bak", ".link", ".hard"};
    for (size_t i = 0; i < 4; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "data/vault.enc/gocryptfs.conf%s", names[i]);
        assert_false(exists(at(name)));
    }
    assert_true(has(at("personal"), "personal"));
    assert_true(has(at("linked"), "copy with two names"));
}

static void test_remove_an_open_vault(void **state) {
    (void)state;
    put(at("data/vault/letter"), CANARY);
    struct file_removed count = {0};
    assert_int_equal(vault_remove(&v, &count), ERR_WRONG_STATE);
    assert_false(exists(at("data/vault.enc")));
    assert_int_equal(vault_force_close(&v, NULL), 0);
    put(at("data/vault/plain"), "left in the clear by a program that started too early");
    assert_int_equal(vault_remove(&v, &count), 0);
    assert_false(exists(at("data/vault")));
}

/* Somebody put a link to personal data where the ciphertext was. */
static void test_swapped_for_a_link(void **state) {
    (void)state;
    assert_int_equal(vault_close(&v), 0);
    assert_int_equal(rename(at("data/vault.enc"), at("elsewhere")), 0);
    assert_int_equal(symlink(at("elsewhere"), at("data/vault.enc")), 0);
    assert_false(vault_exists(&v));
    assert_int_equal(vault_destroy_key(&v), VAULT_NOTHING);
    struct file_removed count = {0};
    assert_int_equal(vault_remove(&v, &count), 0);
    assert_false(exists(at("data/vault.enc")));
    assert_true(exists(at("elsewhere/gocryptfs.conf")));
}

static void test_paths(void **state) {
    (void)state;
    struct vault other;
    assert_int_equal(vault_init(&other, driver, "relative", "/absolute"), ERR_INVALID);
    assert_int_equal(vault_init(&other, driver, "/absolute", "relative"), ERR_INVALID);
}

static void test_no_fuse(void **state) {
    (void)state;
    assert_int_equal(vault_usable(&v), ERR_WRONG_STATE);
    assert_non_null(strstr(err_text(), "FUSE is not available: /dev/fuse cannot be opened"));
    assert_int_equal(vault_create(&v, &key), ERR_WRONG_STATE);
    assert_false(exists(at("data/vault.enc")));
}

#define CLOSED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define OPEN(test) cmocka_unit_test_setup_teardown(test, setup_open, teardown)

int main(int argc, char **argv) {
    const struct CMUnitTest suite[] = {
        CLOSED(test_create_open_close),
        OPEN(test_nothing_in_the_clear),
        OPEN(test_describe),
        OPEN(test_wrong_key),
        OPEN(test_damaged_key_material),
        OPEN(test_mount_directory_in_use),
        CLOSED(test_creation_cut_off),
        CLOSED(test_creation_over_something),
        CLOSED(test_programs_missing),
        CLOSED(test_adopt_after_a_crash),
        OPEN(test_server_died),
        OPEN(test_close_in_use),
        OPEN(test_force_close),
        OPEN(test_force_close_with_a_spared_holder),
        OPEN(test_force_close_of_a_silent_server),
        OPEN(test_force_close_of_a_dead_server),
        OPEN(test_lock_asks_first),
        OPEN(test_lock_and_who_does_not_listen),
        OPEN(test_destroy_and_remove),
        OPEN(test_every_copy_of_the_key_material),
        OPEN(test_remove_an_open_vault),
        OPEN(test_swapped_for_a_link),
        CLOSED(test_paths),
    };
    const struct CMUnitTest no_fuse[] = {CLOSED(test_no_fuse)};
    int failed = argc == 2 && strcmp(argv[1], "no-fuse") == 0 ? cmocka_run_group_tests(no_fuse, NULL, NULL)
                                                              : cmocka_run_group_tests(suite, NULL, NULL);
    buf_finish(&key);
    return failed ? 1 : 0;
}
