/* The parser: legal forms, whatever the pieces they arrive in; caps; rubbish. */
#include "tests/unit/cm.h"

#include "agent/mail/imap/session.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"

#include <string.h>

static void parser_cleanup(struct imap_parser *p) {
    imap_parser_finish(p);
}

/* Feeds in pieces of `step` bytes up to the first event. */
static int feed(struct imap_parser *p, const char *text, size_t n, size_t step) {
    int r = IMAP_EVENT_MORE;
    for (size_t at = 0; at < n && r == IMAP_EVENT_MORE;) {
        size_t used = 0;
        r = imap_parser_feed(p, text + at, n - at < step ? n - at : step, &used);
        at += used;
        assert_true(used > 0 || r < 0);
        if (r == IMAP_EVENT_RESPONSE)
            assert_int_equal(at, n);
    }
    return r;
}

static void assert_text(const struct imap_parser *p, uint32_t i, const char *expected) {
    assert_true(i < p->count);
    assert_int_equal(p->nodes[i].len, strlen(expected));
    assert_memory_equal(imap_node_text(p, &p->nodes[i]), expected, strlen(expected));
}

static void fetch_in_any_pieces(void **state) {
    (void)state;
    static const char text[] =
        "* 12 FETCH (UID 4294967295 FLAGS (\\Seen $Forwarded) BODY[HEADER.FIELDS (A \"B\")] {7}\r\n"
        "a\r\n)\"\0x INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" X NIL Y \"q\\\"\\\\\" BODY[]<0> "
        "{0}\r\n)\r\n";
    for (size_t step = 1; step < sizeof text; step++) {
        cleanup(parser) struct imap_parser p;
        uint64_t number = 0;
        imap_parser_init(&p);
        assert_int_equal(feed(&p, text, sizeof text - 1, step), IMAP_EVENT_RESPONSE);
        assert_true(imap_is_numbered(&p, "fetch", &number));
        assert_int_equal(number, 12);
        assert_true(imap_node_number(&p, imap_attribute(&p, 2, "UID"), &number));
        assert_int_equal(number, UINT32_MAX);
        assert_int_equal(imap_flags(&p, imap_attribute(&p, 2, "FLAGS")), IMAP_SEEN);
        const struct imap_node *body = imap_attribute(&p, 2, "BODY[HEADER.FIELDS (A \"B\")]");
        assert_non_null(body);
        assert_int_equal(body->len, 7);
        assert_memory_equal(imap_node_text(&p, body), "a\r\n)\"\0x", 7);
        assert_int_equal(imap_attribute(&p, 2, "X")->type, IMAP_NIL);
        assert_int_equal(imap_attribute(&p, 2, "Y")->len, 3);
        assert_int_equal(imap_attribute(&p, 2, "BODY[]<0>")->len, 0);
        assert_null(imap_attribute(&p, 2, "Z"));
    }
}

