#include "server-api/server/domain/text.h"
#include "platform/base/err.h"
#include "platform/base/utf8.h"

#include <stdbool.h>
#include <string.h>

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
        if (utf8_is_control(code))
            return err_set(ERR_INVALID, "%s: control characters are not allowed", what);
        p += n;
    }
    return 0;
}
