/*
 * What every vault driver must do, on real file systems with real holders. Run as root and, through
 * as_user.py, as an ordinary user; fscrypt on an image of its own (fscrypt_image.py); `no-fuse` checks what
 * is said where /dev/fuse cannot be opened. What is so with one driver alone is in vault_DRIVER.c.
 */
#include "tests/conformance/vault_room.h"

static char *material(const char *ending) {
    char name[64];
    (void)snprintf(name, sizeof name, "data/vault.enc/%s%s",
                   driver->in_place ? "fscrypt.key" : "gocryptfs.conf", ending);
    return at(name);
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
    assert_int_equal(servers(), driver->in_place ? 0 : 1);
    assert_int_equal(mode_of(at("data/vault.enc")), 0700);
    put(at("data/vault/letter"), CANARY);
    assert_int_equal(vault_open(&v, &key), 0); /* once more is no fault */
    assert_int_equal(servers(), driver->in_place ? 0 : 1);
    assert_int_equal(vault_close(&v), 0);
    assert_int_equal(vault_close(&v), VAULT_NOTHING);
    assert_int_equal(servers(), 0);
    assert_false(exists(at("data/vault/letter")));
    assert_int_equal(mode_of(at("data/vault")), 0700);
    assert_int_equal(vault_open(&v, &key), 0);
    assert_true(has(at("data/vault/letter"), CANARY));
}

/* Nor is the key in the arguments or the environment of any process. */
static void test_nothing_in_the_clear(void **state) {
    (void)state;
    put(at("data/vault/" CANARY), CANARY);
    char command[PATH_MAX];
    cleanup(free) char *text = encode_base64url(key.data, key.len);
    (void)snprintf(command, sizeof command, "! grep -qsF '%s' /proc/%d/cmdline /proc/%d/environ", text,
                   (int)v.server.pid, (int)v.server.pid);
    if (v.server.pid)
        assert_int_equal(system(command), 0);
    assert_int_equal(vault_close(&v), 0);
    (void)snprintf(command, sizeof command, "! grep -rqs '%s' '%s' && ! find '%s' | grep -q canary", CANARY,
                   at("data"), at("data"));
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

static void test_damaged_key_material(void **state) {
    (void)state;
    put(at("data/vault/letter"), CANARY);
    assert_int_equal(vault_close(&v), 0);
    char conf[PATH_MAX];
    (void)snprintf(conf, sizeof conf, "%s", material(""));
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
    assert_true(v.server.pid > 0 || driver->in_place);
    char c;
    assert_int_equal(read(held, &c, 1), 1);
    (void)close(steal_fd(&held));
    assert_int_equal(vault_close(&v), 0);
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
    assert_false(exists(material("")));
    assert_false(vault_exists(&v));
    assert_true(vault_force_close(&v, NULL) >= 0); /* the kernel may have lost the key by now */
    assert_false(is_open());
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
    put(material(".bak"), "copy");
    put(at("linked"), "copy with two names");
    assert_int_equal(symlink(at("personal"), material(".link")), 0);
    assert_int_equal(link(at("linked"), material(".hard")), 0);
    cleanup(fd) int watched = open(material(""), O_RDONLY);
    char before[64] = "", after[64] = "";
    ssize_t n = pread(watched, before, 32, 0);
    assert_true(n > 0);
    assert_int_equal(vault_destroy_key(&v), 0);
    assert_int_equal(pread(watched, after, 32, 0), n); /* overwritten before it lost its name */
    assert_memory_not_equal(before, after, (size_t)n);
    static const char *const endings[] = {"", ".bak", ".link", ".hard"};
    for (size_t i = 0; i < 4; i++)
        assert_false(exists(material(endings[i])));
    assert_true(has(at("personal"), "personal"));
    assert_true(has(at("linked"), "copy with two names"));
}

static void test_remove_an_open_vault(void **state) {
    (void)state;
    put(at("data/vault/letter"), CANARY);
    struct file_removed count = {0};
    assert_int_equal(vault_remove(&v, &count), ERR_WRONG_STATE);
    assert_false(exists(driver->in_place ? at("data/vault") : at("data/vault.enc")));
    assert_int_equal(vault_force_close(&v, NULL), 0);
    if (!driver->in_place)
        put(at("data/vault/plain"), "left in the clear by a program that started too early");
    assert_int_equal(vault_remove(&v, &count), 0);
    assert_false(exists(at("data/vault")) || exists(at("data/vault.enc")));
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
    assert_true(exists(at("elsewhere")));
}

/* A vault, and what is left of one, keeps its driver; else it is the best that works here. */
static void test_choice(void **state) {
    (void)state;
    const char *enc = v.ciphertext, *mount = v.mount;
    assert_ptr_equal(vault_choose(enc, mount), driver);
    assert_false(exists(at("data")));
    assert_int_equal(vault_create(&v, &key), 0);
    assert_ptr_equal(vault_choose(enc, mount), driver);
    assert_int_equal(vault_open(&v, &key), 0);
    assert_int_equal(vault_destroy_key(&v), 0);
    assert_ptr_equal(vault_choose(enc, mount), driver);
    assert_true(vault_force_close(&v, NULL) >= 0);
    assert_ptr_equal(vault_choose(enc, mount), driver);
    struct file_removed count = {0};
    assert_int_equal(vault_remove(&v, &count), 0);
    assert_ptr_equal(vault_choose(enc, mount), driver);
}

static void test_paths(void **state) {
    (void)state;
    struct vault other;
    assert_int_equal(vault_init(&other, driver, "relative", "/absolute"), ERR_INVALID);
    assert_int_equal(vault_init(&other, driver, "/absolute", "relative"), ERR_INVALID);
}

static const struct CMUnitTest common_tests[] = {
    CLOSED(test_create_open_close),
    OPEN(test_nothing_in_the_clear),
    OPEN(test_describe),
    OPEN(test_wrong_key),
    OPEN(test_damaged_key_material),
    CLOSED(test_creation_over_something),
    CLOSED(test_adopt_after_a_crash),
    OPEN(test_close_in_use),
    OPEN(test_force_close),
    OPEN(test_lock_asks_first),
    OPEN(test_lock_and_who_does_not_listen),
    OPEN(test_destroy_and_remove),
    OPEN(test_every_copy_of_the_key_material),
    OPEN(test_remove_an_open_vault),
    OPEN(test_swapped_for_a_link),
    CLOSED(test_choice),
    CLOSED(test_paths),
};

static const struct group {
    const char *name;
    const struct vault_driver *driver;
    const struct CMUnitTest *own;
    const size_t *own_n;
} groups[] = {{"gocryptfs", &vault_gocryptfs, gocryptfs_tests, &gocryptfs_tests_n},
              {"fscrypt", &vault_fscrypt, fscrypt_tests, &fscrypt_tests_n},
              {"no-fuse", &vault_gocryptfs, no_fuse_tests, &no_fuse_tests_n}};

int main(int argc, char **argv) {
    for (size_t i = 0; argc == 2 && i < sizeof groups / sizeof *groups; i++) {
        const struct group *g = &groups[i];
        if (strcmp(argv[1], g->name) != 0)
            continue;
        driver = g->driver;
        int failed = _cmocka_run_group_tests(g->name, g->own, *g->own_n, NULL, NULL);
        if (g->own != no_fuse_tests)
            failed += cmocka_run_group_tests(common_tests, NULL, NULL);
        buf_finish(&key);
        return failed ? 1 : 0;
    }
    (void)fprintf(stderr, "usage: conformance-vault gocryptfs|fscrypt|no-fuse\n");
    return 2;
}
