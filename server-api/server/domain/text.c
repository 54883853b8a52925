#include "server-api/server/domain/text.h"
#include "platform/base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Length of the well-formed UTF-8 sequence (RFC 3629) at `p`, its code point in *ret; 0 when malformed. */
static size_t text_sequence(const unsigned char *p, uint32_t *ret) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = p[0] < 0x80 ? 1 : p[0] >> 5 == 6 ? 2 : p[0] >> 4 == 14 ? 3 : p[0] >> 3 == 30 ? 4 : 0;
    if (n == 0)
        return 0;
    uint32_t code = n == 1 ? p[0] : p[0] & (0x7fU >> n);
    for (size_t i = 1; i < n; i++) {
        if (p[i] >> 6 != 2)
            return 0;
        code = code << 6 | (p[i] & 63U);
    }
    if (code < least[n] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
        return 0;
    *ret = code;
    return n;
}

/* Controls, and what turns the direction of a line round or breaks it. */
static bool text_forbidden(uint32_t code) {
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || (code >= 0x200e && code <= 0x200f) ||
           (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

int text_check(const char *what, const char *text, size_t max) {
    size_t size = strlen(text);
    if (size == 0 || size > max)
        return err_set(ERR_INVALID, "%s: must have 1 to %zu bytes", what, max);
    const unsigned char *p = (const unsigned char *)text;
    while (*p) {
        uint32_t code;
        size_t n = text_sequence(p, &code);
        if (n == 0)
            return err_set(ERR_INVALID, "%s: is not UTF-8", what);
        if (text_forbidden(code))
            return err_set(ERR_INVALID, "%s: control characters are not allowed", what);
        p += n;
    }
    return 0;
}
