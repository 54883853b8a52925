/* device list | show, wipe, order show */
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/base/json.h"
#include "server-api/satchelctl/ctl.h"
#include "server-api/satchelctl/output.h"

#include <stdio.h>
#include <string.h>

#define WAIT_POLL_SECONDS 60
#define WAIT_MAX (30 * 86400)

static const char *const order_columns[] = {"id",          "device",     "kind",       "state",
                                            "reason",      "ordered_by", "ordered_at", "delivered_at",
                                            "finished_at", "text",       NULL};

/* `format` with one %s for the escaped `word`. */
static int device_path(struct ctl *ctl, const char *before, const char *word, const char *after,
                       struct buf *ret) {
    cleanup(free) char *escaped = client_escape(ctl->client, word);
    return escaped ? buf_printf(ret, "%s%s%s", before, escaped, after) : err_set(ERR_SYSTEM, "out of memory");
}

int ctl_device_list(struct ctl *ctl, const struct ctl_args *args) {
    static const char *const columns[] = {"id",        "login",         "name", "state",
                                          "last_seen", "agent_version", "os",   NULL};
    if (args->n != 0)
        return err_set(ERR_USAGE, "device list takes no arguments");
    cleanup(cJSON) cJSON *answer = NULL;
    int r = client_list(ctl->client, "/v1/admin/devices", "devices", &answer);
    if (r < 0)
        return r;
    return ctl->json ? output_json(answer) : output_table(json_array(answer, "devices"), columns);
}

int ctl_device_show(struct ctl *ctl, const struct ctl_args *args) {
    static const char *const keys[] = {"id",    "login",       "name",      "os",          "agent_version",
                                       "state", "enrolled_at", "last_seen", "reported_at", "report",
                                       NULL};
    static const char *const columns[] = {"id", "kind", "state", "reason", "ordered_at", "finished_at", NULL};
    if (args->n != 1)
        return err_set(ERR_USAGE, "device show needs one ID");
    cleanup(cJSON) cJSON *answer = NULL;
    cleanup(buf) struct buf path = {0};
    int r = device_path(ctl, "/v1/admin/devices/", args->words[0], "", &path);
    if (r == 0)
        r = client_get(ctl->client, path.data, &answer);
    if (r < 0)
        return r;
    if (ctl->json)
        return output_json(answer);
    r = output_fields(answer, keys);
    if (r == 0 && cJSON_GetArraySize(json_array(answer, "orders"))) {
        (void)puts("\norders:");
        r = output_table(json_array(answer, "orders"), columns);
    }
    return r;
}

static bool order_open(const cJSON *order) {
    const char *state = json_str(order, "state");
    return state && (strcmp(state, "pending") == 0 || strcmp(state, "delivered") == 0);
}

/* Follows the order until it is finished or `seconds` have passed; replaces *order. */
static int wipe_wait(struct ctl *ctl, int64_t seconds, cJSON **order) {
    int64_t until = clock_boot_ms() + seconds * 1000;
    for (int64_t left; order_open(*order) && (left = until - clock_boot_ms()) > 0;) {
        cleanup(buf) struct buf path = {0};
        char query[32];
        cJSON *next = NULL;
        int64_t wait = (left + 999) / 1000 < WAIT_POLL_SECONDS ? (left + 999) / 1000 : WAIT_POLL_SECONDS;
        (void)snprintf(query, sizeof query, "?wait=%lld", (long long)wait);
        int r = device_path(ctl, "/v1/admin/orders/", json_str(*order, "id"), query, &path);
        const struct client_request request = {.method = "GET", .path = path.data, .seconds = (long)wait};
        if (r == 0)
            r = client_call(ctl->client, &request, &next);
        if (r < 0)
            return r;
        cJSON_Delete(*order);
        *order = next;
    }
    return 0;
}

static int wipe_result(const cJSON *order, bool waited) {
    const char *state = json_str(order, "state"), *text = json_str(order, "text");
    if (!waited || (state && strcmp(state, "done") == 0))
        return 0;
    if (order_open(order))
        return err_set(ERR_TIMEOUT, "the order is %s; the device has not finished it yet", state);
    return err_set(ERR_WRONG_STATE, "the device says %s%s%s", state ? state : "?", text ? ": " : "",
                   text ? text : "");
}

int ctl_wipe(struct ctl *ctl, const struct ctl_args *args) {
    if (args->n != 1 || !args->reason)
        return err_set(ERR_USAGE, "wipe needs one device ID and --reason");
    char *end = NULL;
    long long seconds = args->wait ? strtoll(args->wait, &end, 10) : 0;
    if (args->wait && (*end || end == args->wait || seconds < 0 || seconds > WAIT_MAX))
        return err_set(ERR_USAGE, "--wait: must be a number of seconds");
    cleanup(cJSON) cJSON *order = NULL;
    cleanup(buf) struct buf path = {0};
    cJSON *body = cJSON_CreateObject();
    int r = json_add_str(body, "kind", "wipe") | json_add_str(body, "reason", args->reason);
    if (r == 0)
        r = device_path(ctl, "/v1/admin/devices/", args->words[0], "/orders", &path);
    if (r < 0) {
        cJSON_Delete(body);
        return r;
    }
    r = client_post(ctl->client, path.data, body, &order);
    if (r < 0)
        return r;
    int waited = args->wait ? wipe_wait(ctl, seconds, &order) : 0;
    r = ctl->json ? output_json(order) : output_fields(order, order_columns);
    if (waited < 0)
        return waited;
    return r < 0 ? r : wipe_result(order, args->wait != NULL);
}

int ctl_order_show(struct ctl *ctl, const struct ctl_args *args) {
    if (args->n != 1)
        return err_set(ERR_USAGE, "order show needs one ID");
    cleanup(cJSON) cJSON *answer = NULL;
    cleanup(buf) struct buf path = {0};
    int r = device_path(ctl, "/v1/admin/orders/", args->words[0], "", &path);
    if (r == 0)
        r = client_get(ctl->client, path.data, &answer);
    if (r < 0)
        return r;
    return ctl->json ? output_json(answer) : output_fields(answer, order_columns);
}
