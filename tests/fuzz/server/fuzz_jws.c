/* Documents from the network: nobody has our key, so nothing may ever verify. */
#include "platform/base/cleanup.h"
#include "platform/base/json.h"
#include "server-api/contract/receipt.h"
#include "server-api/contract/trust.h"
#include "tests/fuzz/server/fuzz.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static EVP_PKEY *key;
    static char kid[KEY_FINGERPRINT_SIZE] = "pinned";
    if (!key && !(key = key_generate()))
        abort();
    cleanup(cJSON) cJSON *json = NULL, *payload = NULL;
    if (json_parse((const char *)data, size, &json) < 0)
        return 0;
    enum receipt_result result;
    struct trust trust;
    if (jws_verify(json, JWS_TYPE_ORDER, &(struct jws_key){kid, key}, 1, 1, &payload) == 0 ||
        receipt_open(json, key, "d", &result, &payload) == 0 || trust_open(json, key, &trust) == 0)
        abort();
    return 0;
}
