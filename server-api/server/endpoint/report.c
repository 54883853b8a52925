/* POST /v1/device/report and POST /v1/device/receipts: what a device tells. */
#include "platform/base/cleanup.h"
#include "platform/base/err.h"
#include "platform/base/json.h"
#include "server-api/server/domain/device.h"
#include "server-api/server/domain/ordering.h"
#include "server-api/server/endpoint/app.h"

/* Whoever waits for one of the reported orders looks again. */
static void report_wake(struct app *app, const cJSON *report) {
    const cJSON *item;
    cJSON_ArrayForEach(item, json_array(report, "orders")) {
        const char *id = json_str(item, "id");
        if (id)
            hub_wake(app->hub, id);
    }
}

int endpoint_report(struct http_request *r) {
    struct app *app = app_of(r);
    bool changed = false;
    if (r->who.orders_only && cJSON_GetArraySize(json_array(r->json, "orders")) == 0)
        return http_problem(r, 403, "device-not-enrolled",
                            "of a device that is being wiped only word of its order is taken");
    int e = device_report(app->auth.store, r->who.device, r->json, r->who.orders_only, &changed);
    if (e < 0)
        return e;
    if (changed)
        report_wake(app, r->json);
    return http_answer_empty(r, 204);
}

int endpoint_receipts(struct http_request *r) {
    struct app *app = app_of(r);
    const cJSON *jws = json_object(r->json, "receipt");
    if (!jws)
        return err_set(ERR_INVALID, "\"receipt\" is missing or not an object");
    const char *digest;
    int *chain;
    struct ordering_receipt receipt;
    int e =
        ordering_receive(app->auth.store, r->who.device, http_certificate(r, &digest, &chain), jws, &receipt);
    if (e < 0)
        return e;
    if (receipt.order[0])
        hub_wake(app->hub, receipt.order);
    hub_wake(app->hub, r->who.device); /* its state is another now */
    cJSON *json = cJSON_CreateObject();
    if (json_add_str(json, "acknowledged", receipt.id) < 0) {
        cJSON_Delete(json);
        json = NULL;
    }
    return http_answer_json(r, 200, json);
}
