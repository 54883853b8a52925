/* /v1/admin/devices */
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/json.h"
#include "server-api/server/domain/device.h"
#include "server-api/server/endpoint/app.h"

#include <string.h>

#define DEVICE_ORDERS_SHOWN 20

struct device_page {
    struct app *app;
    const char *after;
    size_t limit;
    cJSON *list; /* borrowed */
    size_t n;
    char last[STORE_ID_SIZE];
};

static cJSON *device_json(struct app *app, const struct store_device *device) {
    cJSON *json = cJSON_CreateObject();
    int64_t seen = seen_get(app->auth.seen, device->id);
    int failed = json_add_str(json, "id", device->id) | json_add_str(json, "login", device->login) |
                 json_add_str(json, "name", device->name) | json_add_str(json, "os", device->os) |
                 json_add_str(json, "agent_version", device->agent_version) |
                 json_add_str(json, "state", device_state_name(device->state)) |
                 app_add_time(json, "enrolled_at", device->enrolled_at) |
                 app_add_time(json, "last_seen", seen > device->last_seen ? seen : device->last_seen) |
                 app_add_time(json, "reported_at", device->reported_at);
    if (failed) {
        cJSON_Delete(json);
        return NULL;
    }
    return json;
}

static int device_page_add(const struct store_device *device, void *arg) {
    struct device_page *page = arg;
    cJSON *json = device_json(page->app, device);
    if (!json || !cJSON_AddItemToArray(page->list, json)) {
        cJSON_Delete(json);
        return err_set(ERR_SYSTEM, "out of memory");
    }
    page->n++;
    memcpy(page->last, device->id, sizeof page->last);
    return 0;
}

static int device_page_body(struct store_tx *tx, void *arg) {
    struct device_page *page = arg;
    return store_device_each(tx, page->after, page->limit, device_page_add, page);
}

int endpoint_devices_list(struct http_request *r) {
    struct device_page page = {.app = app_of(r)};
    cleanup(cJSON) cJSON *json = cJSON_CreateObject();
    int e = app_page(r, &page.after, &page.limit);
    if (e < 0)
        return e;
    page.list = cJSON_CreateArray();
    e = json_add_item(json, "devices", page.list);
    if (e == 0)
        e = store_read(app_of(r)->auth.store, device_page_body, &page);
    if (e == 0)
        e = json_add_str(json, "next", page.n == page.limit ? page.last : NULL);
    return e < 0 ? e : http_answer_json(r, 200, steal(json));
}

struct device_details {
    const char *id;
    struct store_device device;
    cJSON *orders;       /* borrowed */
    cJSON *certificates; /* borrowed: PEM, newest first */
};

static int device_details_certificate(const char *pem, void *arg) {
    cJSON *item = cJSON_CreateString(pem);
    if (!item || !cJSON_AddItemToArray(arg, item)) {
        cJSON_Delete(item);
        return err_set(ERR_SYSTEM, "out of memory");
    }
    return 0;
}

static int device_details_order(const struct store_order *order, void *arg) {
    cJSON *json = app_order_json(order);
    if (!json || !cJSON_AddItemToArray(arg, json)) {
        cJSON_Delete(json);
        return err_set(ERR_SYSTEM, "out of memory");
    }
    return 0;
}

static int device_details_body(struct store_tx *tx, void *arg) {
    struct device_details *d = arg;
    int r = store_device_get(tx, d->id, &d->device);
    if (r == 0)
        r = store_certificate_each(tx, d->id, device_details_certificate, d->certificates);
    return r < 0 ? r : store_order_each(tx, d->id, 0, DEVICE_ORDERS_SHOWN, device_details_order, d->orders);
}

int endpoint_devices_show(struct http_request *r) {
    cleanup(cJSON) cJSON *orders = cJSON_CreateArray(), *certificates = cJSON_CreateArray();
    struct device_details d = {.id = r->match.params[0], .orders = orders, .certificates = certificates};
    int e = store_read(app_of(r)->auth.store, device_details_body, &d);
    if (e == 0 && d.device.state == DEVICE_DELETED)
        e = err_set(ERR_NOT_FOUND, "no such device");
    if (e < 0) {
        store_device_finish(&d.device);
        return e;
    }
    cJSON *json = device_json(app_of(r), &d.device);
    cJSON *report = d.device.report ? cJSON_Parse(d.device.report) : cJSON_CreateNull();
    store_device_finish(&d.device);
    /* The newest certificate, against whose key a receipt verifies, and all that there ever were. */
    const char *newest = cJSON_GetStringValue(certificates->child);
    e = json_add_str(json, "certificate", newest) | json_add_item(json, "certificates", steal(certificates)) |
        json_add_item(json, "report", report) | json_add_item(json, "orders", steal(orders));
    if (e < 0) {
        cJSON_Delete(json);
        return e;
    }
    return http_answer_json(r, 200, json);
}

int endpoint_devices_delete(struct http_request *r) {
    struct app *app = app_of(r);
    const char *abandon = http_query(r, "abandon"), *id = r->match.params[0];
    if (abandon && strcmp(abandon, "true") != 0)
        return err_set(ERR_INVALID, "abandon: must be true, or not be there");
    int e = device_delete(app->auth.store, r->who.actor, id, abandon != NULL);
    if (e < 0)
        return e;
    hub_wake(app->hub, id); /* its long poll ends at the gate */
    return http_answer_empty(r, 204);
}
