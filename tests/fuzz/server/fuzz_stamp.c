/* The server's signed time, from a header of anybody: nobody has our key, so no time may ever be taken. */
#include "platform/base/cleanup.h"
#include "server-api/contract/stamp.h"
#include "tests/fuzz/server/fuzz.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static EVP_PKEY *key;
    static char kid[KEY_FINGERPRINT_SIZE] = "pinned";
    if (!key && !(key = key_generate()))
        abort();
    struct trust trust = {.version = 1};
    for (int use = 0; use < TRUST_USES; use++) {
        trust.n[use] = 1;
        trust.keys[use][0] = (struct jws_key){.kid = kid, .key = key};
    }
    cleanup(free) char *text = strndup((const char *)data, size);
    int64_t ms;
    if (text && stamp_open(&trust, text, &ms) == 0)
        abort();
    return 0;
}
