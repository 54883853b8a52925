#include "server-api/contract/order.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/base/json.h"

#include <stdio.h>
#include <string.h>

static const char *const order_kinds[] = {
    [ORDER_WIPE] = "wipe", [ORDER_LOCK] = "lock", [ORDER_UNLOCK] = "unlock"};

const char *order_kind_name(enum order_kind kind) {
    return order_kinds[kind];
}

cJSON *order_make(const struct order *o) {
    char at[CLOCK_RFC3339_SIZE];
    cleanup(cJSON) cJSON *payload = cJSON_CreateObject();
    if (json_add_str(payload, "type", "order") < 0 || json_add_str(payload, "id", o->id) < 0 ||
        json_add_str(payload, "device", o->device) < 0 ||
        json_add_int(payload, "sequence", o->sequence) < 0 ||
        json_add_str(payload, "kind", order_kinds[o->kind]) < 0 ||
        json_add_str(payload, "reason", o->reason) < 0 ||
        json_add_str(payload, "ordered_at", clock_rfc3339(o->ordered_at, at)) < 0)
        return NULL;
    return steal(payload);
}

int order_read(const cJSON *payload, struct order *ret) {
    const char *type = json_str(payload, "type"), *id = "", *device = "", *kind = "", *at = "";
    if (!type || strcmp(type, "order") != 0)
        return err_set(ERR_INVALID, "not an order");
    struct order o = {0};
    int r = json_need_str(payload, "id", ORDER_ID_MAX, &id);
    if (r == 0)
        r = json_need_str(payload, "device", ORDER_ID_MAX, &device);
    if (r == 0)
        r = json_need_str(payload, "kind", 32, &kind);
    if (r == 0)
        r = json_need_str(payload, "ordered_at", 40, &at);
    if (r == 0)
        r = json_need_int(payload, "sequence", 1, INT64_C(1) << 53, &o.sequence);
    if (r < 0)
        return r;
    o.ordered_at = clock_parse_rfc3339(at);
    if (o.ordered_at < 0)
        return (int)o.ordered_at;
    const char *reason = json_str(payload, "reason");
    (void)snprintf(o.id, sizeof o.id, "%s", id);
    (void)snprintf(o.device, sizeof o.device, "%s", device);
    (void)snprintf(o.reason, sizeof o.reason, "%s", reason ? reason : "");
    for (size_t i = 0; i < sizeof order_kinds / sizeof *order_kinds; i++)
        if (strcmp(order_kinds[i], kind) == 0) {
            o.kind = (enum order_kind)i;
            *ret = o;
            return 0;
        }
    return err_set(ERR_REFUSED, "an order of the unknown kind \"%s\"", kind);
}
