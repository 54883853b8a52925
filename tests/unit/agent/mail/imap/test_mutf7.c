#include "tests/unit/cm.h"

#include "agent/mail/imap/mutf7.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"

#include <string.h>

static void both_ways(void **state) {
    (void)state;
    static const struct {
        const char *wire, *text;
    } cases[] = {
        {"INBOX", "INBOX"},
        {"Entw&APw-rfe", "Entwürfe"},
        {"~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/台北/日本語"}, /* RFC 3501 section 5.1.3 */
        {"Fish &- Chips", "Fish & Chips"},
        {"&2D3cqQ-", "💩"},
        {"&AAE-", "\x01"},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cleanup(buf) struct buf text = {0}, wire = {0};
        assert_int_equal(mutf7_decode(cases[i].wire, strlen(cases[i].wire), &text), 0);
        assert_int_equal(text.len, strlen(cases[i].text));
        if (text.len)
            assert_string_equal(text.data, cases[i].text);
        assert_int_equal(mutf7_encode(cases[i].text, strlen(cases[i].text), &wire), 0);
        if (wire.len)
            assert_string_equal(wire.data, cases[i].wire);
    }
}

static void what_no_encoder_writes_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"&",     "&AP",   "&APw",  "&A-",      "&AP-",       "&APx-",
                                      "&AGE-", "&2D0-", "&3Kk-", "&2D0AQQ-", "&APw-&APw-", "caf\xc3\xa9",
                                      "a\x01", "a\x7f", "&AP!-", "&/-",      "&A&-"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cleanup(buf) struct buf text = {0};
        (void)buf_add_str(&text, "kept");
        assert_int_equal(mutf7_decode(bad[i], strlen(bad[i]), &text), ERR_INVALID);
        assert_string_equal(text.data, "kept");
    }
    static const char *const broken[] = {
        "\xff", "\xc3", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "a\x80", "\xe0\x80\x80"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        cleanup(buf) struct buf wire = {0};
        assert_int_equal(mutf7_encode(broken[i], strlen(broken[i]), &wire), ERR_INVALID);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(both_ways),
                                       cmocka_unit_test(what_no_encoder_writes_is_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
