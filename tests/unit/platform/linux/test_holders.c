#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/linux/holders.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include <cmocka.h>

/* A small file system of its own, so that its device number is held by nobody but the children of this test.
 * As an ordinary user nothing can be mounted here: tests/conformance/vault.c has the same on a real vault. */
static char directory[] = "/tmp/satchel-holders.XXXXXX";
static struct holders_where where;

enum hold { HOLD_FILE, HOLD_DELETED_FILE, HOLD_DIRECTORY, HOLD_MAPPING, HOLD_NOTHING };

static void hold(enum hold how) {
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/file-%d", directory, (int)how);
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    if (fd < 0 || ftruncate(fd, 4096) < 0)
        _exit(1);
    if (how == HOLD_DELETED_FILE)
        (void)unlink(path);
    if (how == HOLD_MAPPING && mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED)
        _exit(1);
    if (how == HOLD_DIRECTORY && chdir(directory) < 0)
        _exit(1);
    if (how != HOLD_FILE && how != HOLD_DELETED_FILE)
        (void)close(fd);
}

/* A child that holds the device in one way and waits to be killed. */
static pid_t start(enum hold how) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        hold(how);
        if (write(ends[1], "x", 1) != 1)
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

static void check_ended(pid_t pid) {
    int status;
    /* The killer may have reaped it already. */
    pid_t r = waitpid(pid, &status, WNOHANG);
    assert_true(r == -1 || (r == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
}

static void test_each_way_of_holding(void **state) {
    (void)state;
    static const char *const words[] = {"open file", "open file", "working directory", "mapped file"};
    for (int how = HOLD_FILE; how < HOLD_NOTHING; how++) {
        pid_t pid = start((enum hold)how);
        cleanup(holders) struct holders h = {0};
        assert_int_equal(holders_find(&where, NULL, &h), 0);
        assert_int_equal(h.n, 1);
        assert_int_equal(h.list[0].id.pid, pid);
        assert_string_equal(h.list[0].how, words[how]);
        cleanup(free) char *names = holders_names(&h);
        assert_non_null(strstr(names, h.list[0].name));
        size_t ended = 0;
        assert_int_equal(holders_end(&where, NULL, 0, clock_boot_ms() + 10000, &ended), 0);
        assert_int_equal(ended, 1);
        check_ended(pid);
    }
}

static void test_who_is_left_alone(void **state) {
    (void)state;
    pid_t spared = start(HOLD_FILE), other = start(HOLD_NOTHING), victim = start(HOLD_MAPPING);
    const struct holders_except except = {.pids = &spared, .n = 1};
    cleanup(fd) int own = open(directory, O_RDONLY | O_DIRECTORY);
    assert_true(own >= 0);
    size_t ended = 0;
    assert_int_equal(holders_end(&where, &except, 0, clock_boot_ms() + 10000, &ended), 0);
    assert_int_equal(ended, 1);
    check_ended(victim);
    assert_int_equal(waitpid(spared, NULL, WNOHANG), 0);
    assert_int_equal(waitpid(other, NULL, WNOHANG), 0);
    (void)kill(spared, SIGKILL);
    (void)kill(other, SIGKILL);
    assert_int_equal(waitpid(spared, NULL, 0), spared);
    assert_int_equal(waitpid(other, NULL, 0), other);
}

/* Root's shell may have anything below it: only who holds the device itself is ended. */
static void test_root_spares_children(void **state) {
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t parent = fork();
    if (parent == 0) {
        pid_t child = fork();
        if (child == 0) {
            (void)prctl(PR_SET_PDEATHSIG, 0);
            (void)close(ends[0]);
            for (;;)
                (void)pause();
        }
        hold(HOLD_FILE);
        if (write(ends[1], &child, sizeof child) != sizeof child)
            _exit(1);
        for (;;)
            (void)pause();
    }
    pid_t child = 0;
    assert_int_equal(read(ends[0], &child, sizeof child), sizeof child);
    size_t ended = 0;
    assert_int_equal(holders_end(&where, NULL, 0, clock_boot_ms() + 10000, &ended), 0);
    assert_int_equal(ended, 1);
    check_ended(parent);
    assert_int_equal(kill(child, 0), 0);
    (void)kill(child, SIGKILL);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

static void test_text_of_maps(void **state) {
    (void)state;
    static const char maps[] = "55d0-55d1 r--p 00000000 fe:00 1234 /usr/bin/cat\n"
                               "7f00-7f01 rw-p 00000000 00:26 7 /v/a b\n"
                               "7f02-7f03 rw-p 00000000 00:00 0 \n"
                               "7f04-7f05 rw-p 00:27 fe:00 0 /00:27 x\n";
    struct holders_where on = {.device = makedev(0, 0x26)};
    assert_true(holders_maps_name(maps, sizeof maps - 1, &on));
    on.device = makedev(0xfe, 0);
    assert_true(holders_maps_name(maps, sizeof maps - 1, &on));
    on.device = makedev(0, 0x27);
    assert_false(holders_maps_name(maps, sizeof maps - 1, &on));
    on.device = makedev(0, 2);
    assert_false(holders_maps_name(maps, sizeof maps - 1, &on));
    on.device = makedev(0, 0);
    assert_false(holders_maps_name("", 0, &on));
    assert_false(holders_maps_name("a b c 00", 8, &on));
}

/* On a device that holds other things, too, by the path or by the inode. */
static void test_text_of_maps_of_a_tree(void **state) {
    (void)state;
    static const char lib[] =
        "7f00-7f01 r--p 00000000 fe:00 1234       /usr/lib/libc.so\n7f02-7f03 rw-p 0 00:00 0\n",
                      other[] = "7f00-7f01 r--p 00000000 fe:00 12       /h/vault2/a\n",
                      below[] = "7f00-7f01 r--p 00000000 fe:00 12       /h/vault/a b (deleted)\n",
                      elsewhere[] = "7f00-7f01 r--p 00000000 fe:00 99 /newroot/vault/a\n",
                      device[] = "7f00-7f01 r--p 00000000 fe:01 99 /h/vault/a\n";
    static const uint64_t inodes[] = {7, 99, 1ULL << 40};
    const struct fscrypt_id key = {{1}};
    struct holders_where tree = {.device = makedev(0xfe, 0), .key = &key, .path = "/h/vault"};
    assert_false(holders_maps_name(lib, sizeof lib - 1, &tree));
    assert_false(holders_maps_name(other, sizeof other - 1, &tree));
    assert_true(holders_maps_name(below, sizeof below - 1, &tree));
    assert_false(holders_maps_name(elsewhere, sizeof elsewhere - 1, &tree));
    assert_false(holders_maps_name(device, sizeof device - 1, &tree));
    tree.inodes = inodes;
    tree.n_inodes = 3;
    assert_true(holders_maps_name(elsewhere, sizeof elsewhere - 1, &tree));
    assert_false(holders_maps_name(lib, sizeof lib - 1, &tree));
}

static void test_text_of_watches(void **state) {
    (void)state;
    static const char text[] = "pos:\t0\nflags:\t00\nmnt_id:\t15\n"
                               "inotify wd:2 ino:1 sdev:fe00000 mask:fc6 ignored_mask:0 fhandle-bytes:8\n"
                               "inotify wd:1 ino:63 sdev:fe00000 mask:fc6 ignored_mask:0 fhandle-bytes:8\n";
    static const uint64_t inodes[] = {7, 99};
    struct holders_where tree = {.device = makedev(0xfe, 0), .inodes = inodes, .n_inodes = 2};
    assert_true(holders_watch_names(text, sizeof text - 1, &tree));
    tree.n_inodes = 1;
    assert_false(holders_watch_names(text, sizeof text - 1, &tree));
    tree.n_inodes = 2;
    tree.device = makedev(0xfe, 1);
    assert_false(holders_watch_names(text, sizeof text - 1, &tree));
}

static int setup(void **state) {
    (void)state;
    struct stat st;
    if (!mkdtemp(directory) || mount("satchel-test", directory, "tmpfs", 0, "size=1m") < 0 ||
        stat(directory, &st) < 0)
        return -1;
    where.device = st.st_dev;
    return 0;
}

static int teardown(void **state) {
    (void)state;
    return umount(directory) < 0 ? -1 : rmdir(directory);
}

int main(void) {
    const struct CMUnitTest text[] = {cmocka_unit_test(test_text_of_maps),
                                      cmocka_unit_test(test_text_of_maps_of_a_tree),
                                      cmocka_unit_test(test_text_of_watches)};
    const struct CMUnitTest mounted[] = {
        cmocka_unit_test(test_each_way_of_holding),
        cmocka_unit_test(test_who_is_left_alone),
        cmocka_unit_test(test_root_spares_children),
    };
    int failed = cmocka_run_group_tests(text, NULL, NULL);
    return geteuid() == 0 ? failed + cmocka_run_group_tests(mounted, setup, teardown) : failed;
}
