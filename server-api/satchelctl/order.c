/* wipe, lock, unlock, order show */
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/base/json.h"
#include "server-api/satchelctl/ctl.h"
#include "server-api/satchelctl/output.h"

#include <stdio.h>
#include <string.h>

#define WAIT_POLL_SECONDS 30
_Static_assert(WAIT_POLL_SECONDS * 1000 < CLIENT_TOKEN_MS, "a request ends before its token does");
#define WAIT_MAX (30 * 86400)

static const char *const order_columns[] = {"id",          "device",     "kind",       "state",
                                            "reason",      "ordered_by", "ordered_at", "delivered_at",
                                            "finished_at", "text",       NULL};

static bool order_open(const cJSON *order) {
    const char *state = json_str(order, "state");
    return state && (strcmp(state, "pending") == 0 || strcmp(state, "delivered") == 0);
}

/* Follows the order until it is finished or `seconds` have passed; replaces *order. */
static int order_wait(struct ctl *ctl, int64_t seconds, cJSON **order) {
    int64_t until = clock_boot_ms() + seconds * 1000;
    for (int64_t left; order_open(*order) && (left = until - clock_boot_ms()) > 0;) {
        cleanup(buf) struct buf path = {0};
        char query[32];
        cJSON *next = NULL;
        int64_t wait = (left + 999) / 1000 < WAIT_POLL_SECONDS ? (left + 999) / 1000 : WAIT_POLL_SECONDS;
        (void)snprintf(query, sizeof query, "?wait=%lld", (long long)wait);
        int r = client_path(ctl->client, "/v1/admin/orders/", json_str(*order, "id"), query, &path);
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

static int order_result(const cJSON *order, bool waited) {
    const char *state = json_str(order, "state"), *text = json_str(order, "text");
    if (!waited || (state && strcmp(state, "done") == 0))
        return 0;
    if (order_open(order))
        return err_set(ERR_TIMEOUT, "the order is %s; the device has not finished it yet", state);
    return err_set(ERR_WRONG_STATE, "the device says %s%s%s", state ? state : "?", text ? ": " : "",
                   text ? text : "");
}

static int order_give(struct ctl *ctl, const struct ctl_args *args, const char *kind) {
    if (args->n != 1 || !args->reason)
        return err_set(ERR_USAGE, "%s needs one device ID and --reason", kind);
    char *end = NULL;
    long long seconds = args->wait ? strtoll(args->wait, &end, 10) : 0;
    if (args->wait && (*end || end == args->wait || seconds < 0 || seconds > WAIT_MAX))
        return err_set(ERR_USAGE, "--wait: must be a number of seconds");
    cleanup(cJSON) cJSON *order = NULL;
    cleanup(buf) struct buf path = {0};
    cJSON *body = cJSON_CreateObject();
    int r = json_add_str(body, "kind", kind) | json_add_str(body, "reason", args->reason);
    if (r == 0)
        r = client_path(ctl->client, "/v1/admin/devices/", args->words[0], "/orders", &path);
    if (r < 0) {
        cJSON_Delete(body);
        return r;
    }
    r = client_post(ctl->client, path.data, body, &order);
    if (r < 0)
        return r;
    int waited = args->wait ? order_wait(ctl, seconds, &order) : 0;
    r = ctl->json ? output_json(order) : output_fields(order, order_columns);
    if (waited < 0)
        return waited;
    return r < 0 ? r : order_result(order, args->wait != NULL);
}

int ctl_wipe(struct ctl *ctl, const struct ctl_args *args) {
    return order_give(ctl, args, "wipe");
}

int ctl_lock(struct ctl *ctl, const struct ctl_args *args) {
    return order_give(ctl, args, "lock");
}

int ctl_unlock(struct ctl *ctl, const struct ctl_args *args) {
    return order_give(ctl, args, "unlock");
}

int ctl_order_show(struct ctl *ctl, const struct ctl_args *args) {
    if (args->n != 1)
        return err_set(ERR_USAGE, "order show needs one ID");
    cleanup(cJSON) cJSON *answer = NULL;
    cleanup(buf) struct buf path = {0};
    int r = client_path(ctl->client, "/v1/admin/orders/", args->words[0], "", &path);
    if (r == 0)
        r = client_get(ctl->client, path.data, &answer);
    if (r < 0)
        return r;
    return ctl->json ? output_json(answer) : output_fields(answer, order_columns);
}
