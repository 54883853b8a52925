/*
 * What endpoints work with, and the tables of routes. One file a resource; routes.c is where to start
 * reading.
 */
#ifndef SATCHEL_SERVER_ENDPOINT_APP_H
#define SATCHEL_SERVER_ENDPOINT_APP_H

#include "server-api/server/auth/auth.h"
#include "server-api/server/http/limit.h"
#include "server-api/server/http/server.h"
#include "server-api/server/store/store_order.h"

#define APP_PAGE_DEFAULT 100
#define APP_PAGE_MAX 1000
#define APP_WAIT_MAX 300 /* seconds of a long poll */

struct app {
    struct auth auth; /* store, organization, seen */
    struct hub *hub;
    struct limit *limit; /* of failed enrollments */
    /* for /metrics; NULL while starting: a request can come before its listener is noted here */
    _Atomic(struct http_server *) device, admin;
    int64_t started_at;      /* ms since 1970 */
    char enroll_policy[256]; /* Content-Security-Policy of the page for people */
};

extern const struct http_route app_device_routes[], app_admin_routes[];
extern const size_t app_device_routes_count, app_admin_routes_count;

int app_device_gate(struct http_request *r);
int app_admin_gate(struct http_request *r);

/* Fills in `enroll_policy`. */
int app_prepare(struct app *app);

static inline struct app *app_of(struct http_request *r) {
    return r->context;
}

/* Adds a time as RFC 3339, or null for 0. */
int app_add_time(cJSON *object, const char *key, int64_t ms);

/* "after" and "limit" of a list. ERR_INVALID. */
int app_page(struct http_request *r, const char **ret_after, size_t *ret_limit);

/* The same for lists that are counted: "after" is a number from `least`, 0 where it is not given. */
int app_page_number(struct http_request *r, int64_t least, int64_t *ret_after, size_t *ret_limit);

/* Answers with the page: "next" is `last` where the page was full, else null. Takes over `json`. */
int app_answer_page(struct http_request *r, cJSON *json, bool full, int64_t last);

/* The order as the API shows it. The caller's; NULL without memory. */
cJSON *app_order_json(const struct store_order *order);

http_handler endpoint_enroll, endpoint_enroll_page, endpoint_state, endpoint_report, endpoint_receipts,
    endpoint_certificate, endpoint_health, endpoint_openapi, endpoint_metrics, endpoint_users_list,
    endpoint_users_add, endpoint_codes_create, endpoint_profiles_list, endpoint_profiles_publish,
    endpoint_profiles_show, endpoint_devices_list, endpoint_devices_show, endpoint_devices_delete,
    endpoint_orders_create, endpoint_orders_show, endpoint_receipts_list, endpoint_audit_list,
    endpoint_audit_verify, endpoint_tokens_list, endpoint_tokens_create, endpoint_tokens_revoke;

#endif
