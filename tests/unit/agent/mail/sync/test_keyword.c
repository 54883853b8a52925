#include "tests/unit/cm.h"

#include "agent/mail/sync/keyword.h"
#include "platform/base/cleanup.h"

#include <stdio.h>
#include <string.h>

static void from_a_file(void **state) {
    (void)state;
    struct keywords k = {0};
    cleanup(buf) struct buf text = {0};
    static const char file[] =
        "0 NonJunk\n1 $Label1\r\n\nx y\n26 TooFar\n3 with space\n4 \\Seen\n5 $forwarded\n25 Last";
    keyword_parse(&k, file, sizeof file - 1);
    assert_int_equal(keyword_text(&k, &text), 0);
    assert_string_equal(text.data, "0 NonJunk\n1 $Label1\n25 Last\n");
    keyword_parse(&k, "0 Other\n7 nonjunk\n", 18); /* what is there stays */
    assert_string_equal(k.names[0], "NonJunk");
    assert_null(k.names[7]);
    assert_int_equal(keyword_place(&k, 7, "nonjunk"), 0);
    assert_int_equal(keyword_place(&k, 7, "Seven"), 7);
    assert_int_equal(keyword_place(&k, 0, "Other"), 2);
    keyword_finish(&k);
}

static void slots(void **state) {
    (void)state;
    struct keywords k = {0};
    char name[16];
    for (int i = 0; i < FLAGS_SLOTS; i++) {
        int n = snprintf(name, sizeof name, "Key%d", i);
        assert_int_equal(keyword_slot(&k, name, (size_t)n, true), i);
    }
    assert_int_equal(keyword_slot(&k, "key7", 4, false), 7);
    assert_int_equal(keyword_slot(&k, "OneMore", 7, true), -1);
    assert_int_equal(keyword_slot(&k, "$Forwarded", 10, true), -1);
    assert_int_equal(keyword_slot(&k, "a b", 3, true), -1);
    assert_int_equal(keyword_slot(&k, "", 0, true), -1);
    keyword_finish(&k);
}

static void to_and_from_the_wire(void **state) {
    (void)state;
    struct keywords k = {0};
    struct imap_parser p;
    cleanup(buf) struct buf out = {0};
    size_t used = 0;
    static const char line[] = "* 1 FETCH (FLAGS (\\Seen \\Recent $Forwarded NonJunk $MDNSent))\r\n";
    imap_parser_init(&p);
    assert_int_equal(imap_parser_feed(&p, line, sizeof line - 1, &used), IMAP_EVENT_RESPONSE);
    uint32_t flags = keyword_flags(&k, &p, imap_attribute(&p, 2, "FLAGS"));
    assert_int_equal(flags, IMAP_SEEN | FLAGS_FORWARDED | FLAGS_SLOT(0) | FLAGS_SLOT(1));
    assert_int_equal(keyword_write(&k, flags | FLAGS_SLOT(9), &out), 0);
    assert_string_equal(out.data, "\\Seen $Forwarded NonJunk $MDNSent");
    imap_parser_finish(&p);
    keyword_finish(&k);
}

static void what_can_be_kept(void **state) {
    (void)state;
    struct keywords k = {0};
    struct imap_session s = {.permanent = IMAP_SEEN};
    (void)keyword_slot(&k, "NonJunk", 7, true);
    (void)keyword_slot(&k, "Other", 5, true);
    assert_int_equal(keyword_mask(&k, &s), IMAP_SEEN);
    assert_int_equal(buf_add(&s.keywords, "nonjunk\0$Forwarded", 19), 0);
    assert_int_equal(keyword_mask(&k, &s), IMAP_SEEN | FLAGS_SLOT(0) | FLAGS_FORWARDED);
    s.permanent_any = true;
    assert_int_equal(keyword_mask(&k, &s), IMAP_SEEN | FLAGS_SLOT(0) | FLAGS_SLOT(1) | FLAGS_FORWARDED);
    buf_finish(&s.keywords);
    keyword_finish(&k);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(from_a_file), cmocka_unit_test(slots),
                                       cmocka_unit_test(to_and_from_the_wire),
                                       cmocka_unit_test(what_can_be_kept)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
