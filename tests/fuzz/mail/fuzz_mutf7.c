/* What decodes must encode to the same bytes, and what encodes must decode to the same text. */
#include "agent/mail/imap/mutf7.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check(int (*first)(const char *, size_t, struct buf *),
                  int (*second)(const char *, size_t, struct buf *), const char *text, size_t n) {
    struct buf there = {0}, back = {0};
    if (first(text, n, &there) == 0 && (second(there.len ? there.data : "", there.len, &back) != 0 ||
                                        back.len != n || (n > 0 && memcmp(back.data, text, n) != 0)))
        abort();
    buf_finish(&there);
    buf_finish(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    check(mutf7_decode, mutf7_encode, (const char *)data, n);
    check(mutf7_encode, mutf7_decode, (const char *)data, n);
    return 0;
}
