/* What is so with fscrypt alone: the key is the kernel's, and the vault lies on a file system with other
 * things. */
#include "tests/conformance/vault_room.h"

#include <linux/fscrypt.h>
#include <sched.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mount.h>

static int hold_deleted(const char *path) {
    put(path, CANARY);
    return open(path, O_RDONLY) >= 0 ? unlink(path) : -1;
}

static int hold_mapping_of_deleted(const char *path) {
    put(path, CANARY);
    int fd = open(path, O_RDONLY);
    if (fd < 0 || mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED)
        return -1;
    return close(fd) == 0 ? unlink(path) : -1;
}

static int hold_watch(const char *path) {
    int fd = inotify_init1(IN_CLOEXEC);
    return fd >= 0 && inotify_add_watch(fd, path, IN_CREATE) >= 0 ? 0 : -1;
}

/* As a program in a container sees it: under another name. */
static int hold_mapping_elsewhere(const char *path) {
    put(path, CANARY);
    if (mkdir(at("inside"), 0700) < 0 || unshare(CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount(at("data/vault"), at("inside"), NULL, MS_BIND, NULL) < 0)
        return -1;
    int fd = open(at("inside/letter"), O_RDONLY);
    if (fd < 0 || mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED)
        return -1;
    return close(fd);
}

static void check_ended(pid_t pid) {
    (void)waitpid(pid, NULL, WNOHANG);
    assert_int_equal(kill(pid, 0), -1);
}

/* Another file of the same file system, held by somebody who has nothing to do with us. */
static int hold_neighbor(const char *path) {
    put(path, "personal");
    return open(path, O_RDONLY) >= 0 ? 0 : -1;
}

static void test_holders_of_every_kind(void **state) {
    (void)state;
    static int (*const kinds[])(const char *) = {hold_deleted, hold_mapping_of_deleted, hold_watch,
                                                 hold_mapping_elsewhere};
    pid_t neighbor = start_child(hold_neighbor, at("neighbor"));
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (kinds[i] == hold_mapping_elsewhere && geteuid() != 0)
            continue;
        const char *path = kinds[i] == hold_watch ? at("data/vault") : at("data/vault/letter");
        pid_t pid = start_child(kinds[i], path);
        assert_int_equal(vault_close(&v), ERR_WRONG_STATE);
        assert_int_equal(vault_force_close(&v, NULL), 0);
        check_ended(pid);
        assert_false(is_open());
        assert_int_equal(vault_open(&v, &key), 0);
    }
    assert_int_equal(kill(neighbor, 0), 0);
    assert_int_equal(kill(neighbor, SIGKILL), 0);
    assert_int_equal(waitpid(neighbor, NULL, 0), neighbor);
}

static void test_lock_ends_watchers(void **state) {
    (void)state;
    pid_t pid = start_child(hold_watch, at("data/vault"));
    size_t ended = 0;
    assert_int_equal(vault_lock(&v, NULL, &ended), 0);
    assert_int_equal(ended, 1);
    check_ended(pid);
}

/* Somebody moved the vault: its key dies all the same, also after a restart, and who reads it is found. */
static void test_moved_away(void **state) {
    (void)state;
    put(at("data/vault/letter"), CANARY);
    put(at("data/vault/other"), CANARY);
    pid_t pid = start_child(hold_neighbor, at("data/vault/letter"));
    assert_int_equal(rename(at("data/vault"), at("elsewhere")), 0);
    vault_finish(&v);
    assert_int_equal(vault_init(&v, driver, at("data/vault.enc"), at("data/vault")), 0);
    assert_int_equal(vault_destroy_key(&v), 0);
    assert_int_equal(vault_force_close(&v, NULL), 0);
    assert_int_equal(open(at("elsewhere/other"), O_RDONLY), -1);
    check_ended(pid);
    struct file_removed count = {0};
    assert_int_equal(vault_remove(&v, &count), 0);
    assert_true(exists(at("elsewhere")));
    assert_false(is_open());
    struct vault_left left;
    assert_int_equal(vault_look_for_rest(&v, &left), 0);
    assert_false(left.paths || left.mounts);
}

