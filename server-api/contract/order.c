#include "server-api/contract/order.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/base/json.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name, *words;
} order_kinds[ORDER_KINDS] = {
    [ORDER_WIPE] = {"wipe", "Remove the organization's mail, account and secrets from this device."},
    [ORDER_LOCK] = {"lock", "Close the vault: the mail stays here, encrypted, and cannot be read until the "
                            "organization unlocks it."},
    [ORDER_UNLOCK] = {"unlock", "Let the vault be opened again."}};

const char *order_kind_name(enum order_kind kind) {
    return order_kinds[kind].name;
}

const char *order_kind_words(enum order_kind kind) {
    return order_kinds[kind].words;
}

int order_kind_of(const char *name, enum order_kind *ret) {
    for (int i = 0; i < ORDER_KINDS; i++)
        if (strcmp(order_kinds[i].name, name) == 0) {
            *ret = (enum order_kind)i;
            return 0;
        }
    return err_set(ERR_REFUSED, "an order of the unknown kind \"%s\"", name);
}

cJSON *order_make(const struct order *o) {
    char at[CLOCK_RFC3339_SIZE];
    cleanup(cJSON) cJSON *payload = cJSON_CreateObject();
    if (json_add_str(payload, "type", "order") < 0 || json_add_str(payload, "id", o->id) < 0 ||
        json_add_str(payload, "device", o->device) < 0 ||
        json_add_int(payload, "sequence", o->sequence) < 0 ||
        json_add_str(payload, "kind", order_kinds[o->kind].name) < 0 ||
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
    r = order_kind_of(kind, &o.kind);
    if (r == 0)
        *ret = o;
    return r;
}
