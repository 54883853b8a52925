/* The compressor: both ways, in any pieces, bounded, and against rubbish. */
#include "tests/unit/cm.h"

#include "agent/mail/imap/compress.h"
#include "platform/base/buf.h"
#include "platform/base/cleanup.h"
#include "platform/base/err.h"

#include <stdlib.h>
#include <string.h>

static void compressor_cleanup(struct imap_compressor **z) {
    imap_compressor_free(*z);
}

static void pack(struct imap_compressor *z, const char *data, size_t n, size_t step, struct buf *ret) {
    char out[4096];
    size_t made = 0;
    imap_compressor_put(z, data, n);
    do {
        assert_int_equal(imap_compressor_pack(z, out, step, &made), 0);
        assert_int_equal(buf_add(ret, out, made), 0);
    } while (made > 0);
}

/* Unpacks in pieces of `step` into pieces of `max`. */
static int unpack(struct imap_compressor *z, const struct buf *in, size_t step, size_t max, struct buf *ret) {
    char out[4096];
    for (size_t at = 0; at < in->len; at += step) {
        size_t made = 0;
        imap_compressor_feed(z, in->data + at, in->len - at < step ? in->len - at : step);
        do {
            int r = imap_compressor_unpack(z, out, max, &made);
            if (r < 0)
                return r;
            assert_true(made <= max);
            assert_int_equal(buf_add(ret, out, made), 0);
        } while (made > 0);
    }
    return 0;
}

static void both_ways_in_any_pieces(void **state) {
    (void)state;
    static const char line[] = "a1 UID FETCH 1:* (UID FLAGS)\r\n";
    cleanup(buf) struct buf text = {0};
    for (int i = 0; i < 400; i++)
        assert_int_equal(buf_printf(&text, "* %d FETCH (UID %d FLAGS (\\Seen))\r\n", i, i * i), 0);
    for (size_t step = 8; step < 4096; step = step * 3 + 1) {
        cleanup(compressor) struct imap_compressor *a = NULL, *b = NULL;
        cleanup(buf) struct buf packed = {0}, got = {0};
        assert_int_equal(imap_compressor_new(&a), 0);
        assert_int_equal(imap_compressor_new(&b), 0);
        pack(a, line, sizeof line - 1, step, &packed);
        assert_int_equal(unpack(b, &packed, step, 7, &got), 0);
        assert_int_equal(got.len, sizeof line - 1); /* flushed: all of it is there at once */
        buf_clear(&packed);
        pack(a, text.data, text.len, step, &packed);
        assert_true(packed.len < text.len / 2);
        assert_int_equal(unpack(b, &packed, step, step, &got), 0);
        assert_int_equal(got.len, sizeof line - 1 + text.len);
        assert_memory_equal(got.data, line, sizeof line - 1);
        assert_memory_equal(got.data + sizeof line - 1, text.data, text.len);
    }
}

static void nothing_to_pack(void **state) {
    (void)state;
    cleanup(compressor) struct imap_compressor *z = NULL;
    cleanup(buf) struct buf packed = {0};
    assert_int_equal(imap_compressor_new(&z), 0);
    pack(z, "", 0, 100, &packed);
    assert_int_equal(packed.len, 0);
}

static void bomb_comes_in_small_pieces(void **state) {
    (void)state;
    cleanup(compressor) struct imap_compressor *a = NULL, *b = NULL;
    cleanup(buf) struct buf packed = {0};
    cleanup(free) char *zeros = calloc(1, 1 << 20);
    char out[4096];
    size_t made = 0, total = 0;
    assert_non_null(zeros);
    assert_int_equal(imap_compressor_new(&a), 0);
    assert_int_equal(imap_compressor_new(&b), 0);
    for (int i = 0; i < 16; i++)
        pack(a, zeros, 1 << 20, sizeof out, &packed);
    assert_true(packed.len < 64000); /* a thousandth */
    imap_compressor_feed(b, packed.data, packed.len);
    do {
        assert_int_equal(imap_compressor_unpack(b, out, sizeof out, &made), 0);
        total += made;
    } while (made > 0);
    assert_int_equal(total, 16 << 20);
}

static void rubbish_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"* OK in the clear\r\n", "\xff\xff\xff\xff", "\x03"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cleanup(compressor) struct imap_compressor *z = NULL;
        cleanup(buf) struct buf in = {0}, got = {0};
        assert_int_equal(imap_compressor_new(&z), 0);
        assert_int_equal(buf_add_str(&in, bad[i]), 0);
        if (i == 2) /* a stream that ends, and goes on */
            assert_int_equal(buf_add(&in, "\0abc", 4), 0);
        assert_int_equal(unpack(z, &in, 100, 100, &got), ERR_PROTOCOL);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ways_in_any_pieces),
        cmocka_unit_test(nothing_to_pack),
        cmocka_unit_test(bomb_comes_in_small_pieces),
        cmocka_unit_test(rubbish_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
