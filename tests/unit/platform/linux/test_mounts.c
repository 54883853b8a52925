#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/linux/mounts.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cmocka.h>

static const char info[] = "21 26 0:20 / /proc rw,relatime - proc proc rw\n"
                           "26 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard\n"
                           "41 26 0:38 / /home/a\\040b/vault rw,nosuid master:1 propagate_from:2 - "
                           "fuse.gocryptfs satchel-vault rw,user_id=0\n"
                           "42 26 0:39 / /home/back\\134slash\\011tab rw - tmpfs two\\040words rw\n"
                           "43 41 0:40 / /stacked rw - tmpfs lower rw\n"
                           "44 43 0:41 / /stacked rw - tmpfs upper rw\n";

static int look(const char *point, struct mount *ret) {
    return mounts_parse(info, sizeof info - 1, point, ret);
}

static void test_what_is_mounted(void **state) {
    (void)state;
    struct mount m;
    assert_int_equal(look("/home/a b/vault", &m), 0);
    assert_string_equal(m.fstype, "fuse.gocryptfs");
    assert_string_equal(m.source, "satchel-vault");
    assert_true(m.device == makedev(0, 38));
    assert_int_equal(look("/", &m), 0);
    assert_string_equal(m.source, "/dev/vda");
    assert_int_equal(look("/home/back\\slash\ttab", &m), 0);
    assert_string_equal(m.source, "two words");
    assert_int_equal(look("/stacked", &m), 0);
    assert_string_equal(m.source, "upper");
}

static void test_what_is_not(void **state) {
    (void)state;
    struct mount m = {.device = 7};
    static const char *const points[] = {
        "/home", "/home/a b/vault/", "/home/a\\040b/vault", "/home/a b/vaul", "", "rw"};
    for (size_t i = 0; i < sizeof points / sizeof *points; i++)
        assert_int_equal(look(points[i], &m), 1);
    assert_true(m.device == 7);
}

static void test_lines_that_are_none(void **state) {
    (void)state;
    static const char *const lines[] = {
        "",
        "\n\n\n",
        "41",
        "41 26 0:38 / /p",
        "41 26 0:38 / /p rw",
        "41 26 0:38 / /p rw -",
        "41 26 038 / /p rw - tmpfs x rw",
        "41 26 0: / /p rw - tmpfs x rw",
        "41 26 99999999999999:1 / /p rw - tmpfs x rw",
        "41 26 0:38x / /p rw - tmpfs x rw",
        "41 26 0:38 / /p\\04 rw - tmpfs x rw",
        "41 26 0:38 / /p\\ rw - tmpfs x rw",
    };
    struct mount m;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        assert_int_equal(mounts_parse(lines[i], strlen(lines[i]), "/p", &m), 1);
    /* No newline at the end, no source, a long type. */
    const char *odd =
        "41 26 0:38 / /p rw - a-very-long-name-of-a-file-system-type-that-is-longer-than-what-is-kept-of-it";
    assert_int_equal(mounts_parse(odd, strlen(odd), "/p", &m), 0);
    assert_int_equal(strlen(m.fstype), sizeof m.fstype - 1);
    assert_string_equal(m.source, "");
}

static char directory[] = "/tmp/satchel-mounts.XXXXXX";

static void test_the_running_system(void **state) {
    (void)state;
    struct mount m;
    assert_int_equal(mounts_find("/proc", &m), 0);
    assert_string_equal(m.fstype, "proc");
    assert_int_equal(mounts_find("/proc/", &m), 0);
    assert_int_equal(mounts_find("/nonexistent/place", &m), 1);
    assert_int_equal(mounts_find("relative", &m), ERR_INVALID);
    assert_int_equal(mounts_find("/", &m), ERR_INVALID);
    assert_int_equal(mounts_find(directory, &m), 1);
    assert_int_equal(mounts_unmount(directory, false, clock_boot_ms() + 5000), 0);
    assert_int_equal(mounts_wait(directory, false, -1, 0), 0);
    assert_int_equal(mounts_wait(directory, true, -1, clock_boot_ms() + 20), ERR_TIMEOUT);
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
    assert_int_equal(mounts_wait(directory, true, ends[0], clock_boot_ms() + 10000), 1);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

/* The child mounts and unmounts; the wait sees both through the notification, below a symbolic link too. */
static void test_wait_for_a_mount(void **state) {
    (void)state;
    if (geteuid() != 0)
        skip();
    char link[PATH_MAX], point[PATH_MAX], through[PATH_MAX];
    (void)snprintf(point, sizeof point, "%s/point", directory);
    (void)snprintf(link, sizeof link, "%s/link", directory);
    (void)snprintf(through, sizeof through, "%s/link/point", directory);
    assert_int_equal(mkdir(point, 0700), 0);
    assert_int_equal(symlink(".", link), 0);
    pid_t child = fork();
    if (child == 0)
        _exit(mount("satchel-test", point, "tmpfs", 0, "size=64k") == 0 ? 0 : 1);
    assert_int_equal(mounts_wait(through, true, -1, clock_boot_ms() + 10000), 0);
    struct mount m;
    struct stat st;
    assert_int_equal(mounts_find(through, &m), 0);
    assert_string_equal(m.source, "satchel-test");
    assert_int_equal(stat(point, &st), 0);
    assert_true(m.device == st.st_dev);
    child = fork();
    if (child == 0)
        _exit(umount(point) == 0 ? 0 : 1);
    assert_int_equal(mounts_wait(point, false, -1, clock_boot_ms() + 10000), 0);
    (void)rmdir(point);
    (void)unlink(link);
}

static int setup(void **state) {
    (void)state;
    return mkdtemp(directory) ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    return rmdir(directory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_mounted),     cmocka_unit_test(test_what_is_not),
        cmocka_unit_test(test_lines_that_are_none), cmocka_unit_test(test_the_running_system),
        cmocka_unit_test(test_wait_for_a_mount),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
