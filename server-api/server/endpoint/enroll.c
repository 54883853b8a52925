/* POST /v1/enroll and POST /v1/device/certificate: how a device comes by a certificate. */
#include "platform/base/cleanup.h"
#include "platform/base/clock.h"
#include "platform/base/err.h"
#include "platform/base/json.h"
#include "server-api/server/domain/enrollment.h"
#include "server-api/server/endpoint/app.h"

#include <string.h>

#define CSR_MAX ((size_t)8 << 10)

static int enroll_refuse(struct http_request *r, int outcome) {
    switch ((enum enrollment_outcome)outcome) {
    case ENROLLMENT_CODE_UNKNOWN:
        return http_problem(r, 404, "code-unknown", "this enrollment code is not known here");
    case ENROLLMENT_CODE_USED:
        return http_problem(r, 410, "code-used", "this enrollment code was used already; ask for a new one");
    case ENROLLMENT_CODE_EXPIRED:
        return http_problem(r, 410, "code-expired", "this enrollment code has expired; ask for a new one");
    case ENROLLMENT_CODE_MALFORMED:
        return http_problem(r, 400, "code-malformed", "this is not an enrollment code");
    case ENROLLMENT_CSR_INVALID:
        break;
    }
    return http_problem(r, 400, "csr-invalid",
                        "the certificate request must be PEM, for a P-256 key, and "
                        "signed by that key");
}

static int enroll_read(const cJSON *body, struct enrollment_request *ret) {
    const cJSON *device = json_object(body, "device");
    const char *code = json_str(body, "code");
    if (!device)
        return err_set(ERR_INVALID, "\"device\" is missing or not an object");
    ret->code = code ? code : ""; /* which is malformed, like any other that is none */
    int e = json_need_str(body, "csr", CSR_MAX, &ret->csr);
    if (e == 0)
        e = json_need_str(device, "name", DEVICE_NAME_MAX, &ret->name);
    if (e == 0)
        e = json_need_str(device, "os", DEVICE_OS_MAX, &ret->os);
    return e < 0 ? e : json_need_str(device, "agent_version", DEVICE_AGENT_MAX, &ret->agent_version);
}

static cJSON *enroll_json(const struct organization *o, const struct enrollment *e) {
    cleanup(cJSON) cJSON *json = cJSON_CreateObject();
    cJSON *user = cJSON_CreateObject(), *organization = cJSON_CreateObject();
    int failed = json_add_item(json, "user", user) | json_add_item(json, "organization", organization) |
                 json_add_str(json, "device", e->device) |
                 json_add_str(json, "certificate", e->certificate.data) |
                 json_add_str(json, "ca", o->root_pem);
    if (!failed)
        failed = json_add_str(user, "login", e->user.login) | json_add_str(user, "address", e->user.address) |
                 json_add_str(user, "name", e->user.name) | json_add_str(organization, "name", o->name) |
                 json_add_item(json, "trust", cJSON_Parse(o->trust));
    return failed ? NULL : steal(json);
}

int endpoint_enroll(struct http_request *r) {
    struct app *app = app_of(r);
    int seconds = 0;
    if (!limit_allows(app->limit, http_peer(r), clock_boot_ms(), &seconds)) {
        r->answer.retry_after = seconds;
        return http_problem(r, 429, "too-many-attempts", "too many failed enrollments from this address");
    }
    struct enrollment_request request = {0};
    cleanup(enrollment) struct enrollment enrollment = {0};
    int e = enroll_read(r->json, &request);
    if (e == 0)
        e = enrollment_enroll(app->auth.store, app->auth.organization, &request, &enrollment);
    if (e != 0 && e != ERR_SYSTEM)
        limit_failed(app->limit, http_peer(r), clock_boot_ms());
    if (e != 0)
        return e < 0 ? e : enroll_refuse(r, e);
    return http_answer_json(r, 201, enroll_json(app->auth.organization, &enrollment));
}

int endpoint_certificate(struct http_request *r) {
    struct app *app = app_of(r);
    const char *csr;
    cleanup(buf) struct buf pem = {0};
    int e = json_need_str(r->json, "csr", CSR_MAX, &csr);
    if (e < 0)
        return e;
    e = enrollment_renew(app->auth.store, app->auth.organization, r->who.device, csr, &pem);
    if (e == ERR_INVALID)
        return enroll_refuse(r, ENROLLMENT_CSR_INVALID);
    if (e < 0)
        return e;
    cJSON *json = cJSON_CreateObject();
    if (json_add_str(json, "certificate", pem.data) < 0) {
        cJSON_Delete(json);
        json = NULL;
    }
    return http_answer_json(r, 200, json);
}
