/* UID sets: read, sorted, asked and written, without ever being expanded. */
#include "tests/unit/cm.h"

#include "agent/mail/imap/uidset.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"

#include <string.h>

static int read_text(const char *text, struct uidset *s) {
    return uidset_read(text, strlen(text), s);
}

static void assert_ranges(const struct uidset *s, const struct uidset_range *expected, size_t n) {
    assert_int_equal(s->n, n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(s->ranges[i].first, expected[i].first);
        assert_int_equal(s->ranges[i].last, expected[i].last);
    }
}

static void reads(void **state) {
    (void)state;
    cleanup(uidset) struct uidset s = {0};
    assert_int_equal(read_text("7:4,9,4294967295,12:*,*:3,*", &s), 0);
    static const struct uidset_range expected[] = {
        {4, 7},           {9, 9},          {UINT32_MAX, UINT32_MAX},
        {12, UINT32_MAX}, {3, UINT32_MAX}, {UINT32_MAX, UINT32_MAX}};
    assert_ranges(&s, expected, 6);
    assert_int_equal(read_text("1", &s), 0); /* adds */
    assert_int_equal(s.n, 7);
}

static void refuses(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",   ",",     "1,",    ",1", "1,,2", "0",  "1:0",        "0:1",
        ":1", "1:",    "1:2:3", "a",  "1a",   "-1", "4294967296", "1 ",
        " 1", "1:2 3", "1;2",   "**", "*1",   "1*", "1:*:2",      "99999999999999999999999999"};
    cleanup(uidset) struct uidset s = {0};
    assert_int_equal(read_text("5:6", &s), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(read_text(bad[i], &s), ERR_INVALID);
        assert_int_equal(s.n, 1);
    }
    assert_int_equal(read_text("1,2,3,x", &s), ERR_INVALID);
    assert_int_equal(s.n, 1);
    assert_int_equal(uidset_at(&s, 0), 5);
    assert_int_equal(uidset_read("1\0", 2, &s), ERR_INVALID);
}

static void sorts(void **state) {
    (void)state;
    cleanup(uidset) struct uidset s = {0};
    assert_int_equal(read_text("9:12,1,3:5,2,11:20,4294967295,22,4", &s), 0);
    uidset_sort(&s);
    static const struct uidset_range expected[] = {{1, 5}, {9, 20}, {22, 22}, {UINT32_MAX, UINT32_MAX}};
    assert_ranges(&s, expected, 4);
    static const uint32_t in[] = {1, 5, 9, 20, 22, UINT32_MAX}, out[] = {0, 6, 8, 21, 23, UINT32_MAX - 1};
    for (size_t i = 0; i < 6; i++) {
        assert_true(uidset_has(&s, in[i]));
        assert_false(uidset_has(&s, out[i]));
    }
    uidset_finish(&s);
    uidset_sort(&s);
    assert_false(uidset_has(&s, 1));
}

static void ranges_stay_ranges(void **state) {
    (void)state;
    cleanup(uidset) struct uidset s = {0};
    assert_int_equal(read_text("1:4294967295,1:*,5:7", &s), 0);
    assert_true(uidset_count(&s) == 2 * (uint64_t)UINT32_MAX + 3);
    assert_int_equal(uidset_at(&s, UINT32_MAX - 1), UINT32_MAX);
    assert_int_equal(uidset_at(&s, UINT32_MAX), 1);
    assert_int_equal(uidset_at(&s, 2 * (uint64_t)UINT32_MAX + 2), 7);
    assert_int_equal(uidset_at(&s, 2 * (uint64_t)UINT32_MAX + 3), 0);
    uidset_sort(&s);
    assert_int_equal(s.n, 1);
    assert_true(uidset_count(&s) == UINT32_MAX);
}

static void order_of_reading(void **state) {
    (void)state;
    cleanup(uidset) struct uidset s = {0};
    assert_int_equal(read_text("7:5,2,9:10", &s), 0);
    static const uint32_t expected[] = {5, 6, 7, 2, 9, 10, 0};
    for (size_t i = 0; i < 7; i++)
        assert_int_equal(uidset_at(&s, i), expected[i]);
}

static void has_a_cap(void **state) {
    (void)state;
    cleanup(uidset) struct uidset s = {0};
    for (uint32_t i = 0; i < UIDSET_RANGES_MAX - 1; i++)
        assert_int_equal(uidset_add(&s, 2 * i + 1, 2 * i + 1), 0);
    assert_int_equal(read_text("1,3", &s), ERR_TOO_LARGE);
    assert_int_equal(s.n, UIDSET_RANGES_MAX - 1);
    assert_int_equal(uidset_add(&s, 9, 4), 0);
    assert_int_equal(uidset_add(&s, 1, 1), ERR_TOO_LARGE);
}

static void writes(void **state) {
    (void)state;
    static const uint32_t uids[] = {1, 2, 3, 7, 9, 10, UINT32_MAX - 1, UINT32_MAX};
    cleanup(buf) struct buf set = {0};
    size_t used = 0;
    assert_int_equal(uidset_write(uids, 8, 1000, &set, &used), 0);
    assert_string_equal(set.data, "1:3,7,9:10,4294967294:4294967295");
    assert_int_equal(used, 8);
    buf_clear(&set);
    assert_int_equal(uidset_write(uids, 8, 6, &set, &used), 0);
    assert_string_equal(set.data, "1:3,7");
    assert_int_equal(used, 4);
    buf_clear(&set);
    assert_int_equal(uidset_write(uids, 8, 0, &set, &used), 0); /* always at least one range */
    assert_string_equal(set.data, "1:3");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads),
        cmocka_unit_test(refuses),
        cmocka_unit_test(sorts),
        cmocka_unit_test(ranges_stay_ranges),
        cmocka_unit_test(order_of_reading),
        cmocka_unit_test(has_a_cap),
        cmocka_unit_test(writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
