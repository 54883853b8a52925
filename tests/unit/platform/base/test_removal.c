/*
 * A removal does not leave its tree: whatever is planted in it, and whatever is done to it meanwhile,
 * personal files are the same afterwards, byte for byte and inode for inode.
 */
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#define PERSONAL 5

static char base[32];
static struct stat before[PERSONAL];

static char *at(const char *name) {
    static char paths[8][PATH_MAX];
    static size_t next;
    char *path = paths[next++ % 8];
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

static char *diary(size_t i) {
    char name[32];
    (void)snprintf(name, sizeof name, "home/diary-%zu", i);
    return at(name);
}

static int setup(void **state) {
    (void)state;
    (void)snprintf(base, sizeof base, "/tmp/satchel-removal.XXXXXX");
    if (!mkdtemp(base))
        return -1;
    make_dir(at("home/inner"));
    put(at("home/inner/letter"), "also mine");
    for (size_t i = 0; i < PERSONAL; i++) {
        put(diary(i), "my own words");
        if (stat(diary(i), &before[i]) < 0)
            return -1;
    }
    make_dir(at("tree/a/b"));
    put(at("tree/a/b/mail"), "company mail");
    put(at("tree/mail"), "company mail");
    return 0;
}

/* The manifest of the personal files is what it was. */
static void check_personal(void) {
    for (size_t i = 0; i < PERSONAL; i++) {
        struct stat st;
        cleanup(buf) struct buf text = {0};
        assert_int_equal(stat(diary(i), &st), 0);
        assert_true(st.st_ino == before[i].st_ino && st.st_mode == before[i].st_mode &&
                    st.st_mtim.tv_nsec == before[i].st_mtim.tv_nsec);
        assert_int_equal(file_read(AT_FDCWD, diary(i), 64, &text), 0);
        assert_string_equal(text.data, "my own words");
    }
    assert_true(exists(at("home/inner/letter")));
}

static int teardown(void **state) {
    (void)state;
    return file_remove_tree(AT_FDCWD, base, NULL);
}

static void test_planted_links(void **state) {
    (void)state;
    assert_int_equal(symlink(at("home"), at("tree/a/link")), 0);
    assert_int_equal(symlink(diary(0), at("tree/a/b/file-link")), 0);
    assert_int_equal(symlink("../../home", at("tree/a/relative")), 0);
    assert_int_equal(symlink("/", at("tree/root")), 0);
    assert_int_equal(link(diary(1), at("tree/hard")), 0);
    assert_int_equal(chmod(at("tree/a/b"), 0500), 0);
    struct file_removed count = {0};
    assert_int_equal(file_remove_tree(AT_FDCWD, at("tree"), &count), 0);
    assert_int_equal(count.files, 7);
    assert_false(exists(at("tree")));
    check_personal();
}

static void test_the_tree_is_a_link(void **state) {
    (void)state;
    assert_int_equal(rename(at("tree"), at("aside")), 0);
    assert_int_equal(symlink(at("home"), at("tree")), 0);
    assert_int_equal(file_remove_tree(AT_FDCWD, at("tree"), NULL), 0);
    assert_false(exists(at("tree")));
    check_personal();
}

/* The directory that holds the tree was moved away, and a link is in its place to one with a tree of that
 * name. */
static void test_the_parent_is_a_link(void **state) {
    (void)state;
    assert_int_equal(symlink(at("home"), at("data")), 0);
    assert_int_equal(file_remove_tree(AT_FDCWD, at("data/inner"), NULL), ERR_REFUSED);
    check_personal();
}

/* In a mount namespace of its own. 77: not allowed to. */
static int with_bind_mounts(void) {
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return 77;
    make_dir(at("tree/a/bound"));
    put(at("tree/a/file"), "");
    if (mount(at("home"), at("tree/a/bound"), NULL, MS_BIND, NULL) < 0 ||
        mount(diary(2), at("tree/a/file"), NULL, MS_BIND, NULL) < 0)
        return 1;
    if (file_remove_tree(AT_FDCWD, at("tree"), NULL) >= 0 || exists(at("tree/mail")) ||
        exists(at("tree/a/b")))
        return 2;
    if (mount(at("home"), at("tree"), NULL, MS_BIND, NULL) < 0)
        return 3;
    return file_remove_tree(AT_FDCWD, at("tree"), NULL) == ERR_REFUSED ? 0 : 4;
}

static void test_bind_mounts(void **state) {
    (void)state;
    pid_t pid = fork();
    if (pid == 0)
        _exit(with_bind_mounts());
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
    check_personal();
}

static atomic_bool stop;

/* A directory of the tree is a directory at one moment, and a link to personal files at the next. */
static void *swap(void *arg) {
    char target[PATH_MAX], name[PATH_MAX], other[PATH_MAX];
    (void)snprintf(target, sizeof target, "%s", at("home"));
    (void)snprintf(name, sizeof name, "%s", at("tree/a"));
    (void)snprintf(other, sizeof other, "%s", at("tree/z"));
    while (!atomic_load(&stop)) {
        (void)mkdir(name, 0700);
        (void)symlink(target, other);
        for (int i = 0; i < 20; i++)
            (void)renameat2(AT_FDCWD, name, AT_FDCWD, other, RENAME_EXCHANGE);
    }
    return arg;
}

static void test_swapped_meanwhile(void **state) {
    (void)state;
    pthread_t thread;
    atomic_store(&stop, false);
    assert_int_equal(pthread_create(&thread, NULL, swap, NULL), 0);
    for (int i = 0; i < 3000; i++) {
        (void)mkdir(at("tree"), 0700);
        (void)file_remove_tree(AT_FDCWD, at("tree"), NULL);
    }
    atomic_store(&stop, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    check_personal();
    assert_int_equal(file_remove_tree(AT_FDCWD, at("tree"), NULL), 0);
    check_personal();
}

/* Deeper than anybody recurses, with more than one way down, and nothing in it may be moved. */
static void test_deep(void **state) {
    (void)state;
    int dir = open(at("tree"), O_RDONLY | O_DIRECTORY);
    for (int i = 0; i < 400; i++) {
        assert_int_equal(mkdirat(dir, "x", 0700), 0);
        assert_int_equal(mkdirat(dir, "y", 0700), 0);
        assert_int_equal(mkdirat(dir, "y/z", 0700), 0);
        assert_int_equal(symlinkat("/", dir, "link"), 0);
        int next = openat(dir, i % 70 == 69 ? "y/z" : "x", O_RDONLY | O_DIRECTORY);
        assert_true(next >= 0);
        (void)close(dir);
        dir = next;
    }
    (void)close(dir);
    struct file_removed count = {0};
    assert_int_equal(file_remove_tree(AT_FDCWD, at("tree"), &count), 0);
    assert_int_equal(count.files, 402);
    assert_false(exists(at("tree")));
    check_personal();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_planted_links), TEST(test_the_tree_is_a_link), TEST(test_the_parent_is_a_link),
        TEST(test_bind_mounts),   TEST(test_swapped_meanwhile),  TEST(test_deep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
