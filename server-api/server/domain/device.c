#include "server-api/server/domain/device.h"
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/base/json.h"
#include "server-api/contract/report.h"
#include "server-api/server/domain/audit.h"
#include "server-api/server/domain/ordering.h"
#include "server-api/server/domain/text.h"

#include <stdio.h>
#include <string.h>

#define REPORT_ORDERS_MAX 64

void device_view_finish(struct device_view *view) {
    free(view->profile);
    buf_finish(&view->orders);
    *view = (struct device_view){0};
}

struct viewing {
    const char *id;
    int64_t trust_version;
    struct device_view view;
};

static int viewing_order(const struct store_order *order, void *arg) {
    struct device_view *view = arg;
    int r = view->orders_count++ ? buf_add(&view->orders, ",", 1) : 0;
    return r < 0 ? r : buf_add_str(&view->orders, order->jws);
}

static int viewing_body(struct store_tx *tx, void *arg) {
    struct viewing *v = arg;
    cleanup(store_device) struct store_device device = {0};
    cleanup(store_profile) struct store_profile profile = {0};
    int r = store_device_get(tx, v->id, &device);
    if (r == 0)
        r = store_order_each_open(tx, v->id, viewing_order, &v->view);
    if (r == 0 && device_state_managed(device.state))
        r = store_profile_get(tx, 0, &profile);
    if (r < 0 && r != ERR_NOT_FOUND)
        return r;
    if (!device.id[0])
        return r;
    v->view.state = device.state;
    v->view.profile = profile.jws;
    profile.jws = NULL;
    (void)snprintf(v->view.tag, sizeof v->view.tag, "%s.t%lld.p%lld.o%lld.%lld",
                   device_state_name(device.state), (long long)v->trust_version, (long long)profile.version,
                   (long long)device.order_sequence, (long long)v->view.orders_count);
    return 0;
}

int device_view_read(struct store *s, const struct organization *o, const char *id, struct device_view *ret) {
    struct viewing v = {.id = id, .trust_version = o->trust_version};
    int r = store_read(s, viewing_body, &v);
    if (r < 0) {
        device_view_finish(&v.view);
        return r;
    }
    *ret = v.view;
    return 0;
}

struct reporting {
    const char *id, *os, *agent_version;
    const char *text; /* NULL: orders only */
    const cJSON *orders;
    bool changed;
};

static int reporting_body(struct store_tx *tx, void *arg) {
    struct reporting *g = arg;
    const cJSON *item;
    int r =
        g->text ? store_device_set_report(tx, g->id, g->os, g->agent_version, g->text, clock_real_ms()) : 0;
    g->changed = false;
    for (item = g->orders ? g->orders->child : NULL; item && r == 0; item = item->next) {
        bool changed = false;
        const char *text = json_str(item, "text");
        r = ordering_reported(tx, g->id, json_str(item, "id"), json_str(item, "state"), text ? text : "",
                              &changed);
        g->changed = g->changed || changed;
    }
    return r;
}

static int report_check_orders(const cJSON *orders) {
    if (cJSON_GetArraySize(orders) > REPORT_ORDERS_MAX)
        return err_set(ERR_INVALID, "orders: more than %d", REPORT_ORDERS_MAX);
    const cJSON *item;
    cJSON_ArrayForEach(item, orders) {
        const char *id = json_str(item, "id"), *state = json_str(item, "state"),
                   *text = json_str(item, "text");
        if (!id || strlen(id) > ORDER_ID_MAX || !state ||
            (strcmp(state, "delivered") != 0 && strcmp(state, "refused") != 0))
            return err_set(ERR_INVALID, "orders: each must have an id and the state delivered or refused");
        int r = text && text[0] ? text_check("orders: text", text, ORDER_TEXT_MAX) : 0;
        if (r < 0)
            return r;
    }
    return 0;
}

