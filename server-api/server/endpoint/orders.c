/* /v1/admin/devices/{id}/orders, /v1/admin/devices/{id}/receipts and /v1/admin/orders/{id} */
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/base/json.h"
#include "server-api/server/domain/ordering.h"
#include "server-api/server/domain/publication.h"
#include "server-api/server/endpoint/app.h"

#include <string.h>

cJSON *app_order_json(const struct store_order *o) {
    cleanup(cJSON) cJSON *json = cJSON_CreateObject();
    int failed =
        json_add_str(json, "id", o->id) | json_add_str(json, "device", o->device) |
        json_add_str(json, "kind", o->kind) | json_add_str(json, "state", order_state_name(o->state)) |
        json_add_str(json, "reason", o->reason) | json_add_int(json, "sequence", o->sequence) |
        json_add_str(json, "text", o->text[0] ? o->text : NULL) |
        json_add_str(json, "ordered_by", o->ordered_by) | app_add_time(json, "ordered_at", o->ordered_at) |
        app_add_time(json, "delivered_at", o->delivered_at) |
        app_add_time(json, "finished_at", o->finished_at) |
        json_add_item(json, "receipt", o->receipt ? publication_payload(o->receipt) : cJSON_CreateNull()) |
        json_add_item(json, "receipt_jws", o->receipt ? cJSON_Parse(o->receipt) : cJSON_CreateNull());
    failed |= json_add_str(json, "certificate", NULL); /* see endpoint_orders_show() */
    return failed ? NULL : steal(json);
}

int endpoint_orders_create(struct http_request *r) {
    struct app *app = app_of(r);
    const char *name, *reason;
    enum order_kind kind;
    struct ordering_given given = {0};
    int e = json_need_str(r->json, "kind", 16, &name);
    if (e == 0)
        e = json_need_str(r->json, "reason", ORDER_REASON_MAX, &reason);
    if (e == 0 && order_kind_of(name, &kind) < 0)
        e = err_set(ERR_INVALID, "kind: there are \"wipe\", \"lock\" and \"unlock\"");
    if (e == 0)
        e = ordering_give(app->auth.store, app->auth.organization, r->who.actor, r->match.params[0], kind,
                          reason, &given);
    if (e < 0)
        return e;
    hub_wake(app->hub, given.order.device);
    if (given.superseded[0])
        hub_wake(app->hub, given.superseded);
    cJSON *json = app_order_json(&given.order);
    store_order_finish(&given.order);
    return http_answer_json(r, given.again ? 200 : 201, json);
}

int endpoint_orders_show(struct http_request *r) {
    struct app *app = app_of(r);
    const char *id = r->match.params[0];
    int64_t wait;
    int e = http_query_int(r, "wait", 0, INT32_MAX, 0, &wait);
    if (e < 0)
        return e;
    int64_t now = clock_boot_ms();
    if (!r->wait_until)
        r->wait_until = now + (wait < APP_WAIT_MAX ? wait : APP_WAIT_MAX) * 1000;
    uint64_t ticket = hub_ticket(app->hub, id);
    cleanup(store_order) struct store_order order = {0};
    cleanup(buf) struct buf certificate = {0};
    e = ordering_get(app->auth.store, id, &order, &certificate);
    if (e < 0)
        return e;
    if (order_state_open(order.state) && now < r->wait_until)
        return http_park(r, id, ticket);
    cJSON *json = app_order_json(&order);
    e = json_set_str(json, "certificate", certificate.data);
    if (e < 0) {
        cJSON_Delete(json);
        return e;
    }
    return http_answer_json(r, 200, json);
}

int endpoint_receipts_list(struct http_request *r) {
    cJSON *list = NULL, *json = cJSON_CreateObject();
    int e = ordering_receipts(app_of(r)->auth.store, r->match.params[0], &list);
    if (e == 0)
        e = json_add_item(json, "receipts", list);
    if (e < 0) {
        cJSON_Delete(json);
        return e;
    }
    return http_answer_json(r, 200, json);
}