/* Who may not be ended keeps what it has open, and that is said; everything else is unreadable. */
static void test_force_close_with_a_spared_holder(void **state) {
    (void)state;
    put(at("data/vault/letter"), CANARY);
    put(at("data/vault/other"), CANARY);
    cleanup(fd) int own = open(at("data/vault/letter"), O_RDONLY);
    cleanup(fd) int tree = open(at("data/vault"), O_RDONLY | O_DIRECTORY);
    assert_true(own >= 0);
    assert_int_equal(vault_force_close(&v, NULL), ERR_TIMEOUT);
    assert_true(is_open());
    assert_true(fscrypt_is_shut(tree));
    assert_int_equal(vault_adopt(&v), VAULT_NOTHING);
    (void)close(steal_fd(&tree));
    assert_false(has(at("data/vault/other"), CANARY));
    (void)close(steal_fd(&own));
    assert_int_equal(vault_force_close(&v, NULL), 0);
    assert_false(is_open());
    assert_int_equal(vault_open(&v, &key), 0);
    assert_true(has(at("data/vault/other"), CANARY));
}

/* Also a vault that is half closed opens again. */
static void test_open_when_half_closed(void **state) {
    (void)state;
    put(at("data/vault/letter"), CANARY);
    cleanup(fd) int own = open(at("data/vault/letter"), O_RDONLY);
    assert_true(own >= 0);
    assert_int_equal(vault_force_close(&v, NULL), ERR_TIMEOUT);
    assert_int_equal(vault_open(&v, &key), 0);
    assert_int_equal(vault_adopt(&v), 0);
    assert_true(has(at("data/vault/letter"), CANARY));
}

static void test_removed_while_a_file_is_open(void **state) {
    (void)state;
    put(at("data/vault/letter"), CANARY);
    cleanup(fd) int own = open(at("data/vault/letter"), O_RDONLY);
    assert_int_equal(vault_destroy_key(&v), 0);
    struct file_removed count = {0};
    assert_int_equal(vault_remove(&v, &count), ERR_WRONG_STATE);
    assert_false(exists(at("data/vault")));
    (void)close(steal_fd(&own));
    vault_finish(&v); /* after a restart, too */
    assert_int_equal(vault_init(&v, driver, at("data/vault.enc"), at("data/vault")), 0);
    assert_true(vault_force_close(&v, NULL) >= 0); /* the last file's end may have been the key's */
    assert_int_equal(vault_remove(&v, &count), 0);
    assert_false(exists(at("data/vault.enc")));
}

/* Without the key nothing can be moved, so a deep tree must go as it is. */
static void test_remove_what_is_deep(void **state) {
    (void)state;
    int dir = open(at("data/vault"), O_RDONLY | O_DIRECTORY);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(mkdirat(dir, "a-name-of-more-than-sixteen-bytes", 0700), 0);
        int next = openat(dir, "a-name-of-more-than-sixteen-bytes", O_RDONLY | O_DIRECTORY);
        assert_true(next >= 0);
        (void)close(dir);
        dir = next;
    }
    (void)close(dir);
    assert_int_equal(vault_destroy_key(&v), 0);
    assert_true(vault_force_close(&v, NULL) >= 0);
    struct file_removed count = {0};
    assert_int_equal(vault_remove(&v, &count), 0);
    assert_false(exists(at("data/vault")));
}

/* The key as the kernel has it. */
static void join(char raw[VAULT_KEY_SIZE]) {
    cleanup(buf) struct buf half = {0};
    assert_int_equal(file_read(AT_FDCWD, at("data/vault.enc/fscrypt.key"), 64, &half), 0);
    for (size_t i = 0; i < VAULT_KEY_SIZE; i++)
        raw[i] = (char)(half.data[i] ^ key.data[i]);
}