static void status_lines(void **state) {
    (void)state;
    cleanup(parser) struct imap_parser p;
    imap_parser_init(&p);
    static const char code[] = "* OK [PERMANENTFLAGS (\\Seen \\*)] with (odd \"text {9}\r\n";
    assert_int_equal(feed(&p, code, strlen(code), 3), IMAP_EVENT_RESPONSE);
    assert_int_equal(p.nodes[1].type, IMAP_CODE);
    assert_text(&p, 2, "PERMANENTFLAGS");
    assert_int_equal(p.info_len, strlen(" with (odd \"text {9}"));
    static const char *const good[] = {"* OK [HIGHESTMODSEQ 9223372036854775807]\r\n",
                                       "a1 OK\r\n",
                                       "a1 NO text\n",
                                       "* BYE [ALERT]\r\n",
                                       "* OK [COPYUID 14  ] x\r\n",
                                       "+\r\n",
                                       "+ idling\r\n",
                                       "* 5 EXISTS \r\n",
                                       "* LIST () NIL {5}\r\nINBOX\r\n",
                                       "* SEARCH\r\n"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        for (size_t step = 1; step < 50; step++)
            assert_int_equal(feed(&p, good[i], strlen(good[i]), step), IMAP_EVENT_RESPONSE);
    assert_int_equal(feed(&p, "a77 BAD x\r\n", 11, 1), IMAP_EVENT_RESPONSE);
    assert_int_equal(p.line, IMAP_LINE_TAGGED);
    assert_string_equal(p.tag, "a77");
}

static void long_literal_is_streamed(void **state) {
    (void)state;
    cleanup(parser) struct imap_parser p;
    imap_parser_init(&p);
    static const char head[] = "* 1 FETCH (BODY[] {200000}\r\n", tail[] = " UID 3)\r\n";
    size_t used = 0, got = 0;
    char piece[7777];
    memset(piece, 'x', sizeof piece);
    assert_int_equal(imap_parser_feed(&p, head, sizeof head - 1, &used), IMAP_EVENT_LITERAL);
    assert_int_equal(p.literal_left, 200000);
    assert_text(&p, p.count - 2, "BODY[]");
    while (got < 200000) {
        size_t n = 200000 - got < sizeof piece ? 200000 - got : sizeof piece;
        assert_int_equal(imap_parser_feed(&p, piece, n, &used), IMAP_EVENT_DATA);
        assert_int_equal(used, n);
        assert_ptr_equal(p.chunk, piece);
        got += p.chunk_len;
    }
    assert_int_equal(p.literal_left, 0);
    assert_int_equal(imap_parser_feed(&p, tail, sizeof tail - 1, &used), IMAP_EVENT_RESPONSE);
    assert_int_equal(imap_attribute(&p, 2, "BODY[]")->type, IMAP_STREAM);
    assert_true(p.text.cap < 4096);
}

/* The attribute names with brackets, as servers write them. */
static void attributes_with_brackets(void **state) {
    (void)state;
    static const char text[] = "* 3 FETCH (BODY[] {3}\r\nabc BODY[]<0> \"de\" BODY[]<524288> {1}\r\nf "
                               "BODY[HEADER.FIELDS (\"MESSAGE-ID\" X)]<7> NIL BINARY[1.2]<0> g UID 9)\r\n";
    for (size_t step = 1; step < 60; step++) {
        cleanup(parser) struct imap_parser p;
        imap_parser_init(&p);
        assert_int_equal(feed(&p, text, strlen(text), step), IMAP_EVENT_RESPONSE);
        static const struct {
            const char *key;
            uint32_t len;
        } expected[] = {
            {"BODY[]", 3}, {"body[]<0>", 2}, {"BODY[]<524288>", 1}, {"BINARY[1.2]<0>", 1}, {"UID", 1}};
        for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
            const struct imap_node *value = imap_attribute(&p, 2, expected[i].key);
            assert_non_null(value);
            assert_int_equal(value->len, expected[i].len);
        }
        assert_int_equal(imap_attribute(&p, 2, "BODY[HEADER.FIELDS (\"MESSAGE-ID\" X)]<7>")->type, IMAP_NIL);
        assert_null(imap_attribute(&p, 2, "BODY[]<1>"));
        assert_null(imap_attribute(&p, 2, "BODY"));
    }
}

/* SEARCH of a large mailbox is one line; its memory does not stay. */
static void long_lines(void **state) {
    (void)state;
    cleanup(parser) struct imap_parser p;
    cleanup(buf) struct buf line = {0};
    uint64_t number = 0;
    imap_parser_init(&p);
    assert_int_equal(buf_add_str(&line, "* SEARCH"), 0);
    for (int i = 0; i < 500000; i++)
        assert_int_equal(buf_printf(&line, " %d", 1000000 + i), 0);
    assert_int_equal(buf_add_str(&line, "\r\n"), 0);
    assert_int_equal(feed(&p, line.data, line.len, 65536), IMAP_EVENT_RESPONSE);
    assert_int_equal(p.count, 500001);
    assert_true(imap_node_number(&p, &p.nodes[500000], &number));
    assert_int_equal(number, 1499999);
    buf_clear(&line);
    assert_int_equal(buf_add_str(&line, "* ESEARCH (TAG \"a1\") UID ALL 1"), 0);
    for (int i = 1; i < 100000; i++)
        assert_int_equal(buf_printf(&line, ",%d", 100000 + 2 * i), 0);
    assert_int_equal(buf_add_str(&line, "\r\n"), 0);
    assert_int_equal(feed(&p, line.data, line.len, 65536), IMAP_EVENT_RESPONSE);
    assert_text(&p, 5, "ALL");
    assert_int_equal(p.nodes[6].len, line.len - strlen("* ESEARCH (TAG \"a1\") UID ALL \r\n"));
    assert_int_equal(feed(&p, "* 1 EXISTS\r\n", 12, 100), IMAP_EVENT_RESPONSE);
    assert_true(p.allocated < 1000);
    assert_true(p.text.cap < 65536);
}

