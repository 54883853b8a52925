#include "platform/base/cleanup.h"
#include "platform/base/file.h"
#include "platform/linux/swap.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static char base[] = "/tmp/satchel-swap.XXXXXX";

static void test_names(void **state) {
    (void)state;
    const char *text = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
                       "/dev/dm-1                               partition\t999420\t\t0\t\t-2\n"
                       "/a\\040b                              file\t\t999420\t\t0\t\t-3\n";
    char name[16];
    assert_true(swap_next(&text, name, sizeof name));
    assert_string_equal(name, "/dev/dm-1");
    assert_true(swap_next(&text, name, sizeof name));
    assert_string_equal(name, "/a b");
    assert_false(swap_next(&text, name, sizeof name));
    text = "/a-name-that-is-longer-than-the-room";
    assert_true(swap_next(&text, name, sizeof name));
    assert_string_equal(name, "/a-name-that-is");
    assert_false(swap_next(&text, name, sizeof name));
    text = "";
    assert_false(swap_next(&text, name, sizeof name));
}

static void make(const char *device, const char *uuid, const char *slave) {
    char path[PATH_MAX];
    cleanup(fd) int dm = -1, slaves = -1;
    (void)snprintf(path, sizeof path, "%s/%s/dm", base, device);
    assert_int_equal(file_make_dirs(path, 0700, &dm), 0);
    if (uuid)
        assert_int_equal(file_write_atomic(dm, "uuid", uuid, strlen(uuid), 0600), 0);
    (void)snprintf(path, sizeof path, "%s/%s/slaves/%s", base, device, slave ? slave : "");
    if (slave)
        assert_int_equal(file_make_dirs(path, 0700, &slaves), 0);
}

static void test_what_is_encrypted(void **state) {
    (void)state;
    make("sda", NULL, NULL);
    make("dm-0", "CRYPT-LUKS2-abc\n", "sda");
    make("dm-1", "LVM-abc\n", "dm-0");
    make("dm-2", "LVM-def\n", "sda");
    make("dm-3", "LVM-both\n", "dm-0");
    make("dm-3", NULL, "sda");
    make("dm-4", "LVM-loop\n", "dm-4");
    assert_false(swap_is_encrypted(base, "sda"));
    assert_true(swap_is_encrypted(base, "dm-0"));
    assert_true(swap_is_encrypted(base, "dm-1"));
    assert_false(swap_is_encrypted(base, "dm-2"));
    assert_false(swap_is_encrypted(base, "dm-3")); /* striped over a disk in the clear */
    assert_false(swap_is_encrypted(base, "dm-4"));
    assert_true(swap_is_encrypted(base, "zram0"));
    assert_false(swap_is_encrypted(base, "nothing"));
}

static void test_here(void **state) {
    (void)state;
    struct swaps swaps;
    assert_int_equal(swap_look(&swaps), 0);
    assert_in_range(swaps.n, 0, SWAP_MAX);
}

static int setup(void **state) {
    (void)state;
    return mkdtemp(base) ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    return file_remove_tree(AT_FDCWD, base, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_names), cmocka_unit_test(test_what_is_encrypted),
                                       cmocka_unit_test(test_here)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
