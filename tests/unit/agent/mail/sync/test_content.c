#include "tests/unit/cm.h"

#include "agent/mail/sync/content.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static int file_of(const char *text, size_t n) {
    int fd = memfd_create("content", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, n), (ssize_t)n);
    return fd;
}

static int collect(void *ctx, const char *data, size_t n) {
    return buf_add(ctx, data, n);
}

static void as_it_is_sent(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"", ""},
        {"a", "a\r\n"},
        {"a\n", "a\r\n"},
        {"a\r\n", "a\r\n"},
        {"a\r", "a\r\n"},
        {"a\n\nb\r\nc", "a\r\n\r\nb\r\nc\r\n"},
        {"a\rb\n", "a\rb\r\n"},
        {"\n", "\r\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cleanup(fd) int fd = file_of(cases[i][0], strlen(cases[i][0]));
        cleanup(buf) struct buf out = {0};
        struct content c;
        size_t n = strlen(cases[i][1]);
        assert_int_equal(content_measure(fd, &c), 0);
        assert_int_equal(c.size, strlen(cases[i][0]));
        assert_int_equal(c.crc, content_crc(0, cases[i][0], strlen(cases[i][0])));
        assert_int_equal(c.wire_size, n);
        assert_int_equal(c.wire_crc, content_crc(0, cases[i][1], n));
        assert_int_equal(content_send(fd, c.wire_size, collect, &out), 0);
        assert_int_equal(out.len, n);
        assert_true(n == 0 || memcmp(out.data, cases[i][1], n) == 0);
        if (n) /* announced more than there is */
            assert_int_equal(content_send(fd, n + 1, collect, &out), ERR_PROTOCOL);
    }
}

/* Line ends on the border of two pieces. */
static void in_pieces(void **state) {
    (void)state;
    for (size_t n = 65534; n < 65540; n++) {
        cleanup(free) char *text = malloc(2 * n);
        cleanup(buf) struct buf out = {0};
        assert_non_null(text);
        memset(text, 'x', 2 * n);
        text[n - 1] = '\r';
        text[n] = '\n';
        text[2 * n - 1] = '\n';
        cleanup(fd) int fd = file_of(text, 2 * n);
        struct content c;
        assert_int_equal(content_measure(fd, &c), 0);
        assert_int_equal(c.wire_size, 2 * n + 1);
        assert_int_equal(content_send(fd, c.wire_size, collect, &out), 0);
        assert_int_equal(out.len, 2 * n + 1);
        assert_memory_equal(out.data, text, 2 * n - 1);
        assert_memory_equal(out.data + 2 * n - 1, "\r\n", 2);
    }
}

static void message_ids(void **state) {
    (void)state;
    static const char one[] = "Subject: x\r\nMessage-ID: <a@b>\r\n\r\nbody";
    uint64_t id = content_id(one, sizeof one - 1);
    assert_int_not_equal(id, 0);
    static const char *const same[] = {"message-id:<a@b>\n\n", "MESSAGE-ID:\r\n <a@b> (x)\r\n",
                                       "Message-ID: <a@\r\n b>\r\n"};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(content_id(same[i], strlen(same[i])), id);
    static const char *const none[] = {"", "x", "\r\nMessage-ID: <a@b>\r\n", "X-Message-ID: <a@b>\r\n",
                                       "Message-ID"};
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(content_id(none[i], strlen(none[i])), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_it_is_sent), cmocka_unit_test(in_pieces),
                                       cmocka_unit_test(message_ids)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
