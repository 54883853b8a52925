/* An enrollment link that a person pasted. */
#include "platform/base/cleanup.h"
#include "server-api/contract/link.h"
#include "tests/fuzz/server/fuzz.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    cleanup(free) char *text = malloc(size + 1);
    struct link l;
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    if (link_parse(text, &l) == 0 && (link_check_base(l.base) < 0 || strlen(l.code) != LINK_CODE_SIZE - 1 ||
                                      strlen(l.fingerprint) != KEY_FINGERPRINT_SIZE - 1))
        abort();
    return 0;
}
