/* GET /v1/device/state: the long poll that carries profiles and orders. */
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "server-api/server/domain/device.h"
#include "server-api/server/endpoint/app.h"

#include <string.h>

/* Put together from texts that are JSON already: a published profile wakes every device at once. */
static int state_answer(struct http_request *r, const struct device_view *view) {
    char now[CLOCK_RFC3339_SIZE];
    struct buf text = {0};
    int e = buf_printf(&text,
                       "{\"tag\":\"%s\",\"time\":\"%s\",\"trust\":%s,\"profile\":%s,\"orders\":[%s],"
                       "\"device\":{\"id\":\"%s\",\"state\":\"%s\"}}",
                       view->tag, clock_rfc3339(clock_real_ms(), now), app_of(r)->auth.organization->trust,
                       view->profile ? view->profile : "null", view->orders.data ? view->orders.data : "",
                       r->who.device, device_state_name(view->state));
    if (e < 0) {
        buf_finish(&text);
        return e;
    }
    size_t size = text.len;
    return http_answer(r, 200, HTTP_JSON, buf_steal(&text), size);
}

/* Every answer says when it was: a device keeps it, and so does not take a quiet server for an absent one. */
static int state_stamp(struct http_request *r) {
    free(r->answer.stamp);
    r->answer.stamp = organization_stamp(app_of(r)->auth.organization);
    return r->answer.stamp ? 0 : ERR_SYSTEM;
}

int endpoint_state(struct http_request *r) {
    struct app *app = app_of(r);
    const char *have = http_query(r, "have");
    int64_t wait;
    int e = http_query_int(r, "wait", 0, INT32_MAX, 0, &wait);
    if (e < 0)
        return e;
    int64_t now = clock_boot_ms();
    if (!r->wait_until)
        r->wait_until = now + (wait < APP_WAIT_MAX ? wait : APP_WAIT_MAX) * 1000;
    uint64_t ticket = hub_ticket(app->hub, r->who.device);
    cleanup(device_view) struct device_view view = {0};
    e = device_view_read(app->auth.store, app->auth.organization, r->who.device, &view);
    if (e < 0)
        return e;
    bool news = !have || strcmp(have, view.tag) != 0;
    if (!news && now < r->wait_until)
        return http_park(r, r->who.device, ticket);
    e = state_stamp(r);
    if (e < 0)
        return e;
    return news ? state_answer(r, &view) : http_answer_empty(r, 304);
}
