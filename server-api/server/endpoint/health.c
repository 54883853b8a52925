/* GET /healthz, GET /openapi.yaml, GET /metrics: for machines that look after the server. */
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "server-api/server/embed/embed.h"
#include "server-api/server/endpoint/app.h"

#include <string.h>

struct health {
    int64_t devices[DEVICE_STATES], orders[ORDER_STATES];
};

static int health_body(struct store_tx *tx, void *arg) {
    struct store_profile profile = {0};
    (void)arg;
    int r = store_profile_get(tx, 0, &profile);
    store_profile_finish(&profile);
    return r == ERR_NOT_FOUND ? 0 : r;
}

int endpoint_health(struct http_request *r) {
    int e = store_read(app_of(r)->auth.store, health_body, NULL);
    if (e < 0)
        return http_problem(r, 503, "store", "the store does not answer");
    char *text = strdup("{\"status\":\"ok\"}");
    return text ? http_answer(r, 200, HTTP_JSON, text, strlen(text)) : err_errno("no memory");
}

int endpoint_openapi(struct http_request *r) {
    char *text = strdup(embedded_openapi[0].data);
    return text ? http_answer(r, 200, "application/yaml", text, embedded_openapi[0].size)
                : err_errno("no memory");
}

static int metrics_body(struct store_tx *tx, void *arg) {
    struct health *h = arg;
    int r = store_device_count(tx, h->devices);
    return r < 0 ? r : store_order_count(tx, h->orders);
}

static int metrics_listener(struct buf *text, const char *name, struct http_server *server) {
    if (!server)
        return 0; /* not started yet */
    struct http_counts counts = http_server_counts(server);
    int r = buf_printf(text,
                       "satchel_http_connections{listener=\"%s\"} %llu\n"
                       "satchel_http_requests{listener=\"%s\"} %llu\n"
                       "satchel_http_cut_total{listener=\"%s\"} %llu\n",
                       name, (unsigned long long)counts.connections, name,
                       (unsigned long long)counts.requests, name, (unsigned long long)counts.cut);
    for (int i = 2; i < 6 && r == 0; i++)
        r = buf_printf(text, "satchel_http_answers_total{listener=\"%s\",status=\"%dxx\"} %llu\n", name, i,
                       (unsigned long long)counts.answers[i]);
    return r;
}

/* The Prometheus text format. */
static int metrics_text(struct app *app, const struct health *h, struct buf *text) {
    struct store_counts store = store_counts(app->auth.store);
    int r = buf_printf(text,
                       "satchel_info{version=\"" SATCHEL_VERSION "\"} 1\n"
                       "satchel_uptime_seconds %lld\n"
                       "satchel_parked_requests %zu\n"
                       "satchel_store_commits_total %llu\n"
                       "satchel_store_writes_total %llu\n",
                       (long long)((clock_real_ms() - app->started_at) / 1000), hub_parked(app->hub),
                       (unsigned long long)store.commits, (unsigned long long)store.writes);
    if (r == 0)
        r = metrics_listener(text, "device", app->device);
    if (r == 0)
        r = metrics_listener(text, "admin", app->admin);
    for (int i = 0; i < DEVICE_STATES && r == 0; i++)
        r = buf_printf(text, "satchel_devices{state=\"%s\"} %lld\n", device_state_name((enum device_state)i),
                       (long long)h->devices[i]);
    for (int i = 0; i < ORDER_STATES && r == 0; i++)
        r = buf_printf(text, "satchel_orders{state=\"%s\"} %lld\n", order_state_name((enum order_state)i),
                       (long long)h->orders[i]);
    return r;
}

int endpoint_metrics(struct http_request *r) {
    struct app *app = app_of(r);
    struct health health;
    cleanup(buf) struct buf text = {0};
    int e = store_read(app->auth.store, metrics_body, &health);
    if (e == 0)
        e = metrics_text(app, &health, &text);
    if (e < 0)
        return e;
    size_t size = text.len;
    return http_answer(r, 200, "text/plain; version=0.0.4", buf_steal(&text), size);
}
