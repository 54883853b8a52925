/* Evidence from anywhere: nobody has the key of our root, so nothing may ever be proved. */
#include "platform/base/cleanup.h"
#include "platform/base/json.h"
#include "server-api/contract/evidence.h"
#include "server-api/server/domain/ca.h"
#include "tests/fuzz/server/fuzz.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static X509 *root;
    cleanup(EVP_PKEY) EVP_PKEY *key = root ? NULL : key_generate();
    if (!root && !(root = ca_root(key, "Acme")))
        abort();
    cleanup(cJSON) cJSON *json = NULL;
    cleanup(evidence) struct evidence e = {0};
    if (json_parse((const char *)data, size, &json) == 0 && evidence_open(json, root, &e) == 0)
        abort();
    return 0;
}