static void test_another_user_has_the_key(void **state) {
    (void)state;
    if (geteuid() != 0)
        skip();
    char raw[VAULT_KEY_SIZE];
    join(raw);
    int fd = open(base, O_RDONLY | O_DIRECTORY);
    pid_t other = fork();
    if (other == 0) {
        struct fscrypt_id id;
        _exit(setuid(65534) == 0 && fscrypt_add(fd, raw, &id) == 0 ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(other, &status, 0), other);
    assert_int_equal(status, 0);
    assert_int_equal(vault_force_close(&v, NULL), ERR_REFUSED);
    assert_non_null(strstr(err_text(), "another user"));
    assert_true(is_open());
    struct fscrypt_remove_key_arg arg = {.key_spec = {.type = FSCRYPT_KEY_SPEC_TYPE_IDENTIFIER}};
    memcpy(arg.key_spec.u.identifier, v.key_id.bytes, FSCRYPT_ID_SIZE);
    assert_int_equal(ioctl(fd, FS_IOC_REMOVE_ENCRYPTION_KEY_ALL_USERS, &arg), 0);
    (void)close(fd);
    assert_false(is_open());
}

static void test_creation_cut_off(void **state) {
    (void)state;
    assert_int_equal(vault_create(&v, &key), 0);
    assert_int_equal(unlink(at("data/vault.enc/fscrypt.id")), 0);
    put(at("data/vault.enc/fscrypt.key.abc.tmp"), "half");
    assert_false(vault_exists(&v));
    assert_int_equal(vault_create(&v, &key), 0);
    assert_false(exists(at("data/vault.enc/fscrypt.key.abc.tmp")));
    assert_int_equal(vault_open(&v, &key), 0);
    put(at("data/vault/letter"), CANARY);
    assert_int_equal(unlink(at("data/vault.enc/fscrypt.id")), 0);
    assert_int_equal(vault_create(&v, &key), ERR_WRONG_STATE); /* what has mail in it is not made anew */
    assert_non_null(strstr(err_text(), "not empty"));
    assert_true(has(at("data/vault/letter"), CANARY));
}

/* The employee's own encrypted directory in the vault's place: its key is not for us to take. */
static void test_somebody_elses_key(void **state) {
    (void)state;
    struct fscrypt_id id;
    struct fscrypt_removal kept;
    struct fscrypt_state own;
    char raw[VAULT_KEY_SIZE];
    random_bytes(raw, sizeof raw);
    assert_int_equal(mkdir(at("mine"), 0700), 0);
    cleanup(fd) int mine = open(at("mine"), O_RDONLY | O_DIRECTORY);
    assert_int_equal(fscrypt_add(mine, raw, &id), 0);
    assert_int_equal(fscrypt_protect(mine, &id), 0);
    put(at("mine/diary"), "personal");
    assert_int_equal(rename(at("data/vault"), at("elsewhere")), 0);
    assert_int_equal(symlink(at("mine"), at("data/vault")), 0);
    assert_false(vault_exists(&v));
    assert_int_equal(vault_destroy_key(&v), 0);
    assert_true(vault_force_close(&v, NULL) >= 0);
    struct file_removed count = {0};
    assert_int_equal(vault_remove(&v, &count), 0);
    assert_int_equal(fscrypt_state(mine, &id, &own), 0);
    assert_true(own.present);
    assert_true(has(at("mine/diary"), "personal"));
    (void)close(steal_fd(&mine));
    assert_int_equal(fscrypt_remove_by(base, &id, clock_boot_ms() + 5000, &kept), 0);
}

const struct CMUnitTest fscrypt_tests[] = {
    OPEN(test_holders_of_every_kind),
    OPEN(test_lock_ends_watchers),
    OPEN(test_moved_away),
    OPEN(test_force_close_with_a_spared_holder),
    OPEN(test_open_when_half_closed),
    OPEN(test_removed_while_a_file_is_open),
    OPEN(test_remove_what_is_deep),
    OPEN(test_another_user_has_the_key),
    CLOSED(test_creation_cut_off),
    OPEN(test_somebody_elses_key),
};
const size_t fscrypt_tests_n = sizeof fscrypt_tests / sizeof *fscrypt_tests;
