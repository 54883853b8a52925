#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/base/json.h"
#include "server-api/contract/profile.h"
#include "server-api/contract/receipt.h"
#include "server-api/server/domain/user.h"
#include "server-api/server/endpoint/app.h"

#include <string.h>

#define KB(n) ((size_t)(n) << 10)

const struct http_route app_device_routes[] = {
    {{"POST", "/v1/enroll"}, HTTP_OPEN, 0, KB(16), HTTP_JSON, endpoint_enroll},
    {{"GET", "/enroll/{code}"}, HTTP_OPEN | HTTP_INLINE, 0, 0, NULL, endpoint_enroll_page},
    {{"GET", "/healthz"}, HTTP_OPEN | HTTP_INLINE, 0, 0, NULL, endpoint_health},
    {{"GET", "/openapi.yaml"}, HTTP_OPEN | HTTP_INLINE, 0, 0, NULL, endpoint_openapi},
    {{"GET", "/v1/device/state"}, HTTP_INLINE, AUTH_WIPING | AUTH_WIPED, 0, NULL, endpoint_state},
    {{"POST", "/v1/device/report"}, 0, AUTH_WIPING, KB(16), HTTP_JSON, endpoint_report},
    {{"POST", "/v1/device/receipts"}, 0, AUTH_WIPING | AUTH_WIPED, KB(96), HTTP_JSON, endpoint_receipts},
    {{"POST", "/v1/device/certificate"}, 0, 0, KB(16), HTTP_JSON, endpoint_certificate},
};
const size_t app_device_routes_count = sizeof app_device_routes / sizeof *app_device_routes;

const struct http_route app_admin_routes[] = {
    {{"GET", "/healthz"}, HTTP_OPEN | HTTP_INLINE, 0, 0, NULL, endpoint_health},
    {{"GET", "/openapi.yaml"}, HTTP_OPEN | HTTP_INLINE, 0, 0, NULL, endpoint_openapi},
    {{"GET", "/metrics"}, 0, 0, 0, NULL, endpoint_metrics},
    {{"GET", "/v1/admin/users"}, 0, 0, 0, NULL, endpoint_users_list},
    {{"POST", "/v1/admin/users"}, 0, 0, USER_IMPORT_MAX, HTTP_CSV, endpoint_users_add},
    {{"POST", "/v1/admin/enrollment-codes"}, 0, 0, KB(16), HTTP_JSON, endpoint_codes_create},
    {{"GET", "/v1/admin/profiles"}, 0, 0, 0, NULL, endpoint_profiles_list},
    {{"POST", "/v1/admin/profiles"}, 0, 0, KB(512), HTTP_JSON, endpoint_profiles_publish},
    {{"GET", "/v1/admin/profiles/{version}"}, 0, 0, 0, NULL, endpoint_profiles_show},
    {{"GET", "/v1/admin/devices"}, 0, 0, 0, NULL, endpoint_devices_list},
    {{"GET", "/v1/admin/devices/{id}"}, 0, 0, 0, NULL, endpoint_devices_show},
    {{"DELETE", "/v1/admin/devices/{id}"}, 0, 0, 0, NULL, endpoint_devices_delete},
    {{"POST", "/v1/admin/devices/{id}/orders"}, 0, 0, KB(16), HTTP_JSON, endpoint_orders_create},
    {{"GET", "/v1/admin/devices/{id}/receipts"}, 0, 0, 0, NULL, endpoint_receipts_list},
    {{"GET", "/v1/admin/orders/{id}"}, 0, 0, 0, NULL, endpoint_orders_show},
    {{"GET", "/v1/admin/audit"}, 0, 0, 0, NULL, endpoint_audit_list},
    {{"GET", "/v1/admin/audit/verify"}, 0, 0, 0, NULL, endpoint_audit_verify},
    {{"GET", "/v1/admin/tokens"}, 0, 0, 0, NULL, endpoint_tokens_list},
    {{"POST", "/v1/admin/tokens"}, 0, 0, KB(16), HTTP_JSON, endpoint_tokens_create},
    {{"DELETE", "/v1/admin/tokens/{id}"}, 0, 0, 0, NULL, endpoint_tokens_revoke},
};
const size_t app_admin_routes_count = sizeof app_admin_routes / sizeof *app_admin_routes;

int app_device_gate(struct http_request *r) {
    return auth_device(&app_of(r)->auth, r);
}

int app_admin_gate(struct http_request *r) {
    return auth_admin(&app_of(r)->auth, r);
}

int app_add_time(cJSON *object, const char *key, int64_t ms) {
    char text[CLOCK_RFC3339_SIZE];
    return json_add_str(object, key, ms ? clock_rfc3339(ms, text) : NULL);
}

int app_page_number(struct http_request *r, int64_t least, int64_t *ret_after, size_t *ret_limit) {
    int64_t after = 0, limit = 0;
    int e = http_query_int(r, "after", least, INT64_MAX, 0, &after);
    if (e == 0)
        e = http_query_int(r, "limit", 1, APP_PAGE_MAX, APP_PAGE_DEFAULT, &limit);
    if (e < 0)
        return e;
    *ret_after = after;
    *ret_limit = (size_t)limit;
    return 0;
}

int app_answer_page(struct http_request *r, cJSON *json, bool full, int64_t last) {
    int e = full ? json_add_int(json, "next", last) : json_add_str(json, "next", NULL);
    if (e == 0)
        return http_answer_json(r, 200, json);
    cJSON_Delete(json);
    return e;
}

int app_page(struct http_request *r, const char **ret_after, size_t *ret_limit) {
    int64_t limit;
    int e = http_query_int(r, "limit", 1, APP_PAGE_MAX, APP_PAGE_DEFAULT, &limit);
    if (e < 0)
        return e;
    const char *after = http_query(r, "after");
    if (after && strlen(after) > 64)
        return err_set(ERR_INVALID, "after: must have at most 64 bytes");
    *ret_after = after ? after : "";
    *ret_limit = (size_t)limit;
    return 0;
}
