/* Reports of devices, and orders: what is accepted is accepted again, unchanged, and has nothing that was not
 * asked for. */
#include "platform/base/cleanup.h"
#include "platform/base/json.h"
#include "server-api/contract/order.h"
#include "server-api/contract/report.h"
#include "tests/fuzz/server/fuzz.h"

#include <stdlib.h>
#include <string.h>

static void fuzz_order(const cJSON *json) {
    struct order order, again;
    if (order_read(json, &order) < 0)
        return;
    cleanup(cJSON) cJSON *payload = order_make(&order);
    if (!payload || order_read(payload, &again) < 0 || strcmp(order.id, again.id) != 0 ||
        order.kind != again.kind || order.sequence != again.sequence || order.sequence < 1)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    cleanup(cJSON) cJSON *json = NULL, *kept = NULL, *again = NULL;
    if (json_parse((const char *)data, size, &json) < 0)
        return 0;
    fuzz_order(json);
    if (report_normalize(json, &kept) < 0)
        return 0;
    if (report_normalize(kept, &again) < 0 || !cJSON_Compare(kept, again, true))
        abort();
    return 0;
}
