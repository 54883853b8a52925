/* What is so with gocryptfs alone: a server that may die or be silent, a mount directory, programs. */
#include "tests/conformance/vault_room.h"

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

/* After a restart of ours, too: the choice of the driver does not touch what is mounted. */
static void test_choice_beside_a_silent_server(void **state) {
    (void)state;
    assert_int_equal(kill(v.server.pid, SIGSTOP), 0);
    int64_t start = clock_boot_ms();
    assert_ptr_equal(vault_choose(v.ciphertext, v.mount), driver);
    assert_in_range(clock_boot_ms() - start, 0, 5000);
    assert_int_equal(vault_force_close(&v, NULL), 0);
}

static void test_force_close_of_a_dead_server(void **state) {
    (void)state;
    struct holder_pids pids = start_holder();
    kill_server();
    assert_int_equal(vault_force_close(&v, NULL), 0);
    check_gone(pids);
    assert_false(is_open());
}

static void test_no_fuse(void **state) {
    (void)state;
    assert_int_equal(vault_usable(&v), ERR_WRONG_STATE);
    assert_non_null(strstr(err_text(), "FUSE is not available: /dev/fuse cannot be opened"));
    assert_int_equal(vault_create(&v, &key), ERR_WRONG_STATE);
    assert_false(exists(at("data/vault.enc")));
}

const struct CMUnitTest gocryptfs_tests[] = {
    OPEN(test_mount_directory_in_use),
    CLOSED(test_creation_cut_off),
    CLOSED(test_programs_missing),
    OPEN(test_server_died),
    OPEN(test_force_close_with_a_spared_holder),
    OPEN(test_force_close_of_a_silent_server),
    OPEN(test_choice_beside_a_silent_server),
    OPEN(test_force_close_of_a_dead_server),
};
const size_t gocryptfs_tests_n = sizeof gocryptfs_tests / sizeof *gocryptfs_tests;

const struct CMUnitTest no_fuse_tests[] = {CLOSED(test_no_fuse)};
const size_t no_fuse_tests_n = 1;
