/*
 * mounts_parse() on any bytes. The first line of the input is the mount point that is looked for.
 */
#include "platform/base/cleanup.h"
#include "platform/linux/mounts.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *newline = size ? memchr(data, '\n', size) : NULL;
    if (!newline)
        return 0;
    size_t point_len = (size_t)(newline - data), n = size - point_len - 1;
    cleanup(free) char *point = strndup((const char *)data, point_len);
    /* A copy of exactly that size, so that a read beyond it is seen. */
    cleanup(free) char *text = malloc(n ? n : 1);
    assert(point && text);
    memcpy(text, newline + 1, n);
    struct mount m = {.device = 1};
    int r = mounts_parse(text, n, point, &m);
    assert(r == 0 || (r == 1 && m.device == 1));
    if (r == 0)
        assert(strlen(m.fstype) < sizeof m.fstype && strlen(m.source) < sizeof m.source);
    return 0;
}
