/* Dates, mailbox names, flag lists. */
#include "tests/unit/cm.h"

#include "agent/mail/imap/date.h"
#include "agent/mail/imap/session.h"
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
    char moment[IMAP_DATE_TIME_SIZE];
    assert_string_equal(imap_date_time(837596665, moment), "17-Jul-1996 09:44:25 +0000");
    assert_int_equal(imap_date_parse(moment, strlen(moment), &t), 0);
    assert_int_equal(t, 837596665);
    assert_string_equal(imap_date_time(INT64_MAX, moment), "31-Dec-9999 23:59:59 +0000");
}

static void quoting(void **state) {
    (void)state;
    struct imap_session plain = {0};
    cleanup(buf) struct buf out = {0};
    assert_int_equal(imap_quote(&plain, "a\"b\\c", 5, &out), 0);
    assert_string_equal(out.data, "\"a\\\"b\\\\c\"");
    static const char *const bad[] = {"a\rb", "a\nb", "a\x01", "caf\xc3\xa9", "\x7f"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(imap_quote(&plain, bad[i], strlen(bad[i]), &out), ERR_INVALID);
    assert_int_equal(imap_quote(&plain, "a\0b", 3, &out), ERR_INVALID);
}

/* Modified UTF-7 here, whatever the connection speaks. */
static void mailboxes(void **state) {
    (void)state;
    struct imap_session plain = {0}, utf8 = {.enabled = IMAP_CAP_UTF8};
    static const char wire[] = "Entw&APw-rfe", text[] = "Entw\xc3\xbcrfe";
    cleanup(buf) struct buf quoted = {0}, name = {0}, same = {0};
    assert_int_equal(imap_quote(&utf8, wire, strlen(wire), &quoted), 0);
    assert_string_equal(quoted.data, "\"Entw\xc3\xbcrfe\"");
    assert_int_equal(imap_mailbox(&utf8, text, strlen(text), &name), 0);
    assert_string_equal(name.data, wire);
    assert_int_equal(imap_mailbox(&plain, wire, strlen(wire), &same), 0);
    assert_string_equal(same.data, wire);
    assert_int_equal(imap_quote(&utf8, "a&bad", 5, &quoted), ERR_INVALID);
    assert_int_equal(imap_quote(&utf8, "a&AAo-", 6, &quoted), ERR_INVALID); /* a line feed */
    assert_int_equal(imap_mailbox(&utf8, "\xc3", 1, &name), ERR_INVALID);
    assert_int_equal(imap_mailbox(&plain, "a&bad", 5, &same), ERR_INVALID);
    assert_int_equal(imap_mailbox(&plain, text, strlen(text), &same), ERR_INVALID);
    assert_string_equal(name.data, wire);
    assert_string_equal(same.data, wire);
}

static void flags(void **state) {
    (void)state;
    cleanup(buf) struct buf out = {0};
    assert_int_equal(imap_flags_write(IMAP_SEEN | IMAP_DRAFT | IMAP_DELETED, &out), 0);
    assert_string_equal(out.data, "\\Draft \\Seen \\Deleted");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(dates), cmocka_unit_test(mailboxes),
                                       cmocka_unit_test(quoting), cmocka_unit_test(flags)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
