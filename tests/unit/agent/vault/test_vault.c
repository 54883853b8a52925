/* What vault.c does for every driver, with one that is a few switches; the real ones are in
 * tests/conformance/vault.c. */
#include "agent/vault/vault.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static struct {
    bool exists, adopted;
    int open, created, opened, ended;
} fake;

static bool fake_exists(struct vault *v) {
    (void)v;
    return fake.exists;
}

static int fake_create(struct vault *v, const struct buf *key) {
    (void)v, (void)key;
    fake.created++;
    return 0;
}

static int fake_open(struct vault *v, const struct buf *key) {
    (void)v, (void)key;
    fake.opened++;
    return 0;
}

static int fake_adopt(struct vault *v) {
    (void)v;
    return fake.adopted ? 0 : VAULT_NOTHING;
}

static int fake_is_open(struct vault *v, dev_t *ret_device) {
    (void)v;
    *ret_device = 7;
    return fake.open < 0 ? err_set(ERR_SYSTEM, "cannot look") : fake.open;
}

static int fake_end_holders(struct vault *v, const struct holders_except *except, int64_t polite,
                            int64_t deadline, size_t *ended) {
    (void)polite;
    (void)v, (void)except, (void)deadline;
    *ended += (size_t)fake.ended;
    return 0;
}

static int fake_count_servers(struct vault *v, size_t *ret) {
    (void)v;
    *ret = fake.open > 0;
    return 0;
}

static const struct vault_driver fake_driver = {
    .name = "fake",
    .exists = fake_exists,
    .create = fake_create,
    .open = fake_open,
    .adopt = fake_adopt,
    .end_holders = fake_end_holders,
    .is_open = fake_is_open,
    .count_servers = fake_count_servers,
};

static char base[32];
static struct vault v;
static struct buf key;

static char *at(const char *name) {
    static char paths[4][PATH_MAX];
    static size_t next;
    char *path = paths[next++ % 4];
    (void)snprintf(path, sizeof paths[0], "%s/%s", base, name);
    return path;
}

static void put(const char *path, const char *text) {
    assert_int_equal(file_write_atomic(AT_FDCWD, path, text, strlen(text), 0600), 0);
}

static void make_dir(const char *path) {
    cleanup(fd) int fd = -1;
    assert_int_equal(file_make_dirs(path, 0700, &fd), 0);
}

static bool exists(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0;
}

static void test_keys_and_states(void **state) {
    (void)state;
    struct buf short_key = {.data = key.data, .len = VAULT_KEY_SIZE - 1};
    assert_int_equal(vault_create(&v, &short_key), ERR_INVALID);
    assert_int_equal(vault_open(&v, &short_key), ERR_INVALID);
    assert_int_equal(vault_open(&v, &key), ERR_NOT_FOUND);
    fake.exists = true;
    assert_int_equal(vault_create(&v, &key), ERR_WRONG_STATE);
    fake.adopted = true;
    assert_int_equal(vault_open(&v, &key), 0);
    assert_int_equal(fake.opened, 0); /* it was open */
    fake.adopted = false;
    assert_int_equal(vault_open(&v, &key), 0);
    assert_int_equal(fake.opened, 1);
    fake.exists = false;
    assert_int_equal(vault_create(&v, &key), 0);
    assert_int_equal(fake.created, 1);
    assert_true(exists(at("deep/er")));
}

static void test_holders(void **state) {
    (void)state;
    size_t ended = 5;
    assert_int_equal(vault_end_holders(&v, NULL, &ended), VAULT_NOTHING);
    fake.ended = 2;
    assert_int_equal(vault_end_holders(&v, NULL, &ended), 0);
    assert_int_equal(ended, 7);
}

static void test_counting(void **state) {
    (void)state;
    make_dir(at("deep/er/vault.enc/a/b"));
    put(at("deep/er/vault.enc/one"), "12345");
    put(at("deep/er/vault.enc/a/b/two"), "123");
    put(at("outside"), "1234567");
    assert_int_equal(link(at("outside"), at("deep/er/vault.enc/hard")), 0);
    assert_int_equal(symlink("/", at("deep/er/vault.enc/a/link")), 0);
    struct vault_status status;
    assert_int_equal(vault_describe(&v, true, &status), 0);
    assert_int_equal(status.files, 4);
    assert_int_equal(status.bytes, 8); /* what has another name would not be given back */
    assert_int_equal(vault_describe(&v, false, &status), 0);
    assert_int_equal(status.files, 0);
    fake.open = -1;
    assert_int_equal(vault_describe(&v, false, &status), ERR_SYSTEM);
}

static void test_removing(void **state) {
    (void)state;
    assert_int_equal(vault_remove(&v, NULL), VAULT_NOTHING);
    make_dir(at("deep/er/vault.enc"));
    make_dir(at("deep/er/vault"));
    put(at("deep/er/vault/plain"), "x");
    fake.open = 1;
    struct vault_left left;
    assert_int_equal(vault_look_for_rest(&v, &left), 0);
    assert_true(left.paths == 2 && left.mounts == 1 && left.servers == 1);
    assert_int_equal(vault_remove(&v, NULL), ERR_WRONG_STATE);
    assert_true(exists(at("deep/er/vault/plain"))); /* it is in the mounted vault, as far as can be told */
    assert_false(exists(at("deep/er/vault.enc")));
    fake.open = 0;
    struct file_removed count = {0};
    assert_int_equal(vault_remove(&v, &count), 0);
    assert_int_equal(count.files, 1);
    assert_int_equal(vault_look_for_rest(&v, &left), 0);
    assert_false(left.paths || left.mounts || left.servers);
    assert_true(exists(at("deep/er")));
}

static int setup(void **state) {
    (void)state;
    static char bytes[VAULT_KEY_SIZE + 1];
    memset(&fake, 0, sizeof fake);
    key = (struct buf){.data = bytes, .len = VAULT_KEY_SIZE};
    (void)snprintf(base, sizeof base, "/tmp/satchel-vault.XXXXXX");
    if (!mkdtemp(base))
        return -1;
    return vault_init(&v, &fake_driver, at("deep/er/vault.enc"), at("deep/er/vault"));
}

static int teardown(void **state) {
    (void)state;
    vault_finish(&v);
    return file_remove_tree(AT_FDCWD, base, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_keys_and_states),
        TEST(test_holders),
        TEST(test_counting),
        TEST(test_removing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
