#include "server-api/server/domain/text.h"
#include "platform/base/err.h"
#include "platform/base/utf8.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

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
        size_t n = utf8_sequence(p, &code);
        if (n == 0)
            return err_set(ERR_INVALID, "%s: is not UTF-8", what);
        if (text_forbidden(code))
            return err_set(ERR_INVALID, "%s: control characters are not allowed", what);
        p += n;
    }
    return 0;
}
