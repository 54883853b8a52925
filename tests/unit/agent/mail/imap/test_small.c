/* Dates, UID sets, quoting, flag lists. */
#include "tests/unit/cm.h"

#include "agent/mail/imap/date.h"
#include "agent/mail/imap/session.h"
#include "agent/mail/imap/uidset.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"

#include <string.h>

static void dates(void **state) {
    (void)state;
    int64_t t = 7;
    char day[IMAP_DATE_SIZE];
    assert_int_equal(imap_date_parse("17-Jul-1996 02:44:25 -0700", 26, &t), 0);
    assert_int_equal(t, 837596665);
    assert_int_equal(imap_date_parse(" 1-jan-1970 01:00:00 +0100", 26, &t), 0);
    assert_int_equal(t, 0);
    static const char *const bad[] = {"17-Jul-1996 02:44:25 -070",  "17-Xxx-1996 02:44:25 -0700",
                                      "00-Jul-1996 02:44:25 -0700", "17-Jul-1996 24:44:25 -0700",
                                      "17-Jul-1969 02:44:25 -0700", "17/Jul/1996 02:44:25 -0700",
                                      "17-Jul-1996 02:44:25 x0700", ""};
    t = 7;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(imap_date_parse(bad[i], strlen(bad[i]), &t), ERR_INVALID);
    assert_int_equal(t, 7);
    assert_string_equal(imap_date_day(837596665, day), "17-Jul-1996");
    assert_string_equal(imap_date_day(INT64_MAX, day), "31-Dec-9999");
    assert_string_equal(imap_date_day(-5, day), "01-Jan-1970");
}

static void sets(void **state) {
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

static void quoting(void **state) {
    struct imap_session plain = {0};
    (void)state;
    cleanup(buf) struct buf out = {0};
    assert_int_equal(imap_quote(&plain, "a\"b\\c", 5, &out), 0);
    assert_string_equal(out.data, "\"a\\\"b\\\\c\"");
    static const char *const bad[] = {"a\rb", "a\nb", "a\x01", "caf\xc3\xa9", "\x7f"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(imap_quote(&plain, bad[i], strlen(bad[i]), &out), ERR_INVALID);
    assert_int_equal(imap_quote(&plain, "a\0b", 3, &out), ERR_INVALID);
}

static void flags(void **state) {
    (void)state;
    cleanup(buf) struct buf out = {0};
    assert_int_equal(imap_flags_write(IMAP_SEEN | IMAP_DRAFT | IMAP_DELETED, &out), 0);
    assert_string_equal(out.data, "\\Draft \\Seen \\Deleted");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(dates), cmocka_unit_test(sets),
                                       cmocka_unit_test(quoting), cmocka_unit_test(flags)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