static void rubbish_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "\r\n",
        "* \r\n",
        " x\r\n",
        "* (a\r\n",
        "* a)\r\n",
        "* \"a\r\n",
        "* \"a\\\r\n",
        "* {}\r\n",
        "* {-1}\r\n",
        "* {12\r\n",
        "* {1}x",
        "* {99999999999999999999}\r\n",
        "* {9999999999999}\r\n",
        "* BODY[a\r\n",
        "* a\rb\r\n",
        "* OK [CODE\r\n",
        "* OK [a)] x\r\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cleanup(parser) struct imap_parser p;
        imap_parser_init(&p);
        int r = feed(&p, bad[i], strlen(bad[i]), 1);
        assert_true(r == ERR_PROTOCOL || r == ERR_TOO_LARGE);
    }
    cleanup(parser) struct imap_parser p;
    imap_parser_init(&p);
    assert_int_equal(feed(&p, "* a\0b\r\n", 7, 1), ERR_PROTOCOL);
}

/* Repeats `unit` behind "* " until the parser gives up. */
static int endless(const char *unit) {
    cleanup(parser) struct imap_parser p;
    size_t used = 0;
    imap_parser_init(&p);
    int r = imap_parser_feed(&p, "* ", 2, &used);
    for (int i = 0; r == 0 && i < 20000000; i++)
        r = imap_parser_feed(&p, unit, strlen(unit), &used);
    return r;
}

static void caps_hold(void **state) {
    (void)state;
    assert_int_equal(endless("x"), ERR_TOO_LARGE);
    assert_int_equal(endless(" "), ERR_TOO_LARGE);
    assert_int_equal(endless("("), ERR_TOO_LARGE);
    assert_int_equal(endless("a "), ERR_TOO_LARGE);
    assert_int_equal(endless("() "), ERR_TOO_LARGE);
    assert_int_equal(endless("{3}\r\nabc "), ERR_TOO_LARGE);
    assert_int_equal(endless("{0}\r\n"), ERR_TOO_LARGE);
}

static void numbers(void **state) {
    (void)state;
    cleanup(parser) struct imap_parser p;
    uint64_t number = 7;
    imap_parser_init(&p);
    static const char text[] =
        "* 9223372036854775807 9223372036854775808 -1 1x 18446744073709551617 00012 NIL\r\n";
    assert_int_equal(feed(&p, text, strlen(text), 100), IMAP_EVENT_RESPONSE);
    assert_true(imap_node_number(&p, &p.nodes[0], &number));
    assert_true(number == INT64_MAX);
    for (uint32_t i = 1; i < 5; i++)
        assert_false(imap_node_number(&p, &p.nodes[i], &number));
    assert_true(imap_node_number(&p, &p.nodes[5], &number) && number == 12);
    assert_false(imap_node_number(&p, &p.nodes[6], &number));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fetch_in_any_pieces),
        cmocka_unit_test(status_lines),
        cmocka_unit_test(long_literal_is_streamed),
        cmocka_unit_test(attributes_with_brackets),
        cmocka_unit_test(long_lines),
        cmocka_unit_test(rubbish_is_refused),
        cmocka_unit_test(caps_hold),
        cmocka_unit_test(numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