int device_report(struct store *s, const char *id, const cJSON *report, bool orders_only,
                  bool *ret_orders_changed) {
    const cJSON *orders = cJSON_GetObjectItemCaseSensitive(report, "orders");
    if (orders && !cJSON_IsNull(orders) && !cJSON_IsArray(orders))
        return err_set(ERR_INVALID, "orders: must be an array");
    struct reporting g = {.id = id, .orders = orders};
    int r = report_check_orders(orders);
    cleanup(cJSON) cJSON *kept = NULL;
    cleanup(free) char *text = NULL;
    if (r == 0 && !orders_only) {
        r = json_need_str(report, "os", DEVICE_OS_MAX, &g.os);
        if (r == 0)
            r = json_need_str(report, "agent_version", DEVICE_AGENT_MAX, &g.agent_version);
        if (r == 0)
            r = text_check("os", g.os, DEVICE_OS_MAX);
        if (r == 0)
            r = text_check("agent_version", g.agent_version, DEVICE_AGENT_MAX);
        if (r == 0)
            r = report_normalize(report, &kept);
        if (r == 0) {
            text = json_print(kept);
            g.text = text;
            r = text ? 0 : err_set(ERR_SYSTEM, "out of memory");
        }
    }
    if (r == 0)
        r = store_write(s, reporting_body, &g);
    if (r == 0)
        *ret_orders_changed = g.changed;
    return r;
}

static int certificate_used_body(struct store_tx *tx, void *arg) {
    const struct store_certificate *used = arg;
    struct store_certificate now;
    int r = store_certificate_get(tx, used->digest, &now);
    if (r < 0 || now.first_used_at || now.revoked_at)
        return r;
    r = store_certificate_first_use(tx, &now, clock_real_ms());
    if (r < 0)
        return r;
    char actor[STORE_ACTOR_SIZE];
    (void)snprintf(actor, sizeof actor, "device:%s", now.device);
    return audit_add(tx, actor, "device.certificate-used", now.device, audit_detail("digest", now.digest));
}

int device_certificate_used(struct store *s, const struct store_certificate *certificate) {
    struct store_certificate copy = *certificate;
    return store_write(s, certificate_used_body, &copy);
}

struct deletion {
    const char *actor, *id;
    bool abandon;
};

static int deletion_note_open(const struct store_order *order, void *arg) {
    (void)snprintf(arg, STORE_ID_SIZE, "%s", order->id);
    return 0;
}

static int deletion_body(struct store_tx *tx, void *arg) {
    const struct deletion *d = arg;
    cleanup(store_device) struct store_device device = {0};
    char open[STORE_ID_SIZE] = "";
    int r = store_device_get(tx, d->id, &device);
    if (r == 0 && device.state == DEVICE_DELETED)
        return err_set(ERR_NOT_FOUND, "no such device");
    if (r == 0)
        r = store_order_each_open(tx, d->id, deletion_note_open, open);
    if (r < 0)
        return r;
    if (open[0])
        return err_set(ERR_WRONG_STATE,
                       "order %s of this device is not finished; a deleted device could not get it", open);
    bool gone = device.state == DEVICE_WIPED || device.state == DEVICE_LEFT;
    if (!gone && !d->abandon)
        return err_set(
            ERR_WRONG_STATE,
            "the device is %s, and nothing could be taken off it any more; wipe it first, or say that "
            "it is to be abandoned",
            device_state_name(device.state));
    r = store_device_set_state(tx, d->id, DEVICE_DELETED);
    if (r == 0)
        r = store_certificate_revoke_all(tx, d->id, clock_real_ms());
    return r < 0 ? r
                 : audit_add(tx, d->actor, gone ? "device.deleted" : "device.abandoned", d->id,
                             audit_detail("state", device_state_name(device.state)));
}

int device_delete(struct store *s, const char *actor, const char *id, bool abandon) {
    struct deletion d = {.actor = actor, .id = id, .abandon = abandon};
    return store_write(s, deletion_body, &d);
}
